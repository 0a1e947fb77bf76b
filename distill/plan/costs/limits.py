"""The limits of `[budget]` against what was spent, and what a training may still spend."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from distill.plan.costs.ledger import Spent
from distill.plan.costs.money import HOUR, WorkerKind, counted_dollars
from distill.spec.budget import Budget
from distill.spec.prices import Prices

SPENT = "stopped where the budget is spent"  # why a training is left, as its worker says it


@dataclass(frozen=True)
class Allowance:
    """What may still be spent by one group of training workers. It travels to them."""

    hours: float = math.inf
    gpu_hours: float = math.inf
    money: float = math.inf
    gpus: float = 0.0  # of one worker, where it has one
    dollars: float = 0.0  # an hour of one worker

    def is_spent(self, seconds: float, workers: int, device: str) -> bool:
        """Whether so many workers have spent it after so many seconds."""
        hours = seconds / HOUR
        worker_hours = hours * workers
        gpus = 0.0 if device == "cpu" else self.gpus
        if hours >= self.hours or worker_hours * self.dollars >= self.money:
            return True
        return gpus > 0 and worker_hours * gpus >= self.gpu_hours


def passed_limits(budget: Budget, spent: Spent) -> Iterator[str]:
    """Yield what of a budget is spent, in words."""
    if budget.money is not None and (spent.money or 0.0) >= budget.money:
        yield f"money: ${spent.money:,.2f} of ${budget.money:,.2f}"
    if budget.hours is not None and spent.hours >= budget.hours:
        yield f"hours: {spent.hours:,.4g} of {budget.hours:,.4g}"
    if budget.gpu_hours is not None and spent.gpu_hours >= budget.gpu_hours:
        yield f"gpu_hours: {spent.gpu_hours:,.4g} of {budget.gpu_hours:,.4g}"


def allowance(budget: Budget, spent: Spent, prices: Prices | None, kind: WorkerKind) -> Allowance:
    """Return what is left of a budget for workers of one kind."""
    return Allowance(
        hours=_left(budget.hours, spent.hours),
        gpu_hours=_left(budget.gpu_hours, spent.gpu_hours),
        money=_left(budget.money, spent.money or 0.0),
        gpus=kind.gpus,
        dollars=counted_dollars(prices, kind) or 0.0,
    )


def _left(limit: float | None, spent: float) -> float:
    return math.inf if limit is None else max(0.0, limit - spent)
