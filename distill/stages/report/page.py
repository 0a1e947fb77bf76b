"""What the page says in words and numbers. The template only places it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from distill.core.results import SHARES, Evaluation, Group
from distill.core.verdict import (
    NOTABLE,
    format_interval,
    format_measure,
    verdict_sentences,
    what_terms_add,
)
from distill.stages.report.card import Card
from distill.stages.report.estimates import CostLine, cost_lines
from distill.stages.report.groups import (
    any_seeds,
    clipped,
    ranked_students,
    select_groups,
    short_name,
    teacher_of,
)
from distill.stages.report.judging import gate_card
from distill.stages.report.measure import full_name
from distill.stages.report.table import Line, table_heads, table_lines

_KINDS = {"exclusive": "one class a row", "independent": "independent outputs", "value": "values"}
_MOST_CLASSES = 24
_FIRST_LINES = 16


@dataclass(frozen=True)
class Page:
    """The report's view of an evaluation."""

    evaluation: Evaluation

    @cached_property
    def _sentences(self) -> list[str]:
        return verdict_sentences(self.evaluation)

    @property
    def headline(self) -> str:
        """The verdict's first sentence."""
        return self._sentences[0]

    @property
    def lead(self) -> str:
        """The rest of the verdict."""
        return " ".join(self._sentences[1:])

    @property
    def additions(self) -> list[str]:
        """What each term adds, over seeds."""
        return what_terms_add(self.evaluation)

    @cached_property
    def _students(self) -> list[Group]:
        return ranked_students(self.evaluation)

    @property
    def best(self) -> Group | None:
        """The winner; None where the job trains no student."""
        return self._students[0] if self._students else None

    @property
    def cards(self) -> list[Card]:
        """Best student, teacher, size and speed, as far as they are known."""
        measure = self.evaluation.main_measure
        teacher = teacher_of(self.evaluation)
        cards = []
        for head, group in (("Best student", self.best), ("Teacher", teacher)):
            if group is not None:
                cards.append(_figure_card(f"{head}, {full_name(measure)}", measure, group))
        if self.best and teacher:
            cards += _cards_beside_teacher(self.best, teacher)
        if self.evaluation.gate is not None:
            cards.append(gate_card(self.evaluation.gate))
        return cards

    @property
    def taught(self) -> str:
        """What taught the best student, in a line."""
        terms = self.best.first.taught_by if self.best else ()
        return f"{self.best.name} was taught by {'; '.join(terms)}." if self.best and terms else ""

    @property
    def heads(self) -> list[str]:
        """Column heads of the comparison, with unit and the better direction."""
        return table_heads(self.evaluation)

    @cached_property
    def lines(self) -> list[Line]:
        """The comparison: one line a group, in the order of the job."""
        return table_lines(self.evaluation, self.best)

    @property
    def first_lines(self) -> list[Line]:
        """Those of the comparison that one looks at first."""
        keys = {group.key for group in select_groups(self.evaluation, _FIRST_LINES)}
        return [line for line in self.lines if line.group.key in keys]

    @property
    def table_note(self) -> str:
        """How to read the comparison."""
        note = ""
        if self.seeds > 1:
            note += "Mean ± standard deviation over seeds. "
        if len(self._students) > 1:
            note += "Bold: the best student of each column. "
        note += "Arrows point to better."
        if any(group.interval(self.evaluation.main_measure) for group in self.evaluation.groups):
            note += " Small: 95% intervals, of the draw of the test rows."
        shown = len(self.first_lines)
        total = len(self.lines)
        if shown < total:
            note += f" {shown} of {total} methods; all of them are below."
        return note

    @property
    def costs(self) -> list[CostLine]:
        """What was planned beside what was spent."""
        return cost_lines(self.evaluation)

    @staticmethod
    def size_of(count: int) -> str:
        """Return bytes as people read them."""
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
        """How it was judged: pairs of a head and a text."""
        evaluation = self.evaluation
        rows = f"{evaluation.rows:,} rows judged, {evaluation.left_out:,} left out"
        left_out = ("Left out are", "rows with no known target, or that a label set rejected")
        facts = [("Test pool", f"{evaluation.pool}: {rows}"), left_out, ("Output", self._output)]
        if self.unseen:
            seen = _some_of(evaluation.seen)
            facts.append(("Seen classes", seen))
            unseen = _some_of(self.unseen)
            facts.append(("Unseen classes", unseen))
        if evaluation.teacher:
            facts.append(("Agreement is with", evaluation.teacher))
        if "nll" in evaluation.shown:
            facts.append(("NLL", "mean −log p of the truth, p floored at 10⁻⁶"))
        if "calibration_error" in evaluation.shown:
            facts.append(("ECE", "expected calibration error, 15 equal bins of confidence"))
        timing = "batches of 256 on one CPU thread, the median of 15 interleaved rounds"
        return [*facts, ("ms/row", timing)]

    @property
    def _output(self) -> str:
        evaluation = self.evaluation
        kind = _KINDS[evaluation.kind]
        classes = len(evaluation.classes)
        return f"{kind}, {classes:,} in all" if classes else kind

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
        if any_seeds(self.evaluation.groups):
            notes.append(
                "± is the standard deviation over the student's seeds. Neither the draw of the"
                " test rows nor the training of the teacher is in it."
            )
        else:
            notes.append("Each method was trained with one seed, so its spread is not known.")
        notes += _sampling_note(self.evaluation, self.best)
        if len(self._students) > 1:
            notes.append(
                f"The best of {len(self._students)} students was picked on the rows it is judged"
                " on; its lead is somewhat flattered."
            )
        return notes


