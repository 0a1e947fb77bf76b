"""Every method beside every other on the same rows, in a few products of matrices a block of rows.

Shapes: M methods, B rows, C outputs.

    agreed    (M, M)  rows where both name the same class (independent outputs: outputs)
    wins      (M, M)  rows where the method of the line is right and the other is wrong
    kl        (M, M)  Σ over rows of KL(line ‖ column), the column's probabilities floored
    squares   (M, M)  of values: Σ over rows of the mean squared difference
    scores    (M,)    Σ of each row's score by the main measure: of values the squared error, of
                      independent outputs the share that is right
    scored    (M, M)  Σ over rows of the product of two scores

Where a student comes after another, its wins are fixed rows and the other's are negative flips (Yan
et al. 2021); 1 − agreement is churn (Milani Fard et al. 2016).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from distill.stages.evaluate.metrics import FLOOR, MetricSums, choices

Array = npt.NDArray[np.float64]

# methods that are held against each other: label sets first, then students in their order
MOST_PAIRED = 32
# of all methods' outputs that are worked on at once: 32 MiB, of which products need some copies
_MOST_NUMBERS = 1 << 22


def pair_classes(predicted: Sequence[Array], truth: npt.NDArray[np.int64]) -> MetricSums:
    """Sum up pairs of exclusive classes: probabilities (B, C) of each method, true classes (B,)."""
    chosen = np.stack([choices(each) for each in predicted])
    right = (chosen == truth).astype(np.float64)
    agreed = [(chosen == each).sum(axis=1) for each in chosen]
    return {
        "agreed": np.stack(agreed).astype(np.float64),
        "wins": right @ (1 - right).T,
        "kl": _divergences(predicted),
        "outputs": np.array([float(len(truth))]),
        "rows": np.array([float(len(truth))]),
    }


def pair_independent(predicted: Sequence[Array], truth: Array) -> MetricSums:
    """Sum up pairs of independent outputs, all (B, C). A row is right where all of it is."""
    chosen = np.stack([each > 0.5 for each in predicted])
    is_yes = truth > 0.5
    is_right = chosen == is_yes
    right = is_right.all(axis=2).astype(np.float64)
    flat = chosen.reshape(len(predicted), -1)
    agreed = [(flat == each).sum(axis=1) for each in flat]
    return {
        "agreed": np.stack(agreed).astype(np.float64),
        "wins": right @ (1 - right).T,
        "kl": _divergences(predicted, independent=True),
        "outputs": np.array([float(truth.size)]),
        "rows": np.array([float(len(truth))]),
        **_score_sums(is_right.mean(axis=2)),
    }


def pair_values(predicted: Sequence[Array], truth: Array) -> MetricSums:
    """Sum up pairs of values, all (B, W)."""
    squares = [
        [np.square(one - other).mean(axis=1).sum() for other in predicted] for one in predicted
    ]
    errors = [np.square(each - truth).mean(axis=1) for each in predicted]
    row_count = np.array([float(len(predicted[0]))])
    return {"squares": np.array(squares), "rows": row_count, **_score_sums(np.stack(errors))}


def _score_sums(scores: Array) -> MetricSums:
    """Sum up what each method scores on each row (M, B)."""
    return {"scores": scores.sum(axis=1), "scored": scores @ scores.T}


def _divergences(predicted: Sequence[Array], *, independent: bool = False) -> Array:
    """Return (M, M): Σ p log p − Σ p log q."""
    # of independent outputs 1 − p counts as p does
    methods = len(predicted)
    own = np.zeros(methods)
    shape = (methods, methods)
    cross = np.zeros(shape)
    for rows in _blocks(predicted):
        parts = [each[rows] for each in predicted]
        flat = np.stack(parts).reshape(methods, -1)
        for outputs in (flat, 1 - flat) if independent else (flat,):
            # 0 · log 0 is 0, which the floor makes of it
            own += (outputs * np.log(np.where(outputs > 0, outputs, 1.0))).sum(axis=1)
            cross += outputs @ np.log(np.maximum(outputs, FLOOR)).T
    divergences: Array = own[:, None] - cross
    np.fill_diagonal(divergences, 0.0)
    return divergences


def _blocks(predicted: Sequence[Array]) -> Iterator[slice]:
    """Cut rows so that the outputs of all methods together are few enough to be copied."""
    rows, outputs = predicted[0].shape
    at_once = max(1, _MOST_NUMBERS // max(1, len(predicted) * outputs))
    for start in range(0, rows, at_once):
        stop = start + at_once
        yield slice(start, stop)
