"""Fits by passes, resolved: what a zero-shot labeler is fitted on."""

from __future__ import annotations

from distill.loader.dataset import Dataset, TargetColumn
from distill.models.files import identify_model
from distill.models.record import read_record
from distill.plan.identity import fit_folder
from distill.plan.label_values import features_of
from distill.plan.steps import FitInputs, FitStep
from distill.plan.workspace import Workspace
from distill.spec.models import Eszsl


def fit_step(workspace: Workspace, name: str, model: Eszsl) -> FitStep:
    """Return the fit by passes of `fit.<name>`, or its record. Raises JobError, PoolError."""
    tables = workspace.tables
    folder = fit_folder(workspace, name)
    record = read_record(folder)
    if record is not None:
        return FitStep(name, folder.uri, record)
    pool = workspace.pool(tables.fit[name].on)
    on = pool.name
    target = tables.pool_outputs(on)
    column = TargetColumn(str(pool.spec.target), target)
    classes, descriptions = tables.descriptions(name)
    encoder = None
    if model.encoder is not None:
        where = f"fit.{name}.model.encoder"
        encoder = identify_model(tables.model_uri(model.encoder), None, where)
    table = tables.fit[name]
    seen = table.features
    features, width = features_of(workspace, seen, [pool])
    inputs = FitInputs(
        model=model,
        dataset=Dataset((pool.inventory,), features, width, {"target": column}),
        most_rows=tables.fragment_rows,
        classes=classes,
        descriptions=descriptions,
        encoder=encoder,
        seen=target.classes,
        taught_by={f"pools.{on}": pool.inventory.content},
    )
    return FitStep(name, folder.uri, None, inputs)
