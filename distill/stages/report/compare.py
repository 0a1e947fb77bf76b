"""Evaluations of several data sets made one study: methods by data sets, who beats whom, ranks.

A method is the same on two data sets where it has the same name there; seeds are taken together.
Students compete; label sets stand beside them, and students that are named so, such as one that
learned the truth. What is ranked is who was judged on every data set.

Two methods meet on the same rows of a data set and, where both have them, in the same seeds. The
interval of their difference has two parts, added as squares: the draw of the test rows (of accuracy
by the rows that one alone has right, Agresti & Min 2005; of errors by the variance of their
differences; else by both methods' own intervals, as if they were independent), and the draw of the
seeds, by Student's t. One wins where the interval leaves out 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from distill.core.errors import JobError
from distill.core.intervals import difference_interval, z_of
from distill.core.rank_test import RankTest, rank_test, ranks
from distill.core.results import LOWER_IS_BETTER, Evaluation, Group, MethodResult
from distill.core.study import LOSS, TIE, WIN, DataSet, Meeting, Study, StudyMethod
from distill.stages.report.figures import figure_of, seed_reach

_LEAST = 2
_BESIDE = "beside"
Pair = tuple[MethodResult, MethodResult]


@dataclass(frozen=True)
class Judged:
    """One evaluation of a study."""

    evaluation: Evaluation
    uri: str


def make_study(
    results: Sequence[Judged], measure: str | None = None, beside: Collection[str] = ()
) -> Study:
    """Return the study of some evaluations, by one measure, or of each by its own main one. Students
    `beside` are shown and do not compete. Raises JobError for fewer than two results, for one that
    is named twice, for a measure that one of them does not have, and for a student that none has.
    """
    if len(results) < _LEAST:
        raise JobError("A comparison needs two results at least. Name more of them.")
    uris = [judged.uri for judged in results]
    twice = sorted({uri for uri in uris if uris.count(uri) > 1})
    if twice:
        # the tests would take it for as many data sets, which all say the same
        raise JobError(f"{', '.join(twice)}: is named twice. Name each result once.")
    sides = [
        _Side(judged, name, _measure_of(judged, measure))
        for judged, name in zip(results, _names(results), strict=True)
    ]
    names = _method_names(sides)
    _require_students(sides, names, beside)
    judged_on_all = [name for name in names if all(side.student(name) for side in sides)]
    competing = [name for name in judged_on_all if name not in beside]
    ranked = ranks(_scores(sides, competing)) if len(competing) >= _LEAST else None
    methods = []
    for name in names:
        column = None
        if ranked is not None and name in competing:
            column = tuple(ranked[:, competing.index(name)].tolist())
        method = _method(sides, name, column)
        methods.append(replace(method, role=_BESIDE) if name in beside else method)
    meetings = [
        side.meeting(first, second)
        for first, second in combinations(competing, 2)
        for side in sides
    ]
    return Study(
        level=sides[0].evaluation.level,
        data_sets=tuple(side.described for side in sides),
        methods=tuple(methods),
        meetings=tuple(meetings),
        test=_test(sides, competing),
    )


def _names(results: Sequence[Judged]) -> list[str]:
    """Return what each data set is called: its job, and where two share one what tells them apart."""
    jobs = [judged.evaluation.job for judged in results]
    names: list[str] = []
    for judged, job in zip(results, jobs, strict=True):
        name = job if jobs.count(job) == 1 else f"{job} · {judged.evaluation.pool}"
        number = sum(each == name or each.startswith(f"{name} (") for each in names)
        names.append(f"{name} ({number + 1})" if number else name)
    return names


def _measure_of(judged: Judged, measure: str | None) -> str:
    evaluation = judged.evaluation
    chosen = measure or evaluation.main_measure
    if chosen not in evaluation.all_shown:
        there = ", ".join(evaluation.all_shown)
        raise JobError(f"{judged.uri}: no method has the measure {chosen!r}. There is: {there}.")
    return chosen


def _method_names(sides: Sequence[_Side]) -> list[str]:
    """Return all methods once: label sets, then students, each in the order of the first that has
    them."""
    groups = [group for side in sides for group in side.evaluation.groups]
    label_sets = [group.name for group in groups if group.role != "student"]
    students = [group.name for group in groups if group.role == "student"]
    return list(dict.fromkeys([*label_sets, *students]))


def _require_students(sides: Sequence[_Side], names: Sequence[str], beside: Iterable[str]) -> None:
    students = [name for name in names if any(side.student(name) for side in sides)]
    unknown = [name for name in beside if name not in students]
    if unknown:
        raise JobError(f"No result has a student {unknown[0]!r}. There is: {', '.join(students)}.")


def _method(sides: Sequence[_Side], name: str, ranked: tuple[float, ...] | None) -> StudyMethod:
    groups = [side.group(name) for side in sides]
    roles = [group.role for group in groups if group is not None]
    figures = [
        None if group is None else figure_of(group, side.measure, side.evaluation.level)
        for side, group in zip(sides, groups, strict=True)
    ]
    return StudyMethod(name=name, role=roles[0], figures=tuple(figures), ranks=ranked)


def _scores(sides: Sequence[_Side], names: Sequence[str]) -> npt.NDArray[np.float64]:
    return np.array([[side.score(name) for name in names] for side in sides])


def _test(sides: Sequence[_Side], names: Sequence[str]) -> RankTest | None:
    if len(names) < _LEAST:
        return None
    return rank_test(_scores(sides, names), sides[0].evaluation.level)


@dataclass(frozen=True)
class _Side:
    """One data set of a study."""

    judged: Judged
    name: str
    measure: str

    @property
    def evaluation(self) -> Evaluation:
        return self.judged.evaluation

    @property
    def described(self) -> DataSet:
        evaluation = self.evaluation
        return DataSet(
            name=self.name,
            pool=evaluation.pool,
            kind=evaluation.kind,
            measure=self.measure,
            rows=evaluation.rows,
            classes=len(evaluation.classes),
            uri=self.judged.uri,
        )

    def group(self, name: str) -> Group | None:
        """A method by its name: the student, where a label set is named alike."""
        groups = [group for group in self.evaluation.groups if group.name == name]
        groups = [group for group in groups if group.mean(self.measure) is not None]
        students = [group for group in groups if group.role == "student"]
        return next(iter([*students, *groups]), None)

    def student(self, name: str) -> bool:
        """Whether a student of that name was judged here."""
        group = self.group(name)
        return group is not None and group.role == "student"

    def score(self, name: str) -> float:
        """A method's measure, higher is better."""
        group = self.group(name)
        assert group is not None
        value = group.mean(self.measure)
        assert value is not None
        return -value if self.measure in LOWER_IS_BETTER else value

    def meeting(self, first: str, second: str) -> Meeting:
        pairs = list(self._pairs(first, second))
        name = self.measure
        differences = [one.measures[name] - other.measures[name] for one, other in pairs]
        reach_rows = statistics.fmean(self._row_reach(*pair) for pair in pairs)
        spread = statistics.stdev(differences) if len(pairs) > 1 else None
        reach_seeds = seed_reach(spread, len(pairs), self.evaluation.level)
        difference = statistics.fmean(differences)
        reach = math.hypot(reach_rows, reach_seeds)
        low = difference - reach
        high = difference + reach
        better = difference < 0 if self.measure in LOWER_IS_BETTER else difference > 0
        outcome = WIN if better else LOSS
        if low <= 0 <= high:
            outcome = TIE
        return Meeting(
            first=first,
            second=second,
            data_set=self.name,
            difference=difference,
            low=low,
            high=high,
            outcome=outcome,
        )

    def _pairs(self, first: str, second: str) -> Iterator[Pair]:
        """The two methods seed by seed; where they share none, each seed with the other's first."""
        one = self.group(first)
        other = self.group(second)
        assert one is not None
        assert other is not None
        shared = sorted(one.by_seed.keys() & other.by_seed.keys())
        if shared:
            yield from ((one.by_seed[seed], other.by_seed[seed]) for seed in shared)
        elif len(one.methods) > 1:
            yield from ((method, other.first) for method in one.methods)
        else:
            yield from ((one.first, method) for method in other.methods)

    def _row_reach(self, one: MethodResult, other: MethodResult) -> float:
        """How far the difference of two methods reaches to either side by the draw of the rows."""
        pairs = self.evaluation.pairs
        level = self.evaluation.level
        keys = pairs.keys if pairs is not None else ()
        if pairs is not None and one.key in keys and other.key in keys:
            line = keys.index(one.key)
            column = keys.index(other.key)
            if self.measure == "accuracy" and self.evaluation.kind == "exclusive":
                gained = pairs.wins[line][column]
                lost = pairs.wins[column][line]
                low, high = difference_interval(gained, lost, self.evaluation.rows, level)
                return (high - low) / 2
            if self.measure == self.evaluation.main_measure and pairs.variance:
                variance = pairs.variance[line][column]
                return z_of(level) * math.sqrt(variance / max(self.evaluation.rows, 1))
        return math.hypot(*(_half(method, self.measure) for method in (one, other)))


def _half(method: MethodResult, measure: str) -> float:
    """Half of a method's interval; nothing where none is stored."""
    low, high = method.intervals.get(measure, (0.0, 0.0))
    return (high - low) / 2