def _figure_card(head: str, measure: str, group: Group) -> Card:
    is_share = measure in SHARES
    unit = "%" if is_share else ""
    mean = group.mean(measure)
    value = format_measure(measure, mean)
    both = format_measure(measure, group.mean(measure), group.spread(measure))
    interval = format_interval(group, measure)
    note = short_name(group)
    if interval:
        note += f"; 95% interval {interval}{unit}"
    if value == both:
        shown = value + unit
        return Card(head, shown, note)
    rest = both.removeprefix(value)
    spread = rest.lstrip()
    return Card(head, value, note, spread + unit)


def _cards_beside_teacher(best: Group, teacher: Group) -> list[Card]:
    """Return size and speed."""
    # the first seed stands for all, as in the verdict
    cards = []
    mine = best.first
    its = teacher.first
    if mine.parameters and its.parameters:
        smaller = its.parameters / mine.parameters
        text = f"1/{smaller:,.0f}" if smaller >= NOTABLE else f"{1 / smaller:,.2g}×"
        note = f"{mine.parameters:,} of {its.parameters:,} parameters"
        card = Card("Size beside the teacher", text, note)
        cards.append(card)
    if mine.milliseconds_per_row:
        faster = its.milliseconds_per_row / mine.milliseconds_per_row
        text = f"{faster:,.0f}×" if faster >= NOTABLE else f"{faster:.2g}×"
        note = f"{mine.milliseconds_per_row:.3g} ms/row, teacher {its.milliseconds_per_row:.3g}"
        if "row_milliseconds_p99" in mine.pace:
            note += f"; one row alone within {mine.pace['row_milliseconds_p99']:.2g} ms (p99)"
        card = Card("Speed beside the teacher", text, note)
        cards.append(card)
    return cards


def _some_of(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    if not names:
        return "none"
    text = ", ".join(clipped(name, 40) for name in names[:_MOST_CLASSES])
    more = len(names) - _MOST_CLASSES
    return f"{text} and {more:,} more" if more > 0 else text


def _sampling_note(evaluation: Evaluation, best: Group | None) -> list[str]:
    """Return the 95% normal interval of the best accuracy, of exclusive classes."""
    share = best.mean("accuracy") if best else None
    # the independent outputs of one row are no independent draws
    if evaluation.kind != "exclusive" or share is None or not evaluation.rows:
        return []
    # 1.96 standard errors, in points of a hundred
    points = 196 * math.sqrt(share * (1 - share) / evaluation.rows)
    return [
        f"{evaluation.rows:,} test rows alone leave about ± {points:.1g} points (95%)"
        f" on an accuracy near {100 * share:.0f}%."
    ]
