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

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
_HOME = dict.fromkeys(__all__, "stages")
_HOME |= {
    "Application": "apply",
    "Finished": "whole_job",
    "apply_student": "apply",
    "labels_line": "lines",
    "plan_cascades": "costs",
    "plan_costs": "costs",
    "run_job": "whole_job",
    "selection_line": "lines",
    "trained_line": "lines",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
