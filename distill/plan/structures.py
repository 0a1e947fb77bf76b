"""Structures, resolved: what is fitted, on which rows, through which structures below."""

from __future__ import annotations

from distill.loader.dataset import Dataset
from distill.models.record import read_record
from distill.plan.label_values import label_values
from distill.plan.steps import StructureInputs, StructureStep
from distill.plan.structure_identity import (
    below_gives,
    structure_folder,
    structure_pins,
    structure_pools,
    structure_recipe,
)
from distill.plan.workspace import Workspace


def structure_step(workspace: Workspace, name: str) -> StructureStep:
    """Return the fit of `structure.<name>`, or its record where it is done. Raises ContractError
    where what it is fitted on is missing."""
    folder = structure_folder(workspace, name)
    record = read_record(folder)
    if record is not None:
        return StructureStep(name, folder.uri, record)
    return StructureStep(name, folder.uri, None, _inputs(workspace, name))


def _inputs(workspace: Workspace, name: str) -> StructureInputs:
    tables = workspace.tables
    table = tables.structure[name]
    assert table.seed is not None  # filled in as the job was read
    dataset = structure_dataset(workspace, name)
    before = None
    width = dataset.width
    if table.structure is not None:
        gives = below_gives(workspace, name)
        before = structure_recipe(workspace, table.structure, gives)
        width = tables.structure[table.structure].model.output(gives).width
    return StructureInputs(
        model=table.model,
        seed=table.seed,
        dataset=dataset,
        before=before,
        width=width,
        most_rows=tables.fragment_rows,
        taught_by=structure_pins(workspace, name),
    )


def structure_dataset(workspace: Workspace, name: str) -> Dataset:
    """Return the rows that a structure is fitted on, as the lowest one of its chain sees them.
    Raises ContractError where they are a label set's that is not whole."""
    names = structure_pools(workspace, name)
    pools = [workspace.pool(pool) for pool in names]
    inventories = tuple(pool.inventory for pool in pools)
    label_set = workspace.tables.structure_source(name).label_set
    if label_set is not None:
        values = label_values(workspace, label_set, names)
        return Dataset(inventories, values, values.width)
    # of pools a structure names one, since two may have other features
    (pool,) = pools
    return Dataset(inventories, pool.features, pool.width)
