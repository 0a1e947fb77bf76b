"""An interval for every measure of one method: in closed form where there is one, else from the
bootstrap's replicates.

Shares of rows have Wilson's interval, which has a width even where all rows are right; the areas
under curves, rank correlations and recalls have those of their tables; all else has percentiles of
the replicates, or, of a share of which no replicate differs, what shares of so many rows have: other
rows may differ. The calibration error is the exception: a resample is worse calibrated than its rows
by chance alone, so its percentiles lie too high, and its replicates give the width alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from distill.core.intervals import LEVEL, Interval, rank_interval, share_interval, z_of
from distill.core.results import SHARES
from distill.stages.evaluate.metrics import MetricSums, measured, measures, ranks_of
from distill.stages.evaluate.resampling import percentiles

Array = npt.NDArray[np.float64]

_BIASED = frozenset({"calibration_error"})
_NONE = np.zeros(1)


def replicated(sums: MetricSums, seen: Sequence[bool]) -> dict[str, Array]:
    """Return (R,) of each measure that replicates tell; nothing where none were drawn."""
    if "replicates" not in sums:
        return {}
    return dict(measured(sums["replicates"].sums(), seen))


def intervals(
    sums: MetricSums,
    seen: Sequence[bool],
    *,
    exclusive: bool,
    level: float = LEVEL,
    corrected: bool = False,
) -> dict[str, Interval]:
    """Return an interval by measure; those of which none is known are left out. Shares may be
    `corrected` for continuity, where something is to be decided by them."""
    values = measures(sums, seen)
    found = {}
    for name, replicates in replicated(sums, seen).items():
        if name in _BIASED:
            half = z_of(level) * float(replicates.std(ddof=1))
            found[name] = (max(0.0, values[name] - half), min(1.0, values[name] + half))
        else:
            found[name] = percentiles(replicates, level)
    unvaried = [name for name, (low, high) in found.items() if name in SHARES and low == high]
    if exclusive and "balanced_accuracy" in found:
        value = values["balanced_accuracy"]
        found["balanced_accuracy"] = _mean_of_shares(sums["rows"], sums["right"], value, level)
    if exclusive:
        found |= _shares(sums, seen, values, level, corrected=corrected)
    found |= _unvaried(sums, values, found, unvaried, level=level, exclusive=exclusive)
    if "scores" in sums:
        scores = sums["scores"]
        found |= scores.intervals(level)
    recall = sums["sample"].recall(level) if "sample" in sums else None
    if recall is not None:
        _, found["retrieval_recall"] = recall
    ranks = ranks_of(sums)
    if ranks:
        rows = float(ranks[0].rows.sum())
        # the values of a row are no independent draws: together they tell no more than one
        found["rank_correlation"] = rank_interval(values["rank_correlation"], rows, level)
    return found


def errors(sums: MetricSums) -> dict[str, float]:
    """Return how far measures may be off since scores or ranks were put together; no exact ones."""
    found: dict[str, float] = {}
    if "scores" in sums:
        scores = sums["scores"]
        found |= scores.errors()
    lost = [each.error for each in ranks_of(sums)]
    if any(lost):
        found["rank_correlation"] = max(lost)
    return found


def _unvaried(
    sums: MetricSums,
    values: Mapping[str, float],
    found: Mapping[str, Interval],
    names: Sequence[str],
    *,
    level: float,
    exclusive: bool,
) -> dict[str, Interval]:
    """Return the intervals of those shares of which no replicate differs and that `found` does not
    have otherwise."""
    made = {}
    rows = float(sums["rows"].sum() if exclusive else sums.get("cells", _NONE).mean())
    for name in names:
        if name == "harmonic_mean":
            made[name] = _harmonic(found["accuracy_seen"], found["accuracy_unseen"])
        elif name == "f1_macro":
            rows_key = "rows" if exclusive else "true"
            rows_C = sums[rows_key]
            hits_key = "right" if exclusive else "hits"
            hits_C = sums[hits_key]
            made[name] = _mean_of_shares(rows_C, hits_C, values[name], level)
        elif name == "f1_weighted" or not exclusive:
            made[name] = share_interval(values[name] * rows, rows, level, corrected=True)
    return made


def _harmonic(one: Interval, other: Interval) -> Interval:
    """Return the harmonic means of two lower and two upper ends."""
    low, high = (2 * a * b / max(a + b, 1e-12) for a, b in zip(one, other, strict=True))
    return low, high


def _mean_of_shares(rows: Array, right: Array, value: float, level: float) -> Interval:
    """Return the interval of the mean over classes of the share of their rows named right, by those
    of the shares (MOVER, Zou & Donner 2008)."""
    # it has a width even where a share is 0 or 1, of which no resample differs
    below = 0.0
    above = 0.0
    classes = 0
    for count, hits in zip(rows.tolist(), right.tolist(), strict=True):
        if count:
            low, high = share_interval(hits, count, level)
            share = hits / count
            below += (share - low) ** 2
            above += (high - share) ** 2
            classes += 1
    reach_below = math.sqrt(below) / max(classes, 1)
    reach_above = math.sqrt(above) / max(classes, 1)
    return max(0.0, value - reach_below), min(1.0, value + reach_above)


def _shares(
    sums: MetricSums,
    seen: Sequence[bool],
    values: Mapping[str, float],
    level: float,
    *,
    corrected: bool,
) -> dict[str, Interval]:
    """Return the intervals of shares of rows."""
    rows = sums["rows"]
    is_seen = np.array(seen, np.bool_)
    counted = {
        "accuracy": rows.sum(),
        "top_3": rows.sum(),
        "top_5": rows.sum(),
        "agreement": rows.sum(),
        "accuracy_seen": rows[is_seen].sum(),
        "accuracy_unseen": rows[~is_seen].sum(),
    }
    found = {}
    for name, count in counted.items():
        if name in values:
            total = float(count)
            share = values[name]
            right = share * total
            found[name] = share_interval(right, total, level, corrected=corrected)
    return found
