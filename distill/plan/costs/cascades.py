"""What cascades take beside their teachers alone, by what the runs of a root have spent on both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from distill.core.cascades import CascadeCost, CascadeResult
from distill.plan.cascades import stored_results
from distill.plan.costs.ledger import StepSpent, read_spent, step_totals
from distill.plan.costs.money import HOUR, WorkerKind, counted_dollars
from distill.plan.workspace import Workspace
from distill.spec.prices import Prices

_MILLION = 1_000_000


def cascade_costs(workspace: Workspace) -> list[CascadeCost]:
    """Return what each cascade of a job takes, over each pool that it was applied to. Raises
    StorageError."""
    names = iter(workspace.tables.cascade)
    results = list(stored_results(workspace.root, names))
    if not results:
        return []
    spent = step_totals(read_spent(workspace.root))
    prices = workspace.tables.job.prices
    return [_cost(each, spent, prices) for each in results]


def _cost(
    result: CascadeResult, spent: Mapping[str, StepSpent], prices: Prices | None
) -> CascadeCost:
    student = list(_a_million(spent.get(f"labels.{result.student_labels}"), prices))
    teacher = list(_a_million(spent.get(result.to), prices))
    return CascadeCost(result, student[0], teacher[0], student[1], teacher[1])


def _a_million(spent: StepSpent | None, prices: Prices | None) -> Iterator[float | None]:
    """Yield the worker seconds and the dollars of a million rows."""
    if spent is None or not spent.rows:
        yield None
        yield None
        return
    seconds = spent.worker_seconds / spent.rows * _MILLION
    yield seconds
    hourly = counted_dollars(prices, WorkerKind(spent.cpus, spent.gpus))
    yield None if hourly is None else hourly * seconds / HOUR
