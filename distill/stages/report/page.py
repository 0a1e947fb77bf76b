"""What the page says in words and numbers. The template only places it."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from distill.core.results import (
    LOWER_IS_BETTER,
    SHARES,
    Evaluation,
    Group,
    shown_value,
    verdict,
    what_terms_add,
)
from distill.stages.report.groups import (
    changes_said,
    clipped,
    ranked_students,
    selected,
    short_name,
    student_name,
    teacher_of,
)
from distill.stages.report.measure import full_name

_KINDS = {"exclusive": "one class a row", "independent": "independent outputs", "value": "values"}
_CLASSES_SHOWN, _LINES_SHOWN = 24, 16


@dataclass(frozen=True)
class Card:
    """One key figure."""

    head: str
    value: str
    note: str
    spread: str = ""


@dataclass(frozen=True)
class Cell:
    """One figure of the comparison; `best` among students."""

    text: str
    best: bool


@dataclass(frozen=True)
class Line:
    """One method of the comparison."""

    group: Group
    name: str
    changes: str
    winner: bool
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Page:
    """The report's view of an evaluation."""

    evaluation: Evaluation

    @property
    def headline(self) -> str:
        """The verdict's first sentence."""
        return verdict(self.evaluation).partition(". ")[0].removesuffix(".") + "."

    @property
    def lead(self) -> str:
        """The rest of the verdict."""
        return verdict(self.evaluation).partition(". ")[2]

    @property
    def additions(self) -> list[str]:
        """What each term adds, over seeds."""
        return what_terms_add(self.evaluation)

    @cached_property
    def best(self) -> Group | None:
        """The winner; None where the job trains no student."""
        return next(iter(ranked_students(self.evaluation)), None)

    @property
    def cards(self) -> list[Card]:
        """Best student, teacher, size and speed, as far as they are known."""
        measure, teacher = self.evaluation.main_measure, teacher_of(self.evaluation)
        cards = [
            _figure(f"{head}, {full_name(measure)}", measure, group)
            for head, group in (("Best student", self.best), ("Teacher", teacher))
            if group is not None
        ]
        return cards + (_beside(self.best, teacher) if self.best and teacher else [])

    @property
    def heads(self) -> list[str]:
        """Column heads of the comparison, with unit and the better direction."""
        shown = [
            f"{full_name(name)}{' %' * (name in SHARES)}\u00a0{'↓' if name in LOWER_IS_BETTER else '↑'}"
            for name in self.evaluation.shown
        ]
        return [*shown, "parameters ↓", "ms/row ↓"]

    @property
    def first_lines(self) -> list[Line]:
        """Those of the comparison that one looks at first."""
        kept = {group.name for group in selected(self.evaluation, _LINES_SHOWN)}
        return [line for line in self.lines if line.group.name in kept]

    @cached_property
    def lines(self) -> list[Line]:
        """The comparison: one line a group, in the order of the job."""
        groups = self.evaluation.groups
        students = [number for number, group in enumerate(groups) if group.role == "student"]
        columns = [_column(groups, students, column) for column in self._columns()]
        return [
            Line(
                group,
                student_name(group),
                changes_said(group),
                group == self.best,
                [column[number] for column in columns],
            )
            for number, group in enumerate(groups)
        ]

    @property
    def table_note(self) -> str:
        """How to read the comparison."""
        shown, total = len(self.first_lines), len(self.lines)
        return (
            "Mean ± standard deviation over seeds. " * (self.seeds > 1)
            + "Bold: the best student of each column. "
            * (len(ranked_students(self.evaluation)) > 1)
            + "Arrows point to better."
            + f" {shown} of {total} methods; all of them are below." * (shown < total)
        )

    @staticmethod
    def size_of(count: int) -> str:
        """Bytes as people read them."""
        if count < 1000:
            return f"{count} B"
        power = min(int(math.log10(count) / 3), 5)
        return f"{count / 1000**power:.3g} {'kMGTP'[power - 1]}B"

    @property
    def seeds(self) -> int:
        """The most seeds that any method has."""
        return max((len(group.methods) for group in self.evaluation.groups), default=0)

    @property
    def judged(self) -> list[tuple[str, str]]:
        """How it was judged."""
        told = self.evaluation
        facts = [
            ("Test pool", f"{told.pool}: {told.rows:,} rows judged, {told.left_out:,} left out")
        ]
        facts.append(("Left out are", "rows with no known target, or that a label set rejected"))
        facts.append(
            (
                "Output",
                _KINDS[told.kind] + (f", {len(told.classes):,} in all" if told.classes else ""),
            )
        )
        if self.unseen:
            facts += [
                ("Seen classes", _listed(told.seen)),
                ("Unseen classes", _listed(self.unseen)),
            ]
        if told.teacher:
            facts.append(("Agreement is with", told.teacher))
        if "nll" in told.shown:
            facts.append(("NLL", "mean −log p of the truth, p floored at 10⁻⁶"))
        if "calibration_error" in told.shown:
            facts.append(("ECE", "expected calibration error, 15 equal bins of confidence"))
        return [
            *facts,
            ("ms/row", "batches of 256 on one CPU thread, the median of 15 interleaved rounds"),
        ]

    @property
    def unseen(self) -> list[str]:
        """Classes that the teacher cannot say."""
        return [name for name in self.evaluation.classes if name not in self.evaluation.seen]

    @property
    def notes(self) -> list[str]:
        """What the figures do not say by themselves."""
        notes = []
        if self.unseen:
            notes.append(
                "Unseen classes are those the teacher cannot name. What a student knows of them"
                " comes from its other label sets; a method that lacks a class is wrong on its"
                " rows."
            )
        notes.append(
            "± is the standard deviation over the student's seeds. Neither the draw of the test"
            " rows nor the training of the teacher is in it."
            if self.seeds > 1
            else "Each method was trained with one seed, so its spread is not known."
        )
        return [*notes, *_sampling(self.evaluation, self.best), *_chosen(self.evaluation)]

    def _columns(self) -> list[_Column]:
        measures = [_measure_column(name) for name in self.evaluation.shown]
        return [
            *measures,
            _Column(_parameters, _parameters_shown, False),
            _Column(_milliseconds, _milliseconds_shown, False),
        ]


