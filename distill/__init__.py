"""distill: label once, teach many.

The stages are typed functions that a program may call as the command does; importing this package
loads neither ray nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.job.job import Job
    from distill.plan.load import load_job
    from distill.run import fit_labelers, run_job
    from distill.stages.evaluate.evaluate_students import evaluate_students
    from distill.stages.label.label_pool import label_pool
    from distill.stages.report.write_report import write_report
    from distill.stages.train.train_students import train_student, train_students
    from distill.stages.verify import verify_labels

__version__ = "0.1.0"

_HOME = {
    "Job": "distill.job.job",
    "load_job": "distill.plan.load",
    "fit_labelers": "distill.run",
    "label_pool": "distill.stages.label.label_pool",
    "train_student": "distill.stages.train.train_students",
    "train_students": "distill.stages.train.train_students",
    "evaluate_students": "distill.stages.evaluate.evaluate_students",
    "write_report": "distill.stages.report.write_report",
    "verify_labels": "distill.stages.verify",
    "run_job": "distill.run",
}

__all__ = [
    "Job",
    "evaluate_students",
    "fit_labelers",
    "label_pool",
    "load_job",
    "run_job",
    "train_student",
    "train_students",
    "verify_labels",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'distill' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
