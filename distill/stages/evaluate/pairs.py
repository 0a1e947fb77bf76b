"""Every method beside every other on the same rows, in a few products of matrices a chunk.

Shapes: M methods, B rows, C outputs.

    agreed    (M, M)  rows where both name the same class (independent outputs: outputs)
    wins      (M, M)  rows where the method of the line is right and the other is wrong
    kl        (M, M)  Σ over rows of KL(line ‖ column), the column's probabilities floored
    squares   (M, M)  of values: Σ over rows of the mean squared difference

Where a student comes after another, its wins are fixed rows and the other's are negative flips (Yan
et al. 2021); 1 − agreement is churn (Milani Fard et al. 2016).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distill.stages.evaluate.metrics import FLOOR, MetricSums, choices

Array = npt.NDArray[np.float64]

MOST_PAIRED = 32
"""Methods that are held against each other: label sets first, then students in their order."""


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
    right = (chosen == (truth > 0.5)).all(axis=2).astype(np.float64)
    flat = chosen.reshape(len(predicted), -1)
    agreed = [(flat == each).sum(axis=1) for each in flat]
    both = [np.concatenate([each, 1 - each], axis=1) for each in predicted]
    return {
        "agreed": np.stack(agreed).astype(np.float64),
        "wins": right @ (1 - right).T,
        "kl": _divergences(both),
        "outputs": np.array([float(truth.size)]),
        "rows": np.array([float(len(truth))]),
    }


def pair_values(predicted: Sequence[Array]) -> MetricSums:
    """Sum up pairs of values, all (B, W)."""
    squares = [
        [np.square(one - other).mean(axis=1).sum() for other in predicted] for one in predicted
    ]
    return {"squares": np.array(squares), "rows": np.array([float(len(predicted[0]))])}


def _divergences(predicted: Sequence[Array]) -> Array:
    """Return (M, M): Σ p log p − Σ p log q."""
    methods = len(predicted)
    flat = np.stack(predicted).reshape(methods, -1)
    # 0 · log 0 is 0, which the floor makes of it
    own = (flat * np.log(np.where(flat > 0, flat, 1.0))).sum(axis=1)
    cross = flat @ np.log(np.maximum(flat, FLOOR)).T
    divergences: Array = own[:, None] - cross
    np.fill_diagonal(divergences, 0.0)
    return divergences
