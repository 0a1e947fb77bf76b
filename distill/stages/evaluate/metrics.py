"""Measures as sums over rows, so that a test pool of any size is judged in one fold: sum up chunks,
add the sums, then divide.

Shapes: B rows, C classes of the truth, K calibration bins, W width of a value.

    accuracy             also by class: seen and unseen are the rows whose class the teacher can and
                         cannot say; harmonic mean of the two (Xian et al. 2017)
    nll                  mean −log p(truth), p floored at `FLOOR`
    calibration_error    expected calibration error, `BINS` equal bins of the largest probability
                         (Guo et al. 2017, eq. 3)
    agreement            share of rows where the method and the teacher name the same class
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
MetricSums = Mapping[str, Array]

# as many as in Guo et al. 2017
BINS = 15
# a method that lacks a class gives it no probability, of which the logarithm is infinite
FLOOR = 1e-6
CONFUSION_CLASSES = 100


def sum_classes(
    probabilities: Array, truth: npt.NDArray[np.int64], teacher: npt.NDArray[np.int64] | None
) -> MetricSums:
    """Sum up exclusive classes: probabilities (B, C), true class numbers (B,), the teacher's
    choices (B,)."""
    rows, classes = probabilities.shape
    confidence = probabilities.max(axis=1)
    chosen = probabilities.argmax(axis=1)
    chosen = np.where(confidence > 0, chosen, -1)  # −1: no class of the truth was named
    right = (chosen == truth).astype(np.float64)
    true_probabilities = probabilities[np.arange(rows), truth]
    floored = np.maximum(true_probabilities, FLOOR)
    nll = -np.log(floored)
    sums: dict[str, Array] = {
        "rows": _by_class(truth, classes),
        "right": _by_class(truth, classes, right),
        "nll": _by_class(truth, classes, nll),
        "bins": _bins(confidence, right),
    }
    if classes <= CONFUSION_CLASSES:
        named = chosen >= 0
        cells = truth[named] * classes + chosen[named]
        sums["confusion"] = _by_class(cells, classes * classes).reshape(classes, classes)
    if teacher is not None:
        sums["agreed"] = _count_of(chosen == teacher)
    return sums


def sum_independent(probabilities: Array, truth: Array, teacher: Array | None) -> MetricSums:
    """Sum up independent outputs: probabilities, truth (0 or 1) and the teacher's probabilities,
    all (B, C)."""
    rows, classes = truth.shape
    chosen = probabilities > 0.5
    right = (chosen == (truth > 0.5)).astype(np.float64)
    floored = np.clip(probabilities, FLOOR, 1 - FLOOR)
    nll = -(truth * np.log(floored) + (1 - truth) * np.log(1 - floored))
    confidence = np.where(chosen, probabilities, 1 - probabilities)
    sums: dict[str, Array] = {
        "rows": np.full(classes, float(rows)),
        "right": right.sum(axis=0),
        "nll": nll.sum(axis=0),
        "bins": _bins(confidence.ravel(), right.ravel()),
    }
    if teacher is not None:
        sums["agreed"] = _count_of(chosen == (teacher > 0.5))
    return sums


def sum_values(values: Array, truth: Array, teacher: Array | None) -> MetricSums:
    """Sum up values, truth and the teacher's values, all (B, W)."""
    sums: dict[str, Array] = {
        "rows": np.array([float(len(truth))]),
        "squared": _row_means(np.square(values - truth)),
        "absolute": _row_means(np.abs(values - truth)),
        "truth": _moments(truth),
    }
    if teacher is not None:
        squares = np.square(values - teacher)
        sums["to_teacher"] = _row_means(squares)
    return sums


def add_sums(
    first: Mapping[str, MetricSums], second: Mapping[str, MetricSums]
) -> Mapping[str, MetricSums]:
    """Return the sums by method of the union of two sets of rows."""
    return {method: _add(first[method], second[method]) for method in first}


def _add(first: MetricSums, second: MetricSums) -> MetricSums:
    added = {name: first[name] + second[name] for name in first}
    if "truth" in first:
        added["truth"] = _joined_moments(first, second)
    return added


