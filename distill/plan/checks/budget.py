"""A budget of money needs prices of all that works."""

from __future__ import annotations

from collections.abc import Iterator

from distill.plan.checks.problems import Problems
from distill.plan.costs.money import WorkerKind, counted_dollars
from distill.plan.tables import JobTables
from distill.spec.base import Gpus


def check_budget(tables: JobTables) -> Problems:
    """Yield why a budget of money cannot be counted."""
    budget = tables.job.budget
    if budget is None or budget.money is None:
        return
    prices = tables.job.prices
    if prices is None:
        yield (
            f"budget.money = {budget.money:g}: the job has no [prices], so nobody knows what is"
            " spent. Give prices, or limit hours or gpu_hours."
        )
        return
    for where, kind in worker_kinds(tables):
        if counted_dollars(prices, kind) is None:
            gpus = f" and {kind.gpus:g} GPUs" if kind.gpus else ""
            yield (
                f"budget.money = {budget.money:g}: {where} wants {kind.cpus:g} CPUs{gpus} a worker,"
                " and no row of [prices] has room for it. Add the machine that it runs on."
            )


def worker_kinds(tables: JobTables) -> Iterator[tuple[str, WorkerKind]]:
    """Yield the key of each step that asks for workers, and what one of them holds at least."""
    for name, labels in tables.labels.items():
        compute = labels.compute
        yield f"labels.{name}.compute", WorkerKind(compute.cpus, _surely(compute.gpus))
    for name, student in tables.students.items():
        yield f"students.{name}.training", WorkerKind(1.0, _surely(student.training.gpus))


def _surely(gpus: Gpus) -> float:
    # "auto" may be none
    return 0.0 if gpus == "auto" else float(gpus)