@dataclass(frozen=True)
class _Column:
    value: Callable[[Group], float | None]
    shown: Callable[[Group], str]
    higher_is_better: bool


def _measure_column(measure: str) -> _Column:
    return _Column(
        lambda group: group.mean(measure),
        lambda group: _shown(measure, group),
        measure not in LOWER_IS_BETTER,
    )


def _column(groups: Sequence[Group], students: Sequence[int], column: _Column) -> list[Cell]:
    """Cells by group. Nobody is called best where all are alike."""
    values = [column.value(group) for group in groups]
    known = [value for number in students if (value := values[number]) is not None]
    best = (max if column.higher_is_better else min)(known) if len(set(known)) > 1 else None
    return [
        Cell(
            column.shown(group), best is not None and number in students and values[number] == best
        )
        for number, group in enumerate(groups)
    ]


def _shown(measure: str, group: Group) -> str:
    return shown_value(measure, group.mean(measure), group.spread(measure))


def _figure(head: str, measure: str, group: Group) -> Card:
    value, _, spread = _shown(measure, group).partition(" ± ")
    unit = "%" if measure in SHARES else ""
    return Card(
        head, value + unit * (not spread), short_name(group), f"± {spread}{unit}" if spread else ""
    )


def _parameters(group: Group) -> float | None:
    return group.methods[0].parameters


def _parameters_shown(group: Group) -> str:
    count = group.methods[0].parameters
    return "–" if count is None else f"{count:,}"


def _milliseconds(group: Group) -> float:
    return statistics.fmean(method.milliseconds_per_row for method in group.methods)


def _milliseconds_shown(group: Group) -> str:
    value = _milliseconds(group)
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _beside(best: Group, teacher: Group) -> list[Card]:
    """The first seed stands for all, as in the verdict."""
    cards, mine, its = [], best.methods[0], teacher.methods[0]
    if mine.parameters and its.parameters:
        ratio = its.parameters / mine.parameters
        said = f"1/{ratio:,.0f}" if ratio >= 1.5 else f"{1 / ratio:,.2g}×"
        cards.append(
            Card(
                "Size beside the teacher",
                said,
                f"{mine.parameters:,} of {its.parameters:,} parameters",
            )
        )
    if mine.milliseconds_per_row:
        faster = its.milliseconds_per_row / mine.milliseconds_per_row
        note = f"{mine.milliseconds_per_row:.3g} ms/row, teacher {its.milliseconds_per_row:.3g}"
        cards.append(
            Card(
                "Speed beside the teacher",
                f"{faster:,.0f}×" if faster >= 1.5 else f"{faster:.2g}×",
                note,
            )
        )
    return cards


def _listed(names: Sequence[str]) -> str:
    kept = ", ".join(clipped(name, 40) for name in names[:_CLASSES_SHOWN])
    return (
        kept + (f" and {len(names) - _CLASSES_SHOWN:,} more" if len(names) > _CLASSES_SHOWN else "")
        or "none"
    )


def _sampling(evaluation: Evaluation, best: Group | None) -> list[str]:
    """The 95% normal interval of a share; for independent outputs the outputs of a row are not
    independent draws."""
    share = best.mean("accuracy") if best else None
    if evaluation.kind != "exclusive" or share is None or not evaluation.rows:
        return []
    points = 196 * math.sqrt(share * (1 - share) / evaluation.rows)
    return [
        f"{evaluation.rows:,} test rows alone leave about ± {points:.1g} points (95%) on an"
        f" accuracy near {100 * share:.0f}%."
    ]


def _chosen(evaluation: Evaluation) -> list[str]:
    students = len(ranked_students(evaluation))
    told = (
        f"The best of {students} students was picked on the rows it is judged on; its lead is"
        " somewhat flattered."
    )
    return [told] if students > 1 else []
