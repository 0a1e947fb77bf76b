"""What cascades take beside their teachers alone, by what the runs of a root have spent on both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from distill.core.account import HOUR, Price, StepSpent, add_up
from distill.core.cascades import CascadeCost, CascadeResult
from distill.plan.cascades import stored_results
from distill.plan.costs.ledger import price_of, read_spent, step_totals
from distill.plan.workspace import Workspace

_MILLION = 1_000_000


def cascade_costs(workspace: Workspace) -> list[CascadeCost]:
    """Return what each cascade takes, over each pool it was applied to. Raises StorageError."""
    tables = workspace.tables
    names = iter(tables.cascade)
    results = list(stored_results(workspace.root, names))
    if not results:
        return []
    runs = read_spent(workspace.root)
    spent = step_totals(runs)
    prices = tables.job.prices
    price = price_of(prices)
    return [_cost(each, spent, price) for each in results]


def _cost(
    result: CascadeResult, spent: Mapping[str, StepSpent], price: Price | None
) -> CascadeCost:
    student = list(_a_million(spent.get(f"labels.{result.student_labels}"), price))
    teacher = list(_a_million(spent.get(result.to), price))
    return CascadeCost(result, student[0], teacher[0], student[1], teacher[1])


def _a_million(spent: StepSpent | None, price: Price | None) -> Iterator[float | None]:
    """Yield the worker seconds and the dollars of a million rows."""
    if spent is None or not spent.rows:
        yield None
        yield None
        return
    share = _MILLION / spent.rows
    seconds = spent.hours * HOUR
    yield seconds * share
    dollars = add_up([spent], price).dollars
    yield None if dollars is None else dollars * share
