"""The result of an evaluation as plain values: one entry a method, grouped over seeds.

What is said of it in sentences stands in `core.verdict`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from distill.core.audit_results import AuditResult
from distill.core.costs import StepActual
from distill.core.intervals import LEVEL
from distill.core.judgement import (
    Comparison,
    GateResult,
    PairsResult,
    PoweredResult,
    SliceResult,
)
from distill.core.plain import Plain
from distill.core.stored_results import (
    student_and_head,
    with_infinite,
    without_infinite,
    without_intervals,
)
from distill.core.structure_results import StructureResult

EVALUATION_KEY = "evaluation.json"  # of the object that a stored evaluation is, in its folder
FORM = 2  # of what is stored of an evaluation; 1 had no intervals, slices, comparisons and gate
LOWER_IS_BETTER = frozenset({"nll", "calibration_error", "brier", "mse", "mae", "mse_to_teacher"})
# measures in the order in which they are shown, with their column heads
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
    "balanced_accuracy": "balanced",
    "f1_macro": "F1 macro",
    "f1_weighted": "F1 weighted",
    "top_3": "top 3",
    "top_5": "top 5",
    "roc_auc": "ROC AUC",
    "pr_auc": "PR AUC",
    "brier": "Brier",
    "rank_correlation": "Spearman",
    "retrieval_recall": "recall@10",
}
# those of the first comparison; all others stand in a table of their own
FIRST_MEASURES = tuple(MEASURES)[:11]
# measures that are means over rows, by the kind of an evaluation: those that slices have
ROW_MEASURES = {
    "exclusive": ("accuracy", "nll"),
    "independent": ("accuracy", "nll"),
    "value": ("mse", "mae"),
}
# measures shown as percentages
SHARES = frozenset(
    {
        "accuracy",
        "accuracy_seen",
        "accuracy_unseen",
        "harmonic_mean",
        "agreement",
        "balanced_accuracy",
        "f1_macro",
        "f1_weighted",
        "top_3",
        "top_5",
        "retrieval_recall",
    }
)
GroupKey = tuple[bool, str]  # whether a group is a student, and its name


@dataclass(frozen=True, kw_only=True)
class MethodResult(Plain):
    """One method's measures."""

    name: str
    role: str  # `teacher`, `labeler` or `student`
    group: str  # methods that differ by their seed alone share it
    student: str = ""  # the variant, `combined[terms.1.weight=0.3,seed=1]`; empty for a label set
    head: str = ""  # the student's head; empty for a label set
    taught_by: Sequence[str]
    changes: Mapping[str, Any]  # what a sweep changed, by path
    parameters: int | None
    milliseconds_per_row: float
    measures: Mapping[str, float]
    confusion: Sequence[Sequence[int]] | None  # rows by true class and chosen class
    # bins of confidence: `confidence`, `accuracy`, `rows`
    reliability: Sequence[Mapping[str, float]]
    history: Sequence[Mapping[str, Any]]  # what the training recorded of each epoch
    # what no other method of the evaluation has: `labels.NAME` or `students.VARIANT.HEAD`; empty
    # in what was stored before there were slices
    key: str = ""
    # by measure: the lower and the upper end, at the evaluation's level. The draw of the test
    # rows is in it, and not that of the training.
    intervals: Mapping[str, Sequence[float]] = field(default_factory=dict)
    # by measure: how far it may be off since a large pool's scores were put into bins
    errors: Mapping[str, float] = field(default_factory=dict)
    # `rows_per_second` in batches of `batch_rows`, and the median and 99th percentile of the
    # milliseconds that a batch and a single row take, on one CPU thread; of networks
    # `flops_per_row`, `weight_bytes`, and `batch_bytes`, the most that a batch's numbers take at
    # once
    pace: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> MethodResult:
        """Return the result of which `asdict` made `plain`."""
        if plain["role"] == "student" and "student" not in plain:
            plain = {**plain, **student_and_head(plain["name"])}
        return super().from_plain(plain)


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
class Evaluation(Plain):
    """All methods of a job on the same rows."""

    job: str
    job_text: str
    pool: str
    rows: int
    left_out: int  # rows without a known target or without labels; nobody is judged on them
    kind: str  # `exclusive`, `independent` or `value`
    classes: Sequence[str]
    seen: Sequence[str]  # classes that the teacher can say
    teacher: str | None
    methods: Sequence[MethodResult]
    label_sets: Sequence[LabelSetResult]
    versions: Mapping[str, str]
    structures: Sequence[StructureResult] = ()
    # estimates beside what was spent; nothing where no plan of costs was made
    costs: Sequence[StepActual] = ()
    form: int = 1  # `FORM`, when it was stored
    level: float = LEVEL  # of all intervals
    slices: Sequence[SliceResult] = ()  # of each slicing the worst first
    pairs: PairsResult | None = None
    # students held against each other, their teacher and a former student
    comparisons: Sequence[Comparison] = ()
    powered: Sequence[PoweredResult] = ()
    gate: GateResult | None = None
    # what can be told of the labelled rows; nothing where that was not looked for
    audit: AuditResult | None = None

    # by student: what it promises of private rows, each a `core.privacy.PrivacyStatement` as
    # JSON; nothing where none promises anything
    privacy: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = super().to_plain()
        # a job without them has the same page as before there were any
        for later in ("structures", "costs", "audit", "privacy"):
            if not plain[later]:
                del plain[later]
        if plain["pairs"] and not plain["pairs"]["variance"]:
            del plain["pairs"]["variance"]
        return without_infinite(without_intervals(plain) if self.form == 1 else plain)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Evaluation:
        """Return the evaluation of which `to_plain` made `plain`, now or in an earlier version."""
        return super().from_plain(with_infinite(dict(plain)))

    @property
    def main_measure(self) -> str:
        """What the verdict goes by."""
        is_value = self.kind == "value"
        return "mse" if is_value else "accuracy"

    @property
    def shown(self) -> list[str]:
        """First measures that any method has, in their order."""
        return [name for name in self.all_shown if name in FIRST_MEASURES]

    @property
    def all_shown(self) -> list[str]:
        """Measures that any method has, in their order."""
        measured = {name for method in self.methods for name in method.measures}
        return [name for name in MEASURES if name in measured]

    @property
    def groups(self) -> list[Group]:
        """Methods that differ by their seed alone, taken together, in the order of the job."""
        found: dict[GroupKey, list[MethodResult]] = {}
        for method in self.methods:
            found.setdefault(_group_key(method), []).append(method)
        return [Group(name, tuple(methods)) for (_, name), methods in found.items()]

    @property
    def students(self) -> list[Group]:
        """The groups that are students."""
        return [group for group in self.groups if group.role == "student"]


