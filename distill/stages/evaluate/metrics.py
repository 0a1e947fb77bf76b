"""Measures as sums over rows, so that a test pool of any size is judged in one fold: tally chunks, add them up, then divide.

Shapes: B rows, C classes of the truth, K calibration bins, W width of a value.

    accuracy, by class      seen / unseen: rows whose class the teacher can / cannot say; harmonic mean of the two (Xian et al. 2017)
    nll                     mean −log p(truth), p floored at `FLOOR` since a method that lacks a class gives it none
    calibration_error       expected calibration error, `BINS` equal bins of the largest probability (Guo et al. 2017, eq. 3)
    agreement               share of rows where the method and the teacher name the same class
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
MetricSums = Mapping[str, Array]

BINS = 15
FLOOR = 1e-6
CONFUSION_CLASSES = 100


def sum_classes(
    probabilities: Array, truth: npt.NDArray[np.int64], teacher: npt.NDArray[np.int64] | None
) -> MetricSums:
    """Exclusive classes: probabilities (B, C), true class numbers (B,), the teacher's choices (B,)."""
    classes = probabilities.shape[1]
    confidence = probabilities.max(axis=1)
    chosen = np.where(
        confidence > 0, probabilities.argmax(axis=1), -1
    )  # −1: no class of the truth was named
    right = (chosen == truth).astype(np.float64)
    nll = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], FLOOR))
    sums: dict[str, Array] = {
        "rows": np.bincount(truth, minlength=classes).astype(np.float64),
        "right": np.bincount(truth, right, minlength=classes).astype(np.float64),
        "nll": np.bincount(truth, nll, minlength=classes).astype(np.float64),
        "bins": _bins(confidence, right),
    }
    if classes <= CONFUSION_CLASSES:
        named = chosen >= 0
        cells = np.bincount(truth[named] * classes + chosen[named], minlength=classes * classes)
        sums["confusion"] = cells.reshape(classes, classes).astype(np.float64)
    if teacher is not None:
        sums["agreed"] = np.array([float((chosen == teacher).sum()), float(len(truth))])
    return sums


def sum_independent(probabilities: Array, truth: Array, teacher: Array | None) -> MetricSums:
    """Independent outputs: probabilities, truth (0 or 1) and the teacher's probabilities, all (B,
    C)."""
    said = probabilities > 0.5
    right = (said == (truth > 0.5)).astype(np.float64)
    sure = np.clip(probabilities, FLOOR, 1 - FLOOR)
    nll = -(truth * np.log(sure) + (1 - truth) * np.log(1 - sure))
    rows = np.full(truth.shape[1], float(len(truth)))
    sums: dict[str, Array] = {"rows": rows, "right": right.sum(axis=0), "nll": nll.sum(axis=0)}
    sums["bins"] = _bins(np.where(said, probabilities, 1 - probabilities).ravel(), right.ravel())
    if teacher is not None:
        sums["agreed"] = np.array([float((said == (teacher > 0.5)).sum()), float(said.size)])
    return sums


def sum_values(values: Array, truth: Array, teacher: Array | None) -> MetricSums:
    """Values, truth and the teacher's values, all (B, W)."""
    sums: dict[str, Array] = {
        "rows": np.array([float(len(truth))]),
        "squared": np.square(values - truth).mean(axis=1).sum(keepdims=True),
        "absolute": np.abs(values - truth).mean(axis=1).sum(keepdims=True),
        "truth": _moments(truth),
    }
    if teacher is not None:
        sums["to_teacher"] = np.square(values - teacher).mean(axis=1).sum(keepdims=True)
    return sums


def add_sums(
    first: Mapping[str, MetricSums], second: Mapping[str, MetricSums]
) -> Mapping[str, MetricSums]:
    """Tallies by method, of two sets of rows, to those of their union."""
    return {method: _added(first[method], second[method]) for method in first}


def _added(first: MetricSums, second: MetricSums) -> MetricSums:
    added = {name: first[name] + second[name] for name in first}
    if "truth" in first:
        added["truth"] = _joined_moments(first, second)
    return added


def measures(tally: MetricSums, seen: Sequence[bool]) -> dict[str, Any]:
    """Measures by name from a tally; `seen` says of each class whether the teacher can say it."""
    if "squared" in tally:
        return _value_measures(tally)
    known = np.array(seen)
    rows = tally["rows"]
    made: dict[str, Any] = {
        "accuracy": float(tally["right"].sum() / rows.sum()),
        "nll": float(tally["nll"].sum() / rows.sum()),
        "calibration_error": _calibration_error(tally["bins"]),
    }
    if not known.all():
        parts = [
            float(tally["right"][side].sum() / max(rows[side].sum(), 1)) for side in (known, ~known)
        ]
        made |= {
            "accuracy_seen": parts[0],
            "accuracy_unseen": parts[1],
            "harmonic_mean": 2 * parts[0] * parts[1] / max(sum(parts), 1e-12),
        }
    if "agreed" in tally:
        made["agreement"] = float(tally["agreed"][0] / tally["agreed"][1])
    return made


def reliability(tally: MetricSums) -> list[dict[str, float]]:
    """The calibration bins that have rows: mean confidence, accuracy, rows."""
    if "bins" not in tally:
        return []
    return [
        {"confidence": float(sure / n), "accuracy": float(right / n), "rows": float(n)}
        for n, sure, right in tally["bins"]
        if n
    ]


def _bins(confidence: Array, right: Array) -> Array:
    """(K, 3): rows, Σ confidence, Σ right."""
    number = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    return np.stack(
        [
            np.bincount(number, weights, minlength=BINS)
            for weights in (np.ones_like(right), confidence, right)
        ],
        axis=1,
    )


def _calibration_error(bins: Array) -> float:
    return float(np.abs(bins[:, 1] - bins[:, 2]).sum() / max(bins[:, 0].sum(), 1))


def _moments(values: Array) -> Array:
    """(2, W) of (B, W): the mean, and Σ (value − mean)². Taken from the first row on, so that what
    does not move has a spread of exactly 0."""
    first = values[:1].sum(axis=0)
    mean = first + (values - first).sum(axis=0) / max(len(values), 1)
    return np.stack([mean, np.square(values - mean).sum(axis=0)])


def _joined_moments(first: MetricSums, second: MetricSums) -> Array:
    """Of two sets of rows (Chan, Golub & LeVeque 1979, eq. 2.1), which E[y²] − E[y]² loses where
    the mean is far from 0."""
    (mean, spread), share = (
        first["truth"],
        second["rows"] / np.maximum(first["rows"] + second["rows"], 1),
    )
    gap = second["truth"][0] - mean
    return np.stack(
        [mean + gap * share, spread + second["truth"][1] + np.square(gap) * share * first["rows"]]
    )


def _value_measures(tally: MetricSums) -> dict[str, Any]:
    rows = float(tally["rows"][0])
    width = tally["truth"].shape[1]
    variance = float(tally["truth"][1].sum()) / rows / width
    mse = float(tally["squared"][0]) / rows
    made = {
        "mse": mse,
        "mae": float(tally["absolute"][0]) / rows,
        "r2": 1 - mse / variance if variance else 0.0,
    }
    if "to_teacher" in tally:
        made["mse_to_teacher"] = float(tally["to_teacher"][0]) / rows
    return made
