"""Networks that begin as a model of the user's, with their files identified: what a student or a fit
is known by, and what its workers open."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from distill.models.custom_source import TRUNK, head_key
from distill.models.files import identify_model
from distill.models.networks.pretrained import BegunNetwork
from distill.plan.tables import JobTables
from distill.spec.networks import FitModel
from distill.spec.students import Student

Model = TypeVar("Model", bound=FitModel)


def network_with_files(tables: JobTables, model: Model, where: str) -> Model:
    """Return a network whose files are identified; `where` is its key. Others have none. Raises
    JobError where no model lies there."""
    if not isinstance(model, BegunNetwork) or model.model is None:
        return model
    uri = tables.model_uri(model.model)
    files = identify_model(uri, model.sha256, f"{where}.model")
    return model.with_files(files, where)


def student_with_files(tables: JobTables, student: Student, where: str) -> Student:
    """Return a student whose networks' files are identified, `where` its key. Raises JobError."""
    if not pretrained_networks(student):
        return student
    model = network_with_files(tables, student.model, f"{where}.{TRUNK}")
    heads = {}
    for name, head in student.heads.items():
        own = head.model
        if own is not None:
            own = network_with_files(tables, own, f"{where}.{head_key(name)}")
        heads[name] = head.model_copy(update={"model": own})
    return student.model_copy(update={"model": model, "heads": heads})


def pretrained_of_job(tables: JobTables) -> Iterator[tuple[str, BegunNetwork]]:
    """Yield such networks of a job's fits and students, sweeps resolved, with their keys."""
    for name, fit in tables.fit.items():
        if isinstance(fit.model, BegunNetwork) and fit.model.model is not None:
            yield f"fit.{name}.{TRUNK}", fit.model
    for variant in tables.job.variants:
        for key, network in pretrained_networks(variant.spec).items():
            yield f"students.{variant.student}.{key}", network


def pretrained_networks(student: Student) -> dict[str, BegunNetwork]:
    """Return those networks of a student that begin as a model of the user's, by their keys."""
    begun = begun_networks(student)
    return {key: each for key, each in begun.items() if each.model is not None}


def begun_networks(student: Student) -> dict[str, BegunNetwork]:
    """Return those networks of a student that may begin so, by key; weights may be drawn too."""
    networks = {TRUNK: student.model}
    for name, head in student.heads.items():
        if head.model is not None:
            networks[head_key(name)] = head.model
    return {key: each for key, each in networks.items() if isinstance(each, BegunNetwork)}
