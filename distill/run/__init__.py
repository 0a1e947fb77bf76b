"""The chain of stages. Each does only what is unfinished, so running again is how one resumes.

Stages meet as objects in storage alone. A plan says what each has to do (`distill.plan.plan`); this
module decides their order, hands each its step and an engine, and nothing else. The functions are
what the command calls and what a program may call; `engine` is "ray" (the default), "local" (this
process alone), or an engine of your own. Importing it loads neither torch nor ray.

    whole_job   everything, in order
    stages      one stage each
    apply       a student over a whole pool
    driver      the work of all
    audit       how much can be told of the labelled rows
    costs       what is left and what it will take
    meter       what one command spends, against the job's budget
    lines       what is said of what came out

With a `part`, this process is one of several drivers that share nothing but the root
(`distill.labels.parts`). Of what is to be done once, pools, inventories, models, fits,
structures, selections and calibrations are made by the driver that comes first, while the others
wait; all label, until every fragment is committed; students, evaluation and report are part 0's,
and the others leave.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.core.lazy import lazy_names

if TYPE_CHECKING:
    from distill.run.apply import Application, apply_student
    from distill.run.costs import plan_cascades, plan_costs
    from distill.run.lines import labels_line, selection_line, trained_line
    from distill.run.stages import (
        audit_models,
        evaluate_students,
        export_students,
        fit_labelers,
        fit_structures,
        garbage,
        label_pool,
        label_pools,
        last_runs,
        prepare_inputs,
        preview_labels,
        select_pool_rows,
        status,
        train_student,
        train_students,
        verify_labels,
        write_report,
    )
    from distill.run.whole_job import Finished, run_job

__all__ = [
    "Application",
    "Finished",
    "apply_student",
    "audit_models",
    "evaluate_students",
    "export_students",
    "fit_labelers",
    "fit_structures",
    "garbage",
    "label_pool",
    "label_pools",
    "labels_line",
    "last_runs",
    "plan_cascades",
    "plan_costs",
    "prepare_inputs",
    "preview_labels",
    "run_job",
    "select_pool_rows",
    "selection_line",
    "status",
    "train_student",
    "train_students",
    "trained_line",
    "verify_labels",
    "write_report",
]

# a command imports what it calls
_HOMES = dict.fromkeys(__all__, "distill.run.stages")
_HOMES |= {
    "Application": "distill.run.apply",
    "Finished": "distill.run.whole_job",
    "apply_student": "distill.run.apply",
    "labels_line": "distill.run.lines",
    "plan_cascades": "distill.run.costs",
    "plan_costs": "distill.run.costs",
    "run_job": "distill.run.whole_job",
    "selection_line": "distill.run.lines",
    "trained_line": "distill.run.lines",
}
__getattr__ = lazy_names(__name__, _HOMES)
