"""distill: label once, teach many.

The stages are typed functions that a program may call as the command does; importing this package
loads neither ray nor torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.core.lazy import lazy_names

if TYPE_CHECKING:
    from distill.job.job import Job
    from distill.labels.parts import Part
    from distill.plan.load import load_job
    from distill.run import (
        evaluate_students,
        export_students,
        fit_labelers,
        fit_structures,
        label_pool,
        plan_costs,
        preview_labels,
        run_job,
        train_student,
        train_students,
        verify_labels,
        write_report,
    )

__version__ = "0.1.0"

__all__ = [
    "Job",
    "Part",
    "evaluate_students",
    "export_students",
    "fit_labelers",
    "fit_structures",
    "label_pool",
    "load_job",
    "plan_costs",
    "preview_labels",
    "run_job",
    "train_student",
    "train_students",
    "verify_labels",
    "write_report",
]

_HOMES = dict.fromkeys(__all__, "distill.run")
_HOMES |= {
    "Job": "distill.job.job",
    "Part": "distill.labels.parts",
    "load_job": "distill.plan.load",
}
__getattr__ = lazy_names(__name__, _HOMES)
