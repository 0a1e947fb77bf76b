"""distill: label once, teach many.

The stages are typed functions that a program may call as the command does; importing this package loads neither ray nor torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.evaluate import evaluate_students
    from distill.job import Job, load_job
    from distill.label import label_pool
    from distill.report import write_report
    from distill.run import fit_labelers, run_job
    from distill.train import train_student, train_students
    from distill.verify import verify_labels

__version__ = "0.1.0"

_HOME = {
    "Job": "distill.job",
    "load_job": "distill.job",
    "fit_labelers": "distill.run",
    "label_pool": "distill.label",
    "train_student": "distill.train",
    "train_students": "distill.train",
    "evaluate_students": "distill.evaluate",
    "write_report": "distill.report",
    "verify_labels": "distill.verify",
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
