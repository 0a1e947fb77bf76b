"""What every estimate of a job begins with: its tables and what is stored, what was spent, what a
trial said, and the prices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from distill.core.account import RunSpent, StepSpent
from distill.core.costs import Range
from distill.core.results import MethodResult
from distill.plan.costs.ledger import step_totals
from distill.plan.costs.money import WorkerKind, worker_dollars
from distill.plan.costs.trials import Tried
from distill.plan.workspace import Workspace


@dataclass(frozen=True)
class Setting:
    """Of one plan of costs."""

    workspace: Workspace
    runs: Sequence[RunSpent]  # what all runs of the root spent
    tried: Tried
    evaluated: Sequence[MethodResult]  # the methods as they were judged last; none before that
    pilot_fragments: int  # that are drawn of each label set
    workers: Sequence[int]  # numbers of workers to say hours for; none: those of the job

    @cached_property
    def spent(self) -> Mapping[str, StepSpent]:
        """What all runs spent, by step."""
        return step_totals(self.runs)

    @property
    def seed(self) -> int:
        """By which pilots are drawn."""
        return self.workspace.tables.job.seed

    def dollars(
        self, worker_hours: Range | None, kind: WorkerKind, more: Range | None = None
    ) -> dict[str, Range]:
        """Return what hours of one kind of workers cost on each machine that has room for one, and
        `more` dollars beside them."""
        tables = self.workspace.tables
        prices = tables.job.prices
        if prices is None or worker_hours is None:
            return {}
        found = {}
        for price in prices.instances:
            each = worker_dollars(price, kind)
            if each is not None:
                dollars = worker_hours.times(each)
                found[price.name] = dollars if more is None else dollars + more
        return found
