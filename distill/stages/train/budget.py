"""Where a training leaves because its budget is spent: between two checkpoints, all ranks of a team
at the same step."""

from __future__ import annotations

from time import monotonic

from distill.core.errors import UnlearnableError
from distill.engine.protocol import WorkerContext
from distill.plan.costs.limits import SPENT, Allowance
from distill.stages.train.team import from_rank_0


class BudgetWatch:
    """Of one worker, and what its group took before; without an allowance nothing is watched."""

    def __init__(self, allowance: Allowance | None, context: WorkerContext) -> None:
        self._allowance = allowance
        self._context = context
        self._began = monotonic() - context.paid_seconds

    def is_spent(self) -> bool:
        """Whether this training is to end here; rank 0 decides for its team."""
        if self._allowance is None:
            return False
        context = self._context
        now = monotonic()
        seconds = now - self._began
        workers = context.workers * context.teams
        spent = self._allowance.is_spent(seconds, workers, context.device)
        return from_rank_0(spent, context)

    @staticmethod
    def stop(step: int) -> UnlearnableError:
        """Return what leaves the training after so many steps."""
        return UnlearnableError(f"{SPENT}, after step {step}; it goes on from its checkpoint")
