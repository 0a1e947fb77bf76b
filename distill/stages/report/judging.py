"""What the page says of the gate, of slices, of methods beside each other and of few labels of
people, in words and numbers. The template `judging.html.jinja` only places it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from distill.core.judgement import (
    FAILED,
    PASSED,
    Comparison,
    Example,
    GateResult,
    PoweredResult,
    RuleResult,
    SliceResult,
)
from distill.core.results import FIRST_MEASURES, SHARES, Evaluation, Group, MethodResult
from distill.core.verdict import format_measure
from distill.stages.report.card import Card
from distill.stages.report.pace import PaceLine, pace_heads, pace_lines
from distill.stages.report.table import Line, table_heads, table_lines

_MOST_RULES = 30
_MOST_SLICES = 12
_MOST_COMPARISONS = 20
_STATES = {PASSED: "open", FAILED: "closed"}
_SLICINGS = {"class": "class", "confidence": "the teacher's confidence", "length": "characters"}


@dataclass(frozen=True)
class SlicedLine:
    """One slice in a table."""

    value: str
    rows: int
    few: bool
    cells: Sequence[tuple[str, str]]  # figure and interval by method
    examples: Sequence[Example]


@dataclass(frozen=True)
class SlicedTable:
    """One slicing."""

    title: str
    heads: Sequence[str]
    lines: Sequence[SlicedLine]
    note: str


def gate_card(gate: GateResult) -> Card:
    """Return whether the gate is open, as a key figure."""
    total = len(gate.results)
    passed = sum(each.state == PASSED for each in gate.results)
    state = _STATES.get(gate.state, gate.state)
    confidence = f"{gate.confidence:.0%} confidence"
    return Card("Gate", state, f"{passed:,} of {total:,} rules and slices passed, at {confidence}")


@dataclass(frozen=True)
class Judging:
    """The report's view of how an evaluation judges."""

    evaluation: Evaluation
    best: Group | None

    @property
    def gate(self) -> GateResult | None:
        """The gate, where the job has one."""
        return self.evaluation.gate

    @property
    def rules(self) -> Sequence[RuleResult]:
        """The worst results of the gate."""
        return self.evaluation.gate.results[:_MOST_RULES] if self.evaluation.gate else ()

    @property
    def rules_note(self) -> str:
        """How to read the gate, and what is not shown of it."""
        gate = self.evaluation.gate
        if gate is None:
            return ""
        note = (
            f"Bounds hold at {gate.confidence:.0%} confidence on either side. Inconclusive: the rows"
            " are too few to be sure, which is no pass."
        )
        more = len(gate.results) - len(self.rules)
        return (
            f"{note} {more:,} more, none of them worse, are in evaluation.json." if more else note
        )

    @staticmethod
    def figure(rule: RuleResult, number: float | None) -> str:
        """Return a number of a rule as people read it."""
        text = format_measure(rule.measure, number)
        return f"{text}%" if rule.measure in SHARES and number is not None else text

    @property
    def _shown(self) -> list[MethodResult]:
        """The methods that slices are shown of: the best student and the teacher."""
        found = [self.best.first] if self.best else []
        found += [each for each in self.evaluation.methods if each.role == "teacher"]
        return found or list(self.evaluation.methods[:2])

    @property
    def slices(self) -> list[SlicedTable]:
        """One table a slicing, the worst slices first."""
        by_slicing = groupby(self.evaluation.slices, key=lambda each: each.slicing)
        return [self._table(slicing, list(slices)) for slicing, slices in by_slicing]

    def _table(self, slicing: str, slices: list[SliceResult]) -> SlicedTable:
        shown = slices[:_MOST_SLICES]
        # the last words tell which they are: by `columns.source` the column
        name = _SLICINGS.get(slicing, slicing)
        note = "The worst first, by the best student. Small: 95% intervals."
        if len(slices) > len(shown):
            note += f" {len(shown)} of {len(slices):,} slices; evaluation.json has the others."
        if any(each.few for each in shown):
            note += " Slices with fewer than 30 rows say little and come last."
        lines = [self._line(each) for each in shown]
        heads = [method.name for method in self._shown]
        return SlicedTable(f"By {name}", heads, lines, note)

    def _line(self, found: SliceResult) -> SlicedLine:
        measure = self.evaluation.main_measure
        is_share = measure in SHARES
        unit = "%" if is_share else ""
        cells = []
        for method in self._shown:
            value, *ends = found.measures[method.key][measure]
            interval = " to ".join(format_measure(measure, end) for end in ends)
            cells.append((format_measure(measure, value) + unit, interval))
        return SlicedLine(found.value, found.rows, found.few, cells, found.examples)

    @property
    def comparisons(self) -> list[dict[str, str]]:
        """Methods beside each other, as the cells of a table."""
        return [self._comparison(each) for each in self.evaluation.comparisons[:_MOST_COMPARISONS]]

    def _name(self, key: str) -> str:
        return next(each.name for each in self.evaluation.methods if each.key == key)

    def _comparison(self, found: Comparison) -> dict[str, str]:
        is_share = found.measure in SHARES
        unit = " points" if is_share else ""
        low = format_measure(found.measure, found.low)
        high = format_measure(found.measure, found.high)
        is_gain = found.difference > 0
        sign = "+" if is_gain else ""
        p_value = "–" if found.p_value is None else p_text(found.p_value)
        return {
            "first": self._name(found.first),
            "second": self._name(found.second),
            "difference": f"{sign}{format_measure(found.measure, found.difference)}{unit}",
            "interval": f"{low} to {high}",
            "gained": "–" if found.gained is None else f"{found.gained:,}",
            "lost": "–" if found.lost is None else f"{found.lost:,}",
            "p_value": p_value,
        }

    @property
    def powered(self) -> list[dict[str, str]]:
        """Estimates by few labels of people and many of the teacher, as cells."""
        return [self._powered(each) for each in self.evaluation.powered]

    def _powered(self, found: PoweredResult) -> dict[str, str]:
        def both(value: float, low: float, high: float) -> str:
            figures = [format_measure(found.measure, each) for each in (value, low, high)]
            return f"{figures[0]} ({figures[1]} to {figures[2]})"

        narrower = (found.high - found.low) / max(found.people_high - found.people_low, 1e-12)
        return {
            "name": self._name(found.method),
            "measure": found.measure,
            "both": both(found.value, found.low, found.high),
            "people": both(found.people_value, found.people_low, found.people_high),
            "width": f"{narrower:.2f}×",
            "rows": f"{found.people_rows:,} + {found.teacher_rows:,}",
            "strata": f"{found.strata:,}",
        }

    @property
    def _further(self) -> list[str]:
        return [name for name in self.evaluation.all_shown if name not in FIRST_MEASURES]

    @property
    def heads(self) -> list[str]:
        """Heads of the further measures."""
        return table_heads(self.evaluation, self._further)

    @property
    def lines(self) -> list[Line]:
        """The further measures, a line a group."""
        if not self._further:
            return []
        return table_lines(self.evaluation, self.best, self._further)

    @property
    def pace_heads(self) -> list[str]:
        """Heads of the table of speed and size."""
        return pace_heads()

    @property
    def pace(self) -> list[PaceLine]:
        """Speed and size, a line a group."""
        return pace_lines(self.evaluation)

    @property
    def errors(self) -> str:
        """Say how far binned measures may be off; nothing where all are exact."""
        worst: dict[str, float] = {}
        for method in self.evaluation.methods:
            for measure, error in method.errors.items():
                worst[measure] = max(error, worst.get(measure, 0.0))
        if not worst:
            return ""
        texts = [f"{measure} by at most {error:.1g}" for measure, error in worst.items()]
        listed = ", ".join(texts)
        return f"Of so many rows some scores were put together: {listed}."


def p_text(value: float) -> str:
    """Return a p-value as people read it."""
    return "below 0.0001" if value < 1e-4 else f"{value:.2g}"
