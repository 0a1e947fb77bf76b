"""What a job makes itself, by programs that it names: pools, models of labelers, and models that
networks begin as."""

from __future__ import annotations

from collections.abc import Iterable

from distill.labelers.kind import ModelLabelerKind
from distill.plan.pretrained import pretrained_of_job
from distill.plan.steps import MakeModelStep, MakePoolStep
from distill.plan.tables import JobTables


def pools_to_make(tables: JobTables) -> list[MakePoolStep]:
    """Return the pools that the job makes itself."""
    return [
        MakePoolStep(name, tables.pool_uri(name), tables.root_uri, pool.made_by, tables.path)
        for name, pool in tables.pools.items()
        if pool.made_by is not None
    ]


def models_to_make(tables: JobTables, labels: Iterable[str]) -> list[MakeModelStep]:
    """Return the models of those label sets that the job makes itself."""
    members = [member for name in labels for member in tables.labels[name].members(name)]
    return [
        MakeModelStep(
            f"{where}.made_by",
            tables.model_uri(labeler.model),
            tables.root_uri,
            labeler.made_by,
            tables.path,
        )
        for where, labeler in members
        if isinstance(labeler, ModelLabelerKind) and labeler.made_by is not None
    ]


def networks_to_make(tables: JobTables) -> list[MakeModelStep]:
    """Return the models that networks begin as and the job makes itself, each place once."""
    found: dict[str, MakeModelStep] = {}
    for where, network in pretrained_of_job(tables):
        model = str(network.model)
        uri = tables.model_uri(model)
        if network.made_by is not None:
            key = f"{where}.made_by"
            step = MakeModelStep(key, uri, tables.root_uri, network.made_by, tables.path)
            found.setdefault(uri, step)
    return list(found.values())
