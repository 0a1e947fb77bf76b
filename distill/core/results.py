"""What an evaluation says, as plain values: one line a method, grouped over seeds, sentences on who
won by what and on what each term adds."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

LOWER_IS_BETTER = frozenset({"nll", "calibration_error", "mse", "mae", "mse_to_teacher"})
MEASURES = {
    "accuracy": "all",
    "accuracy_seen": "seen",
    "accuracy_unseen": "unseen",
    "harmonic_mean": "harmonic",
    "agreement": "agreement",
    "nll": "NLL",
    "calibration_error": "ECE",
    "mse": "MSE",
    "mae": "MAE",
    "r2": "R²",
    "mse_to_teacher": "MSE to teacher",
}
"""Measures in the order in which they are shown, with their column heads."""
SHARES = frozenset({"accuracy", "accuracy_seen", "accuracy_unseen", "harmonic_mean", "agreement"})
"""Measures shown as percentages."""


@dataclass(frozen=True, kw_only=True)
class MethodResult:
    """One method's measures."""

    name: str
    role: str
    group: str
    taught_by: Sequence[str]
    changes: Mapping[str, Any]
    parameters: int | None
    milliseconds_per_row: float
    measures: Mapping[str, float]
    confusion: Sequence[Sequence[int]] | None
    reliability: Sequence[Mapping[str, float]]
    history: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class LabelSetResult:
    """One label set that the job wrote: rows = labelled + rejected."""

    name: str
    version: int
    pool: str
    rows: int
    rejected: int
    fragments: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """All methods of a job on the same rows."""

    job: str
    job_text: str
    pool: str
    rows: int
    left_out: int
    """Rows without a known target or without labels; nobody is judged on them."""
    kind: str
    """`exclusive`, `independent` or `value`."""
    classes: Sequence[str]
    seen: Sequence[str]
    teacher: str | None
    methods: Sequence[MethodResult]
    label_sets: Sequence[LabelSetResult]
    versions: Mapping[str, str]

    def to_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Evaluation:
        """The inverse of `to_plain`."""
        methods = tuple(MethodResult(**method) for method in plain["methods"])
        return cls(
            **{
                **plain,
                "methods": methods,
                "label_sets": tuple(LabelSetResult(**each) for each in plain["label_sets"]),
            }
        )

    @property
    def main_measure(self) -> str:
        """What the verdict goes by."""
        return "mse" if self.kind == "value" else "accuracy"

    @property
    def shown(self) -> list[str]:
        """Measures that any method has, in their order."""
        return [
            name for name in MEASURES if any(name in method.measures for method in self.methods)
        ]

    @property
    def groups(self) -> list[Group]:
        """Methods that differ by their seed alone, taken together, in the order of the job."""
        names = dict.fromkeys(method.group for method in self.methods)
        return [
            Group(name, tuple(method for method in self.methods if method.group == name))
            for name in names
        ]


@dataclass(frozen=True)
class Group:
    """One or more seeds of one method."""

    name: str
    methods: Sequence[MethodResult]

    @property
    def role(self) -> str:
        """The methods' role."""
        return self.methods[0].role

    @property
    def trained_otherwise(self) -> bool:
        """Whether a sweep changed more than terms and seed."""
        return any(
            path != "seed" and not path.startswith("terms.") for path in self.methods[0].changes
        )

    @property
    def by_seed(self) -> dict[int, MethodResult]:
        """The methods by the seed that a sweep gave them."""
        return {
            method.changes["seed"]: method for method in self.methods if "seed" in method.changes
        }

    def mean(self, measure: str) -> float | None:
        """Mean over seeds; None where the method has no such measure."""
        values = [method.measures[measure] for method in self.methods if measure in method.measures]
        return statistics.fmean(values) if values else None

    def spread(self, measure: str) -> float | None:
        """Standard deviation over seeds (n − 1); None for a single one."""
        values = [method.measures[measure] for method in self.methods if measure in method.measures]
        return statistics.stdev(values) if len(values) > 1 else None


def shown_value(measure: str, value: float | None, spread: float | None = None) -> str:
    """A measure as people read it: shares in percent, the rest in three figures."""
    if value is None:
        return "–"
    if measure in SHARES:
        return f"{100 * value:.1f}" + (f" ± {100 * spread:.1f}" if spread is not None else "")
    return f"{value:.3g}" + (f" ± {spread:.1g}" if spread is not None else "")