def measures(sums: MetricSums, seen: Sequence[bool]) -> dict[str, float]:
    """Return measures by name; `seen` says of each class whether the teacher can say it."""
    if "squared" in sums:
        return _value_measures(sums)
    rows = sums["rows"].sum()
    made = {
        "accuracy": float(sums["right"].sum() / rows),
        "nll": float(sums["nll"].sum() / rows),
        "calibration_error": _calibration_error(sums["bins"]),
    }
    is_seen = np.array(seen)
    if not is_seen.all():
        seen_accuracy = _accuracy_of(sums, is_seen)
        unseen_accuracy = _accuracy_of(sums, ~is_seen)
        both = seen_accuracy + unseen_accuracy
        made["accuracy_seen"] = seen_accuracy
        made["accuracy_unseen"] = unseen_accuracy
        made["harmonic_mean"] = 2 * seen_accuracy * unseen_accuracy / max(both, 1e-12)
    if "agreed" in sums:
        agreed, total = sums["agreed"]
        share = agreed / total
        made["agreement"] = float(share)
    return made


def reliability(sums: MetricSums) -> list[dict[str, float]]:
    """Return the calibration bins that have rows: mean confidence, accuracy, rows."""
    bins = []
    for rows, confidence, right in sums.get("bins", ()):
        if rows:
            mean_confidence = float(confidence / rows)
            accuracy = float(right / rows)
            each = {"confidence": mean_confidence, "accuracy": accuracy, "rows": float(rows)}
            bins.append(each)
    return bins


def _by_class(numbers: npt.NDArray[np.int64], classes: int, weights: Array | None = None) -> Array:
    """Return (classes,): rows of each class, or the sum of their weights."""
    return np.bincount(numbers, weights, minlength=classes).astype(np.float64)


def _count_of(are: npt.NDArray[np.bool_]) -> Array:
    """Return (2,): how many are true, of how many."""
    return np.array([float(are.sum()), float(are.size)])


def _row_means(values: Array) -> Array:
    """Return (1,): the sum over rows of the means over (B, W)."""
    total: Array = values.mean(axis=1).sum(keepdims=True)
    return total


def _accuracy_of(sums: MetricSums, classes: npt.NDArray[np.bool_]) -> float:
    """Return the accuracy over the rows of some classes; 0 where there are none."""
    right = sums["right"][classes].sum()
    rows = sums["rows"][classes].sum()
    return float(right / max(rows, 1))


def _bins(confidence: Array, right: Array) -> Array:
    """Return (K, 3): rows, Σ confidence, Σ right."""
    # the last bin has its upper border too: a confidence of 1 is none beyond it
    numbers = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    ones = np.ones_like(right)
    columns = [np.bincount(numbers, each, minlength=BINS) for each in (ones, confidence, right)]
    return np.stack(columns, axis=1)


def _calibration_error(bins: Array) -> float:
    rows, confidence, right = bins.T
    gaps = np.abs(confidence - right)
    return float(gaps.sum() / max(rows.sum(), 1))


def _moments(values: Array) -> Array:
    """Return (2, W) of (B, W): the mean, and Σ (value − mean)²."""
    # from the first row on, so that what does not move has a spread of exactly 0
    first = values[:1].sum(axis=0)
    mean = first + (values - first).sum(axis=0) / max(len(values), 1)
    squares = np.square(values - mean)
    spread = squares.sum(axis=0)
    return np.stack([mean, spread])


def _joined_moments(first: MetricSums, second: MetricSums) -> Array:
    """Return the moments of two sets of rows (Chan, Golub & LeVeque 1979, eq. 2.1)."""
    # E[y²] − E[y]² would lose them where the mean is far from 0
    first_mean, first_spread = first["truth"]
    second_mean, second_spread = second["truth"]
    share = second["rows"] / np.maximum(first["rows"] + second["rows"], 1)
    gap = second_mean - first_mean
    mean = first_mean + gap * share
    spread = first_spread + second_spread + np.square(gap) * share * first["rows"]
    return np.stack([mean, spread])


def _value_measures(sums: MetricSums) -> dict[str, float]:
    rows = float(sums["rows"][0])
    _, spread = sums["truth"]
    variance = float(spread.sum()) / rows / len(spread)
    mse = float(sums["squared"][0]) / rows
    made = {
        "mse": mse,
        "mae": float(sums["absolute"][0]) / rows,
        "r2": 1 - mse / variance if variance else 0.0,
    }
    if "to_teacher" in sums:
        made["mse_to_teacher"] = float(sums["to_teacher"][0]) / rows
    return made
