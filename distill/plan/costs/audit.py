"""What an audit will take: its shadows, and a run with canaries, are trained as the job is."""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.costs import NOTHING, Range, StepCost
from distill.plan.audit.subjects import audited_keys, dependent_keys, why_without_shadows
from distill.plan.costs.setting import Setting
from distill.plan.status import StatusLine

AUDIT = "audit"


def audit_cost(
    setting: Setting, trainings: Sequence[StepCost], status: StatusLine | None
) -> list[StepCost]:
    """Return the line of a job's audit, by those of what the job trains; none without `[audit]`."""
    tables = setting.workspace.tables
    audit = tables.audit
    if audit is None or status is None:
        return []
    spent = setting.spent.get(AUDIT)
    hours = spent.hours if spent else 0.0
    keys = [
        key for key in audited_keys(tables, audit) if not why_without_shadows(tables, audit, key)
    ]
    anew = dependent_keys(tables, audit, keys)
    runs = audit.shadows + bool(audit.canaries)
    trained = [each for each in trainings if each.step.partition("[")[0] in anew]
    rows = runs * sum(each.rows for each in trained)
    if not status.left:
        done = StepCost(
            step=AUDIT, rows=rows, rows_left=0, worker_hours=NOTHING, spent_worker_hours=hours
        )
        return [done]
    of_one = [each.expected_worker_hours for each in trained]
    whole: Range | None = None
    if None not in of_one:
        whole = sum((each for each in of_one if each), NOTHING).times(runs)
    return [
        StepCost(
            step=AUDIT,
            rows=rows,
            rows_left=rows,
            worker_hours=whole,
            spent_worker_hours=hours,
            note=f"{runs} trainings of the job on other rows; what they label comes on top",
        )
    ]
