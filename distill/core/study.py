"""A study over data sets as plain values: methods by data sets, who beats whom, and ranks. How it is
made of evaluations stands in `distill.stages.report.compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from distill.core.plain import Plain
from distill.core.rank_test import RankTest

WIN = "win"
TIE = "tie"
LOSS = "loss"


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One evaluation of the study."""

    name: str
    pool: str  # the test pool
    kind: str  # `exclusive`, `independent` or `value`
    measure: str
    rows: int
    classes: int
    uri: str  # where the evaluation lies


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One method on one data set: the mean over its seeds."""

    value: float
    low: float | None
    # ends of the interval, of the draw of test rows and of the seeds; None where neither is known
    high: float | None
    seeds: int
    spread: float | None  # standard deviation over seeds


@dataclass(frozen=True, kw_only=True)
class StudyMethod:
    """One method of the study."""

    name: str
    # `teacher`, `labeler` or `student`; `beside`: a student that does not compete
    role: str
    figures: Sequence[Figure | None]  # by data set; None where it was not judged
    ranks: Sequence[float] | None = None  # by data set, 1 is best; None of who is not ranked


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """Two methods on one data set, seed by seed and on the same rows."""

    first: str
    second: str
    data_set: str
    difference: float  # the first's less the second's
    low: float
    high: float
    outcome: str  # of the first: `win` or `loss` where the interval leaves out 0, else `tie`


@dataclass(frozen=True, kw_only=True)
class Study(Plain):
    """All of it."""

    level: float  # of all intervals, and of the tests
    data_sets: Sequence[DataSet]
    methods: Sequence[StudyMethod]
    meetings: Sequence[Meeting]  # of each two ranked methods on each data set
    # over the ranked methods in their order; None of fewer than two, or of a single data set
    test: RankTest | None

    @property
    def ranked(self) -> list[StudyMethod]:
        """The methods that were judged on every data set, of those that compete."""
        return [method for method in self.methods if method.ranks is not None]

    @property
    def by_rank(self) -> list[StudyMethod]:
        """The ranked methods, the best first; none without a test."""
        if self.test is None:
            return []
        pairs = zip(self.test.average_ranks, self.ranked, strict=True)
        return [method for _, method in sorted(pairs, key=lambda each: each[0])]

    @property
    def listed(self) -> list[StudyMethod]:
        """All methods as they are shown: who does not compete, then students by rank."""
        ranked = self.by_rank
        return [*(method for method in self.methods if method not in ranked), *ranked]

    def tally(self, first: str, second: str) -> tuple[int, int, int]:
        """Return on how many data sets the first wins, ties and loses against the second."""
        counts = dict.fromkeys((WIN, TIE, LOSS), 0)
        for meeting in self.meetings:
            if (meeting.first, meeting.second) == (first, second):
                counts[meeting.outcome] += 1
            elif (meeting.second, meeting.first) == (first, second):
                turned = _TURNED[meeting.outcome]
                counts[turned] += 1
        return counts[WIN], counts[TIE], counts[LOSS]

    def tally_of(self, name: str) -> tuple[int, int, int]:
        """Return how often a method wins, ties and loses against all others together."""
        others = [other.name for other in self.ranked if other.name != name]
        tallies = [self.tally(name, other) for other in others]
        wins, ties, losses = (sum(column) for column in zip(*tallies, strict=True))
        return wins, ties, losses


_TURNED = {WIN: LOSS, TIE: TIE, LOSS: WIN}