def best_first(groups: Sequence[Group], measure: str) -> list[Group]:
    """Groups by one measure, equals in their order; those without it last."""

    def rank(group: Group) -> float:
        value = group.mean(measure)
        if value is None:
            return float("inf")
        return value if measure in LOWER_IS_BETTER else -value

    return sorted(groups, key=rank)


_BY = {"accuracy": "accuracy over all rows", "mse": "mean squared error"}


def verdict(evaluation: Evaluation) -> str:
    """Which student won by what, in a sentence or two, and what it costs beside the teacher."""
    measure = evaluation.main_measure
    students = [group for group in evaluation.groups if group.role == "student"]
    others = [group for group in evaluation.groups if group.role != "student"]
    if not students:
        return (
            f"{len(others)} label sets were judged on {evaluation.rows:,} rows; no student is"
            " judged."
        )
    ranked = best_first(students, measure)
    best = ranked[0]
    rivals = [(group.name, group) for group in ranked[1:2]]
    rivals += [
        (f"the teacher {group.name}" if group.role == "teacher" else group.name, group)
        for group in others[:2]
    ]
    against = ", ".join(f"{_compared(group, measure)} for {name}" for name, group in rivals)
    said = f"{best.name} is the best student by {_BY[measure]}: {_compared(best, measure)}"
    said += f", against {against}" if against else ""
    return said + "." + _unseen(students) + _size(best, evaluation)


_LEAST_SEEDS = 3


def what_terms_add(evaluation: Evaluation) -> list[str]:
    """A sentence for each two students of which one is taught by one term more, compared seed by
    seed; none where fewer than three are shared.

    A sweep may have changed their terms and seeds alone; how the job trains each of them is not
    compared.
    """
    students = [
        group
        for group in evaluation.groups
        if group.role == "student" and not group.trained_otherwise
    ]
    terms = {group.name: Counter(group.methods[0].taught_by) for group in students}
    return [
        _added(term, without, having, evaluation.main_measure)
        for having in students
        for without in students
        if terms[without.name] < terms[having.name]
        for (term, *others) in [list((terms[having.name] - terms[without.name]).elements())]
        if not others and len(without.by_seed.keys() & having.by_seed.keys()) >= _LEAST_SEEDS
    ]


def _added(term: str, without: Group, having: Group, measure: str) -> str:
    seeds = without.by_seed.keys() & having.by_seed.keys()
    gains = [
        having.by_seed[seed].measures[measure] - without.by_seed[seed].measures[measure]
        for seed in seeds
    ]
    better = sum(gain < 0 if measure in LOWER_IS_BETTER else gain > 0 for gain in gains)
    mean, unit = statistics.fmean(gains), " points" if measure in SHARES else ""
    said = f"{'+' if mean > 0 else ''}{shown_value(measure, mean, statistics.stdev(gains))}{unit}"
    ended = "" if better in (0, len(gains)) else ": no clear difference"
    return (
        f"{term}, added to {without.name} as {having.name}: {said} of {_BY[measure]}, better in"
        f" {better} of {len(gains)} seeds{ended}."
    )


def _compared(group: Group, measure: str) -> str:
    said = shown_value(measure, group.mean(measure), group.spread(measure))
    return f"{said}%" if measure in SHARES else said


def _unseen(students: Sequence[Group]) -> str:
    judged = [group for group in students if group.mean("harmonic_mean") is not None]
    if not judged:
        return ""
    best = best_first(judged, "harmonic_mean")[0]
    return (
        f" Over seen and unseen classes together, {best.name} leads with a harmonic mean of"
        f" {_compared(best, 'harmonic_mean')} ({_compared(best, 'accuracy_seen')} seen,"
        f" {_compared(best, 'accuracy_unseen')} unseen)."
    )


def _size(best: Group, evaluation: Evaluation) -> str:
    teacher = next(
        (method for method in evaluation.methods if method.role == "teacher" and method.parameters),
        None,
    )
    mine = best.methods[0]
    if teacher is None or not mine.parameters or not teacher.parameters:
        return ""
    smaller, faster = (
        teacher.parameters / mine.parameters,
        teacher.milliseconds_per_row / mine.milliseconds_per_row,
    )
    size = (
        f"1/{smaller:.0f} of the teacher's"
        if smaller >= 1.5
        else f"{1 / smaller:.2g}× the teacher's"
    )
    pace = (
        f"answers {faster:.0f}× as fast"
        if faster >= 1.5
        else f"takes {1 / faster:.2g}× the teacher's time a row"
    )
    return f" It has {mine.parameters:,} parameters, {size}, and {pace} on one CPU thread."
