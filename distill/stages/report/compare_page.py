"""What the page of a study says in words and numbers. The template only places it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from distill.core.results import LOWER_IS_BETTER, SHARES
from distill.core.study import DataSet, Figure, Study, StudyMethod
from distill.core.verdict import format_measure
from distill.stages.report.card import Card
from distill.stages.report.judging import p_text
from distill.stages.report.measure import full_name
from distill.stages.report.table import Cell


@dataclass(frozen=True)
class StudyLine:
    """One method in the table."""

    method: StudyMethod
    cells: Sequence[Cell]
    rank: str
    tally: str
    """Wins, ties and losses against all others."""
    is_best: bool


@dataclass(frozen=True)
class StudyPage:
    """The view of a study that its page and the terminal share."""

    study: Study

    @property
    def headline(self) -> str:
        """Who ranks best, and whether that is more than chance."""
        study = self.study
        count = len(study.data_sets)
        test = study.test
        if test is None:
            return f"{len(study.methods)} methods on {count} data sets."
        best = study.by_rank[0].name
        rank = min(test.average_ranks)
        if not self._is_beyond_chance:
            return (
                f"Over {count} data sets the ranks tell no method from another; {best} has the best,"
                f" {rank:.2f} on average."
            )
        return f"{best} ranks best over {count} data sets: {rank:.2f} on average."

    @property
    def _is_beyond_chance(self) -> bool:
        test = self.study.test
        return test is not None and test.p_value <= 1 - self.study.level

    @property
    def lead(self) -> str:
        """What the test says."""
        test = self.study.test
        if test is None:
            return "Fewer than two students were judged on every data set, so none are ranked."
        verdict = "differ by no more than chance may do"
        if self._is_beyond_chance:
            verdict = "differ by more than chance"
        methods = len(test.average_ranks)
        text = f"The ranks of {methods} methods {verdict} (Friedman’s test, p = {p_text(test.p_value)})."
        apart = self._apart_from_best
        if test.distance is None:
            text += " So few data sets cannot tell two of them apart by ranks."
        elif apart:
            text += f" By ranks the best is told apart from {_listed(apart)}."
        else:
            text += " By ranks the best is told apart from nobody."
        return text

    @property
    def _apart_from_best(self) -> list[str]:
        test = self.study.test
        assert test is not None
        ranked = self.study.ranked
        best = ranked.index(self.study.by_rank[0])
        return [each.name for number, each in enumerate(ranked) if test.told_apart(best, number)]

    @property
    def cards(self) -> list[Card]:
        """Its size and its test, as key figures."""
        study = self.study
        seeds = [figure.seeds for method in study.methods for figure in method.figures if figure]
        cards = [
            Card(
                "Data sets",
                str(len(study.data_sets)),
                _listed([each.name for each in study.data_sets]),
            ),
            Card("Methods", str(len(study.methods)), f"{len(study.ranked)} of them are ranked"),
            Card("Seeds", str(max(seeds)), "the most that a method has on a data set"),
        ]
        if study.test is not None:
            cards.append(
                Card("Friedman’s p", p_text(study.test.p_value), "that all methods are alike")
            )
            distance = study.test.distance
            shown = "none" if distance is None else f"{distance:.2f}"
            cards.append(
                Card("Critical difference", shown, "of two average ranks, all pairs at once")
            )
        return cards

    @property
    def heads(self) -> list[str]:
        """Heads of the data sets' columns, with unit and the better direction."""
        return [f"{each.name}, {head_of(each)}" for each in self.study.data_sets]

    @property
    def measures(self) -> list[str]:
        """What each data set is judged by."""
        return [head_of(each) for each in self.study.data_sets]

    @cached_property
    def lines(self) -> list[StudyLine]:
        """The table."""
        study = self.study
        best = [self._best_of(number) for number in range(len(study.data_sets))]
        return [self._line(method, best, study.by_rank) for method in study.listed]

    def _best_of(self, number: int) -> float | None:
        """The best student's value on one data set; None where fewer than two are there."""
        values = [
            figure.value
            for method in self.study.methods
            if method.role == "student" and (figure := method.figures[number]) is not None
        ]
        lower = self.study.data_sets[number].measure in LOWER_IS_BETTER
        if len(values) < 2:
            return None
        return min(values) if lower else max(values)

    def _line(
        self, method: StudyMethod, best: Sequence[float | None], ranked: Sequence[StudyMethod]
    ) -> StudyLine:
        cells = []
        for data_set, figure, top in zip(self.study.data_sets, method.figures, best, strict=True):
            is_best = method.role == "student" and figure is not None and figure.value == top
            cells.append(_cell(data_set, figure, is_best=is_best))
        rank = ""
        tally = ""
        if method.ranks is not None:
            rank = f"{sum(method.ranks) / len(method.ranks):.2f}"
            tally = "–".join(map(str, self.study.tally_of(method.name)))
        return StudyLine(method, cells, rank, tally, method in ranked[:1])

    @property
    def duels(self) -> list[tuple[str, list[str]]]:
        """Wins, ties and losses of each ranked method (line) against each other one."""
        if self.study.test is None:
            return []
        names = [method.name for method in self.study.by_rank]
        lines = []
        for first in names:
            tallies = [self.study.tally(first, second) for second in names]
            cells = ["–".join(map(str, each)) for each in tallies]
            cells[names.index(first)] = ""
            lines.append((first, cells))
        return lines

    @property
    def notes(self) -> list[str]:
        """How to read it."""
        level = f"{self.study.level:.0%}"
        return [
            f"Figures are means over seeds; small: {level} intervals, of the draw of the test rows"
            " and of the seeds together.",
            "Two methods meet on the same rows and in the same seeds of a data set. One wins where"
            f" the {level} interval of their difference leaves out 0; each such interval stands"
            " for itself.",
            "Ranks are over students that were judged on every data set; label sets, and what is"
            " marked so, stand beside them. The test is Friedman’s, and the critical difference of ranks is that of"
            " Nemenyi’s (Demšar 2006), by 20,000 drawn orders instead of tables, which hold for"
            " many data sets alone.",
            "The interval over data sets is not that of other data sets: these were not drawn from"
            " anywhere.",
        ]


def head_of(data_set: DataSet) -> str:
    """Return a measure's name with its unit and the better direction."""
    unit = " %" if data_set.measure in SHARES else ""
    arrow = "↓" if data_set.measure in LOWER_IS_BETTER else "↑"
    return f"{full_name(data_set.measure)}{unit}\u00a0{arrow}"


def _cell(data_set: DataSet, figure: Figure | None, *, is_best: bool) -> Cell:
    if figure is None:
        return Cell("–", best=False)
    interval = ""
    if figure.low is not None and figure.high is not None:
        low = format_measure(data_set.measure, figure.low)
        high = format_measure(data_set.measure, figure.high)
        interval = f"{low} to {high}"
    text = format_measure(data_set.measure, figure.value)
    return Cell(text, is_best, interval)


def _listed(names: Sequence[str], most: int = 6) -> str:
    text = ", ".join(names[:most])
    more = len(names) - most
    return f"{text} and {more} more" if more > 0 else text
