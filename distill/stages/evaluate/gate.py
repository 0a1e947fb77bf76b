"""The gate: rules held against students, over all rows and slice by slice.

A rule is *passed* where the measure keeps to the limit with the gate's confidence: the bound on the
near side of it is still within. It is *failed* where even the bound on the far side is beyond, and
otherwise *inconclusive*: so few rows may be either, and that is never a pass. Rows fewer than
`least_rows` are inconclusive whatever they say, and so are classes without any row, and slices that
are not told apart from each other.

All slices of a rule must pass, so that a bad one passes by chance no more often than if it were
alone. That one of many good ones fails by chance is held down by dividing what is left of the
confidence by their number (Bonferroni).

Bounds of shares are Wilson's, corrected for continuity, and of differences of shares made of those;
of other means over rows of a slice Student's; of all else the bootstrap's percentiles. Shares of
which no row or no resample differs have those of shares, since other rows may differ.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from distill.core.intervals import (
    Interval,
    difference_interval,
    mean_interval,
    one_sided,
    share_interval,
)
from distill.core.judgement import FAILED, INCONCLUSIVE, PASSED, GateResult, RuleResult, worst_first
from distill.core.results import ROW_MEASURES, SHARES
from distill.plan.candidates import Candidate
from distill.plan.steps import GatePlan
from distill.spec.evaluation import Rule
from distill.stages.evaluate.judged_sums import JudgedSums, SliceTable
from distill.stages.evaluate.resampling import percentiles
from distill.stages.evaluate.slice_sums import OTHERS

_LARGEST = 1e9  # bounds beyond are none
_LEAST_HALF = 1e-6


@dataclass(frozen=True)
class _Found:
    """What a rule looks at."""

    value: float
    near: Interval  # at the confidence of a pass
    far: Interval  # at the confidence of a failure


def hold(plan: GatePlan, judged: JudgedSums) -> GateResult:
    """Return what came of each rule, the worst first."""
    gate = _Gate(plan, judged)
    results: list[RuleResult] = []
    for candidate in judged.candidates:
        if candidate.method.key in plan.students:
            for rule in plan.gate.rules:
                results += gate.results(rule, candidate)
    return GateResult(confidence=plan.gate.confidence, results=tuple(worst_first(results)))


@dataclass(frozen=True)
class _Rows:
    """Which rows: all, or those of one value of a slicing."""

    count: int
    slicing: str = ""
    value: str = ""


@dataclass(frozen=True)
class _Gate:
    plan: GatePlan
    judged: JudgedSums

    def results(self, rule: Rule, candidate: Candidate) -> Iterator[RuleResult]:
        if not rule.slices:
            found = self._overall(rule, candidate.method.key)
            yield self._result(rule, candidate, _Rows(self.judged.rows), found)
        for slicing in rule.slices:
            yield from self._sliced(rule, candidate, slicing)

    def _sliced(self, rule: Rule, candidate: Candidate, slicing: str) -> Iterator[RuleResult]:
        judged = self.judged
        sums = judged.slices[slicing]
        table = judged.slice_table(sums)
        for line, value in enumerate(sums.values):
            rows = _Rows(int(table.rows[line]), slicing, value)
            found = self._slice(rule, candidate.method.key, table, line)
            result = self._result(rule, candidate, rows, found)
            if value == OTHERS and result.state == PASSED:
                why = "they are not told apart, so one of them may be beyond the limit"
                result = replace(result, state=INCONCLUSIVE, why=why)
            yield result
        if slicing == "class" and OTHERS not in sums.values:
            for name in judged.classes:
                if name not in sums.values:
                    yield self._result(rule, candidate, _Rows(0, slicing, name), None)

    def _reference(self, rule: Rule) -> str | None:
        if rule.beside is None:
            return None
        return self.plan.teacher if rule.beside == "teacher" else self.plan.former

    def _overall(self, rule: Rule, key: str) -> _Found | None:
        confidence = self.plan.gate.confidence
        level = one_sided(confidence)
        measures = self.judged.measures[key]
        if rule.measure not in measures:
            return None
        reference = self._reference(rule)
        if reference is None:
            interval = self.judged.intervals(key, level, corrected=True).get(rule.measure)
            value = measures[rule.measure]
            return None if interval is None else _Found(value, interval, interval)
        difference = measures[rule.measure] - self.judged.measures[reference][rule.measure]
        flips = self.judged.flips(key, reference)
        if rule.measure == "accuracy" and self.judged.kind == "exclusive" and flips is not None:
            gained, lost = flips
            interval = difference_interval(gained, lost, self.judged.rows, level, corrected=True)
            return _Found(difference, interval, interval)
        mine = self.judged.replicates[key].get(rule.measure)
        its = self.judged.replicates[reference].get(rule.measure)
        if mine is None or its is None:
            return None
        low, high = percentiles(mine - its, level)
        if low == high and rule.measure in SHARES:
            low, high = _unvaried_difference(difference, self.judged.rows, level)
        return _Found(difference, (low, high), (low, high))

    def _slice(self, rule: Rule, key: str, table: SliceTable, line: int) -> _Found | None:
        confidence = self.plan.gate.confidence
        near = one_sided(confidence)
        far = one_sided(1 - (1 - confidence) / len(table.rows))
        rows = float(table.rows[line])
        if rule.measure not in ROW_MEASURES[self.judged.kind] or not rows:
            return None
        reference = self._reference(rule)
        is_share = rule.measure == "accuracy" and self.judged.kind == "exclusive"
        if reference is not None:
            total, squares = table.difference_sums(line, key, reference, rule.measure)
            if is_share:
                gained = (squares + total) / 2
                lost = (squares - total) / 2
                bounds = [
                    difference_interval(gained, lost, rows, each, corrected=True)
                    for each in (near, far)
                ]
                return _Found(total / rows, *bounds)
        else:
            total, squares = table.mean_sums(line, key, rule.measure)
            if is_share:
                ends = [share_interval(total, rows, each, corrected=True) for each in (near, far)]
                return _Found(total / rows, *ends)
        intervals = [mean_interval(total, squares, rows, each) for each in (near, far)]
        low, high = intervals[0]
        if rule.measure in SHARES and high - low < _LEAST_HALF:
            if reference is None:
                both = (near, far)
                intervals = [share_interval(total, rows, each, corrected=True) for each in both]
            else:
                intervals = [_unvaried_difference(total / rows, rows, each) for each in (near, far)]
        return _Found(total / rows, *intervals)

    def _result(
        self, rule: Rule, candidate: Candidate, rows: _Rows, found: _Found | None
    ) -> RuleResult:
        state, why = self._state(rule, rows.count, found)
        distance = 0.0
        if found is not None:
            half = max((found.near[1] - found.near[0]) / 2, _LEAST_HALF)
            distance = _beyond(rule, found.value) / half if math.isfinite(found.value) else 0.0
        known = found is not None and all(abs(end) < _LARGEST for end in found.near)
        return RuleResult(
            rule=rule.in_words,
            student=candidate.method.key,
            name=candidate.name,
            measure=rule.measure,
            slicing=rows.slicing,
            value=rows.value,
            rows=rows.count,
            found=found.value if found and known else None,
            low=found.near[0] if found and known else None,
            high=found.near[1] if found and known else None,
            limit=rule.limit,
            state=state,
            why=why,
            distance=distance,
        )

    def _state(self, rule: Rule, rows: int, found: _Found | None) -> tuple[str, str]:
        least = self.plan.gate.least_rows
        if rows < least:
            return INCONCLUSIVE, f"{rows:,} rows are fewer than least_rows = {least}"
        if found is None:
            return INCONCLUSIVE, f"no interval is known of {rule.measure} here"
        if not math.isfinite(found.value):
            return INCONCLUSIVE, f"{rule.measure} is no finite number here"
        if _keeps(rule, found.near):
            return PASSED, ""
        if _breaks(rule, found.far):
            return FAILED, ""
        return INCONCLUSIVE, _rows_needed(rule, rows, found)


def _unvaried_difference(difference: float, rows: float, level: float) -> Interval:
    """Return the interval of a difference of shares that is the same in all rows or resamples."""
    # rows that were not drawn may differ
    below, above = difference_interval(0, 0, rows, level, corrected=True)
    return difference + below, difference + above


def _keeps(rule: Rule, interval: Interval) -> bool:
    low, high = interval
    return low >= rule.limit if rule.at_most is None else high <= rule.limit


def _breaks(rule: Rule, interval: Interval) -> bool:
    low, high = interval
    return high < rule.limit if rule.at_most is None else low > rule.limit


def _beyond(rule: Rule, value: float) -> float:
    """How far a value is on the wrong side of the limit."""
    return rule.limit - value if rule.at_most is None else value - rule.limit


def _rows_needed(rule: Rule, rows: int, found: _Found) -> str:
    """Say how many rows would tell, were the measure what it is on these."""
    inside = -_beyond(rule, found.value)
    low, high = found.near if inside > 0 else found.far
    is_lower = (rule.at_most is None) == (inside > 0)
    reach = found.value - low if is_lower else high - found.value
    if not inside or abs(inside) * 1e6 < reach:
        return "too few rows to tell it from the limit"
    needed = rows * (reach / inside) ** 2
    return f"too few rows to be sure; some {max(needed, rows + 1):,.2g} would tell"
