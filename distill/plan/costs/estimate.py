"""What is left of a job and will take, step by step, from what is stored alone: nothing is
labelled, trained or read here, and the work is O(fragments).

Fits by passes, structures, selections and the evaluation have no trial: their rows are said, and
their hours where one of them has run before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

from distill.core.costs import NOTHING, CostPlan, Range, RowCost, StepCost
from distill.core.errors import DistillError
from distill.plan.costs.audit import AUDIT, audit_cost
from distill.plan.costs.labelling import label_cost
from distill.plan.costs.money import HOUR, WorkerKind
from distill.plan.costs.setting import Setting
from distill.plan.costs.training import student_rows, training_costs
from distill.plan.status import StatusLine, job_status
from distill.plan.structure_identity import structure_pools
from distill.spec.models import Eszsl

_NO_TRIAL = "passes over these rows; no trial tells their hours"


def estimate_costs(setting: Setting, pilot: int) -> CostPlan:
    """Return what is left and will take; `pilot` fragments were labelled for it now."""
    trainings = {cost.step: cost for cost in training_costs(setting)}
    steps: list[StepCost] = []
    rows: list[RowCost] = []
    status = {line.name: line for line in job_status(setting.workspace)}
    tables = setting.workspace.tables
    for name, fit in tables.fit.items():
        key = f"fit.{name}"
        if isinstance(fit.model, Eszsl):
            steps.append(_passes(setting, key, (fit.on,), status[key]))
        else:
            training = trainings.pop(key)
            steps.append(training)
    for name in tables.structure:
        key = f"structure.{name}"
        steps.append(_passes(setting, key, structure_pools(setting.workspace, name), status[key]))
    for name, select in tables.select.items():
        key = f"select.{name}"
        steps.append(_passes(setting, key, (select.pool,), status[key]))
    for name in tables.labels:
        cost, row_cost = label_cost(setting, name)
        steps.append(cost)
        rows += [] if row_cost is None else [row_cost]
    steps += trainings.values()
    steps += audit_cost(setting, steps, status.get(AUDIT))
    steps += _evaluation(setting)
    rows += student_rows(setting)
    prices = tables.job.prices
    return CostPlan(
        job=tables.job.name,
        planned=time.time(),
        prices_on="" if prices is None else str(prices.on),
        pilot=pilot,
        steps=tuple(steps),
        a_million_rows=tuple(rows),
    )


def _passes(setting: Setting, key: str, pools: tuple[str, ...], status: StatusLine) -> StepCost:
    """A step that goes over the rows of pools without training."""
    try:
        rows = sum(map(setting.workspace.pool_rows, pools))
    except DistillError as error:
        return StepCost(step=key, rows=0, rows_left=0, note=str(error))
    spent = setting.spent.get(key)
    hours = spent.hours if spent else 0.0
    if not status.left:
        return StepCost(
            step=key, rows=rows, rows_left=0, worker_hours=NOTHING, spent_worker_hours=hours
        )
    return StepCost(step=key, rows=rows, rows_left=rows, note=_NO_TRIAL, spent_worker_hours=hours)


def _evaluation(setting: Setting) -> Iterator[StepCost]:
    """The evaluation: each method's time over the test rows, and reading them."""
    workspace = setting.workspace
    evaluate = workspace.tables.evaluate
    if evaluate is None:
        return
    try:
        rows = workspace.pool_rows(evaluate.on)
    except DistillError as error:
        yield StepCost(step="evaluate", rows=0, rows_left=0, note=str(error))
        return
    if setting.evaluated:
        yield StepCost(step="evaluate", rows=rows, rows_left=0, worker_hours=NOTHING)
        return
    answers = [Range(min(each), max(each)) for each in setting.tried.rows.values()]
    if len(answers) < len(workspace.tables.job.variants) or not answers:
        yield StepCost(step="evaluate", rows=rows, rows_left=rows, note=_NO_TRIAL)
        return
    least = sum((each for each in answers), NOTHING).times(rows / HOUR)
    hours = Range(least.low, None)
    yield StepCost(
        step="evaluate",
        rows=rows,
        rows_left=rows,
        worker_hours=hours,
        hours={"1": hours},
        dollars=setting.dollars(hours, WorkerKind()),
        note="at the least: what the students' answers take",
    )