@dataclass(frozen=True)
class Group:
    """One or more seeds of one method."""

    name: str
    methods: Sequence[MethodResult]

    @property
    def first(self) -> MethodResult:
        """The first seed, which stands for all where they do not differ."""
        return self.methods[0]

    @property
    def role(self) -> str:
        """The methods' role."""
        return self.first.role

    @property
    def key(self) -> GroupKey:
        """What no other group of an evaluation has: a student may be named like a label set."""
        return _group_key(self.first)

    @property
    def changes(self) -> dict[str, Any]:
        """What a sweep changed beside the seed, by path."""
        changes = self.first.changes.items()
        return {path: value for path, value in changes if path != "seed"}

    @property
    def trained_otherwise(self) -> bool:
        """Whether a sweep changed more than terms and seed."""
        return not all(path.startswith("terms.") for path in self.changes)

    @property
    def by_seed(self) -> dict[int, MethodResult]:
        """The methods by the seed that a sweep gave them."""
        swept = [method for method in self.methods if "seed" in method.changes]
        return {method.changes["seed"]: method for method in swept}

    def mean(self, measure: str) -> float | None:
        """Return the mean over seeds; None where the method has no such measure."""
        values = self._values(measure)
        return statistics.fmean(values) if values else None

    def spread(self, measure: str) -> float | None:
        """Return the standard deviation over seeds (n − 1); None for a single one."""
        values = self._values(measure)
        return statistics.stdev(values) if len(values) > 1 else None

    def interval(self, measure: str) -> tuple[float, float] | None:
        """Return the interval of the mean over seeds, which are judged on the same rows: the mean of
        theirs, as if they were off together. None where one has none."""
        found = [
            method.intervals[measure] for method in self.methods if measure in method.intervals
        ]
        if not found or len(found) < len(self._values(measure)):
            return None
        lows = [low for low, _ in found]
        highs = [high for _, high in found]
        return statistics.fmean(lows), statistics.fmean(highs)

    def _values(self, measure: str) -> list[float]:
        return [method.measures[measure] for method in self.methods if measure in method.measures]


def _group_key(method: MethodResult) -> GroupKey:
    is_student = method.role == "student"
    return (is_student, method.group)


def best_first(groups: Sequence[Group], measure: str) -> list[Group]:
    """Sort groups by one measure, equals in their order; those without it come last."""

    def rank(group: Group) -> float:
        value = group.mean(measure)
        if value is None:
            return float("inf")
        return value if measure in LOWER_IS_BETTER else -value

    return sorted(groups, key=rank)
