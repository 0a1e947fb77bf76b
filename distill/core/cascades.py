"""What a cascade came to over one pool, as plain values: what `distill apply` stores, and what the
plan of costs and the report show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from distill.core.plain import Plain


@dataclass(frozen=True)
class Trial:
    """One threshold that was tried on labelled rows."""

    share: float  # of the pool's rows, those that the student would answer
    bin: int  # the border, as `Threshold.bin`
    rows: int  # labelled rows among them
    right: int
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Threshold(Plain):
    """Where the student is sure, and what labelled rows prove of it."""

    # `confidence`: the student answers where its likeliest class has at least this probability.
    # `sets`: a row's set has the classes of at least this probability.
    by: str
    threshold: float
    bin: int = 0  # the same as the number of a bin (`stages.apply.sureness`), which decides
    labelled: int  # labelled rows that it was chosen on
    answered: int  # those of them that the student answers; of sets all
    right: int  # of these, rightly; of sets, those that hold the truth
    bound: float  # the least share of right ones, at the stated confidence
    trials: Sequence[Trial] = ()


@dataclass(frozen=True, kw_only=True)
class CascadeResult(Plain):
    """A cascade over one pool, when it is known which rows the student does not answer."""

    name: str
    pool: str
    student: str
    student_labels: str  # the label set by the student
    to: str
    on: str
    at_least: float
    confidence: float
    threshold: Threshold
    rows: int  # of the pool
    unreadable: int  # rows that nobody answers, since the student could not read them
    sent: int  # rows that the student does not answer

    @property
    def share_sent(self) -> float:
        """Of the pool's rows, those that are sent on."""
        return self.sent / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class CascadeCost:
    """What a cascade takes of one worker, beside the teacher alone; None: nobody can say."""

    result: CascadeResult
    student_seconds: float | None  # for a million rows
    teacher_seconds: float | None  # for a million rows
    student_dollars: float | None = None
    teacher_dollars: float | None = None

    @property
    def share(self) -> float | None:
        """Of the teacher's cost alone: money where both have a price, else worker time."""
        student = self.student_dollars
        teacher = self.teacher_dollars
        if student is None or not teacher:
            student = self.student_seconds
            teacher = self.teacher_seconds
        if student is None or not teacher:
            return None
        ratio = student / teacher
        return ratio + self.result.share_sent

    @property
    def is_money(self) -> bool:
        """Whether `share` is of money."""
        return self.student_dollars is not None and bool(self.teacher_dollars)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain = asdict(self)
        return {**plain, "share": self.share}
