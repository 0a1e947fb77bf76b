"""Sources of the networks that a job's students and fits take from files of the user's own."""

from __future__ import annotations

from distill.job.job import Job
from distill.models.custom_source import TRUNK, Code, custom_models
from distill.spec.models import CustomModel
from distill.spec.students import Student


def student_code(job: Job, student: Student, where: str) -> Code:
    """The sources of a student's own networks; `where` is the student's key. Raises JobError."""
    return {
        key: job.custom_source(model, f"{where}.{key}")
        for key, model in custom_models(student.model, student.heads).items()
    }


def fit_code(job: Job, name: str) -> Code:
    """The source of `fit.<name>`'s own network, if it is one. Raises JobError."""
    model = job.fit[name].model
    return (
        {TRUNK: job.custom_source(model, f"fit.{name}.{TRUNK}")}
        if isinstance(model, CustomModel)
        else {}
    )
