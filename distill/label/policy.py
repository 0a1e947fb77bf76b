"""When labelling goes on after a failure, and when it stops: decided here, without a cluster.

One bad fragment must not lose a night's work on the others; a labeler that is simply wrong must not burn one either. So the job goes on
until the same mistake was made on `SAME_FAILURES` fragments.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum

from distill.label.task import Failure

SAME_FAILURES = 3


class Decision(Enum):
    """What to do after a failure."""

    GO_ON = "go on"
    STOP = "stop"


class FailurePolicy:
    """Counts failures by signature."""

    def __init__(self) -> None:
        self.failures: list[Failure] = []
        self._seen: Counter[str] = Counter()

    def decide(self, failure: Failure) -> Decision:
        """Take note of one more failed fragment."""
        self.failures.append(failure)
        self._seen[failure.signature] += 1
        return Decision.STOP if self._seen[failure.signature] >= SAME_FAILURES else Decision.GO_ON
