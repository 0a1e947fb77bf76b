"""What follows from sums over rows of classes: numbers of the sums of all rows, and (R,) of the sums
of each replicate, by the same formulas over the last axes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def class_measures(sums: Mapping[str, Any], seen: npt.NDArray[np.bool_]) -> dict[str, Array]:
    """Return the measures of exclusive classes; `seen` (C,) are those that the teacher can say."""
    rows = sums["rows"].sum(axis=-1)
    made = {
        "accuracy": _share(sums["right"].sum(axis=-1), rows),
        "nll": _share(sums["nll"].sum(axis=-1), rows),
        "calibration_error": _calibration_error(sums["bins"]),
        "brier": _share(sums["brier"].sum(axis=-1), rows),
    }
    if "top" in sums:
        for number, name in enumerate(("top_3", "top_5")[: sums["top"].shape[-1]]):
            made[name] = _share(sums["top"][..., number], rows)
    if "chosen" in sums:
        made |= _by_class(sums["rows"], sums["right"], sums["chosen"])
        made["balanced_accuracy"] = _mean_recall(sums["rows"], sums["right"])
        if not seen.all():
            made |= _seen_and_unseen(sums, seen)
    return made | _agreement(sums)


def independent_measures(sums: Mapping[str, Any], outputs: int) -> dict[str, Array]:
    """Return the measures of so many independent outputs."""
    cells = sums["cells"].sum(axis=-1)
    rows = cells / outputs
    made = {
        "accuracy": _share(sums["right"].sum(axis=-1), cells),
        "nll": _share(sums["nll"].sum(axis=-1), cells),
        "calibration_error": _calibration_error(sums["bins"]),
        "brier": _share(sums["brier"].sum(axis=-1), rows),
    }
    if "hits" in sums:
        made |= _by_class(sums["true"], sums["hits"], sums["chosen"])
    return made | _agreement(sums)


def _share(count: Array, rows: Array) -> Array:
    share: Array = count / np.maximum(rows, 1e-12)
    return share


def _agreement(sums: Mapping[str, Any]) -> dict[str, Array]:
    if "agreed" not in sums:
        return {}
    return {"agreement": _share(sums["agreed"][..., 0], sums["agreed"][..., 1])}


def _by_class(true: Array, hits: Array, chosen: Array) -> dict[str, Array]:
    """Return F1 by rows, hits and choices of each class (…, C)."""
    named = true + chosen
    f1 = np.where(named > 0, 2 * hits / np.maximum(named, 1e-12), 0.0)
    # a class that neither truth nor method names has no F1
    counted = np.maximum((named > 0).sum(axis=-1), 1)
    rows = np.maximum(true.sum(axis=-1), 1e-12)
    return {"f1_macro": f1.sum(axis=-1) / counted, "f1_weighted": (f1 * true).sum(axis=-1) / rows}


def _mean_recall(rows: Array, right: Array) -> Array:
    recall = np.where(rows > 0, right / np.maximum(rows, 1e-12), 0.0)
    mean: Array = recall.sum(axis=-1) / np.maximum((rows > 0).sum(axis=-1), 1)
    return mean


def _seen_and_unseen(sums: Mapping[str, Any], seen: npt.NDArray[np.bool_]) -> dict[str, Array]:
    seen_accuracy = _accuracy_of(sums, seen)
    unseen_accuracy = _accuracy_of(sums, ~seen)
    both = seen_accuracy + unseen_accuracy
    return {
        "accuracy_seen": seen_accuracy,
        "accuracy_unseen": unseen_accuracy,
        "harmonic_mean": 2 * seen_accuracy * unseen_accuracy / np.maximum(both, 1e-12),
    }


def _accuracy_of(sums: Mapping[str, Any], classes: npt.NDArray[np.bool_]) -> Array:
    """Return the accuracy over the rows of some classes; 0 where there are none."""
    right = sums["right"][..., classes].sum(axis=-1)
    rows = sums["rows"][..., classes].sum(axis=-1)
    accuracy: Array = right / np.maximum(rows, 1)
    return accuracy


def _calibration_error(bins: Array) -> Array:
    rows = bins[..., 0]
    gaps = np.abs(bins[..., 1] - bins[..., 2])
    error: Array = gaps.sum(axis=-1) / np.maximum(rows.sum(axis=-1), 1)
    return error
