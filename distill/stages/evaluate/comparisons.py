"""Methods held against each other on the same rows: students beside their teacher, a former student
and the best of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from distill.core.intervals import difference_interval, mcnemar
from distill.core.judgement import Comparison, PairsResult
from distill.core.results import LOWER_IS_BETTER
from distill.plan.candidates import Candidate
from distill.stages.evaluate.judged_sums import JudgedSums
from distill.stages.evaluate.metrics import Array, MetricSums
from distill.stages.evaluate.pairs import MOST_PAIRED
from distill.stages.evaluate.resampling import percentiles

_MOST_COMPARISONS = 100
_DIGITS = 6


def paired_keys(
    candidates: Sequence[Candidate], teacher: str | None, former: str | None
) -> tuple[str, ...]:
    """Return the methods that are held against each other: teacher, former student, students, then
    other label sets, `MOST_PAIRED` of them at most."""
    first = [key for key in (teacher, former) if key is not None]
    students = [each.method.key for each in candidates if each.role == "student"]
    others = [each.method.key for each in candidates]
    keys = list(dict.fromkeys([*first, *students, *others]))
    return tuple(keys[:MOST_PAIRED])


def pairs_result(judged: JudgedSums) -> PairsResult | None:
    """Return every method beside every other."""
    sums = judged.pairs
    if sums is None:
        return None
    rows = max(float(sums["rows"][0]), 1.0)
    if "squares" in sums:
        squared = _rounded(sums["squares"] / rows)
        return PairsResult(keys=judged.paired, squared=squared, variance=_variances(sums, rows))
    outputs = max(float(sums["outputs"][0]), 1.0)
    return PairsResult(
        keys=judged.paired,
        agreement=_rounded(sums["agreed"] / outputs),
        kl=_rounded(sums["kl"] / rows),
        wins=sums["wins"].astype(int).tolist(),
        variance=_variances(sums, rows) if "scored" in sums else (),
    )


def _variances(sums: MetricSums, rows: float) -> list[list[float]]:
    """Return the variance over rows of the difference of two scores, of each two methods."""
    totals = sums["scores"]
    products = sums["scored"]
    squares = np.diag(products)
    of_differences = squares[:, None] + squares - 2 * products
    differences = totals[:, None] - totals
    variances: Array = (of_differences - differences**2 / rows) / max(rows - 1, 1)
    positive: list[list[float]] = np.maximum(variances, 0.0).tolist()
    return positive


def _rounded(table: Array) -> list[list[float]]:
    rounded: list[list[float]] = table.round(_DIGITS).tolist()
    return rounded


def compare(judged: JudgedSums, teacher: str | None, former: str | None) -> tuple[Comparison, ...]:
    """Return students beside teacher and former student, and the best student beside all others."""
    is_value = judged.kind == "value"
    measure = "mse" if is_value else "accuracy"
    pairs = dict.fromkeys(_pairs(judged, measure, teacher, former))
    found = [_comparison(judged, measure, *pair) for pair in list(pairs)[:_MOST_COMPARISONS]]
    return tuple(found)


def _pairs(
    judged: JudgedSums, measure: str, teacher: str | None, former: str | None
) -> Iterator[tuple[str, str]]:
    students = [each.method.key for each in judged.candidates if each.role == "student"]
    sign = 1 if measure in LOWER_IS_BETTER else -1
    ranked = sorted(students, key=lambda key: sign * judged.measures[key][measure])
    for second in (former, teacher):
        if second is not None:
            yield from ((student, second) for student in ranked)
    for other in ranked[1:]:
        yield ranked[0], other
    others = [key for key in judged.keys if key not in students]
    for key in others:
        if ranked:
            yield ranked[0], key


def _comparison(judged: JudgedSums, measure: str, first: str, second: str) -> Comparison:
    of_first = judged.replicates[first]
    mine = of_first[measure]
    of_second = judged.replicates[second]
    its = of_second[measure]
    low, high = percentiles(mine - its)
    flips = None
    if judged.kind == "exclusive":
        flips = judged.flips(first, second)
    if flips == (0, 0):
        # no resample differs where no row does, and other rows may
        low, high = difference_interval(0, 0, judged.rows)
    return Comparison(
        first=first,
        second=second,
        measure=measure,
        difference=judged.measures[first][measure] - judged.measures[second][measure],
        low=low,
        high=high,
        gained=flips[0] if flips else None,
        lost=flips[1] if flips else None,
        p_value=mcnemar(*flips) if flips else None,
    )
