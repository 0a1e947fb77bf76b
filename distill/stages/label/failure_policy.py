"""When labelling goes on after a failure, and when it stops: decided here, without a cluster.

One bad fragment must not lose a night's work on the others; a labeler that is simply wrong must not
burn one either. So the job goes on until the same mistake was made on `SAME_FAILURES` fragments, or
more rows are rejected than the job allows.
"""

from __future__ import annotations

import math
from collections import Counter
from enum import Enum

from distill.stages.label.messages import Failure, FragmentResult

SAME_FAILURES = 3


class Decision(Enum):
    """What to do after a fragment."""

    GO_ON = "go on"
    STOP = "stop"


class FailurePolicy:
    """Counts failures by signature, and rejected rows against the job's budget."""

    def __init__(self, most_rejected: float = math.inf, rejected_before: int = 0) -> None:
        self.failures: list[Failure] = []
        self.rejected = rejected_before
        self._most_rejected = most_rejected
        self._failures_by_signature: Counter[str] = Counter()

    def decide(self, result: FragmentResult) -> Decision:
        """Count one more fragment, and decide whether to go on."""
        if result.commit is not None:
            self.rejected += result.commit.rejected
        if result.failure is not None:
            self.failures.append(result.failure)
            signature = result.failure.signature
            self._failures_by_signature[signature] += 1
        if self.stopped_by_failures or self.stopped_by_rejects:
            return Decision.STOP
        return Decision.GO_ON

    @property
    def stopped_by_failures(self) -> bool:
        """Whether one mistake was made often enough to be the labeler's and not the rows'."""
        counts = self._failures_by_signature.values()
        most = max(counts, default=0)
        return most >= SAME_FAILURES

    @property
    def stopped_by_rejects(self) -> bool:
        """Whether more rows are rejected than the job allows."""
        return self.rejected > self._most_rejected
