"""Structures, resolved: what is fitted, on which rows, through which structures below."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from distill.core.schema import digest, unseal
from distill.core.structure_results import DriftResult, StructureResult
from distill.loader.dataset import Dataset, TargetColumn
from distill.models.record import ModelRecord, read_record
from distill.plan.label_values import label_values
from distill.plan.structure_identity import (
    below_gives,
    find_structure,
    structure_folder,
    structure_pins,
    structure_pools,
    structure_recipe,
)
from distill.plan.structure_steps import (
    DriftInputs,
    DriftStep,
    LookInputs,
    LookStep,
    StructureInputs,
    StructureStep,
)
from distill.plan.workspace import Workspace


def structure_step(workspace: Workspace, name: str) -> StructureStep:
    """Return the fit of `structure.<name>`, or its record where it is done. Raises ContractError
    where what it is fitted on is missing."""
    folder = structure_folder(workspace, name)
    record = read_record(folder)
    uri = folder.uri
    if record is not None:
        return StructureStep(name, uri, record)
    return StructureStep(name, uri, None, _inputs(workspace, name))


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
        gpus=table.compute.gpus,
    )


def structure_dataset(workspace: Workspace, name: str) -> Dataset:
    """Return the rows that a structure is fitted on, as the lowest one of its chain sees them.
    Raises ContractError where they are a label set's that is not whole."""
    pools = structure_pools(workspace, name)
    return _dataset_of(workspace, name, pools)


def _dataset_of(workspace: Workspace, name: str, names: Sequence[str]) -> Dataset:
    """Rows of those pools as the lowest structure of its chain sees them."""
    pools = [workspace.pool(pool) for pool in names]
    inventories = tuple(pool.inventory for pool in pools)
    label_set = workspace.tables.structure_source(name).label_set
    if label_set is not None:
        values = label_values(workspace, label_set, names)
        return Dataset(inventories, values, values.width)
    # of pools a structure names one, since two may have other features
    (pool,) = pools
    return Dataset(inventories, pool.seen_features, pool.width)


def look_step(workspace: Workspace, name: str) -> LookStep:
    """Return a look at `structure.<name>`, or what it showed where it is done. Raises ContractError
    where it is not fitted."""
    folder, record = find_structure(workspace, name)
    pools = structure_pools(workspace, name)
    tables = workspace.tables
    targets = [[tables.pools[pool].target, tables.pool_outputs(pool).classes] for pool in pools]
    identity = digest([record.sha256, structure_pins(workspace, name), targets])
    key = f"look-{identity[:16]}.json"
    stored = folder.read_or_none(key)
    if stored is not None:
        result = StructureResult.from_plain(unseal(stored, folder.url(key)))
        return LookStep(name, folder.uri, key, result)
    return LookStep(name, folder.uri, key, None, _look_inputs(workspace, name, record, pools))


def _look_inputs(
    workspace: Workspace, name: str, record: ModelRecord, pools: Sequence[str]
) -> LookInputs:
    tables = workspace.tables
    table = tables.structure[name]
    target = _common_target(workspace, pools)
    columns = {"target": target} if target else {}
    return LookInputs(
        of=table.of,
        pool=", ".join(pools),
        recipe=structure_recipe(workspace, name, table.model.features),
        dataset=replace(structure_dataset(workspace, name), columns=columns),
        shown=_as_pools_have_it(workspace, pools),
        classes=target.outputs.classes if target else (),
        rows=int(record.details["rows"][0]),
        left_out=int(record.details["left_out"]),
    )


def drift_steps(workspace: Workspace, name: str) -> Iterator[DriftStep]:
    """Yield how `structure.<name>` holds each pool that it watches against its own rows. Raises
    ContractError where it is not fitted."""
    tables = workspace.tables
    table = tables.structure[name]
    for pool in table.watch:
        folder, record = find_structure(workspace, name)
        opened = workspace.pool(pool)
        label_set = tables.structure_source(name).label_set
        hashes = workspace.label_set(label_set, pool).label_hash if label_set else None
        features = None if label_set else opened.features.model_dump(mode="json")
        identity = digest([record.sha256, pool, opened.inventory.content, hashes, features])
        key = f"drift-{identity[:16]}.json"
        stored = folder.read_or_none(key)
        result = None
        inputs = None
        if stored is not None:
            result = DriftResult.from_plain(unseal(stored, folder.url(key)))
        else:
            recipe = structure_recipe(workspace, name, table.model.features)
            inputs = DriftInputs(recipe, _dataset_of(workspace, name, (pool,)))
        yield DriftStep(name, pool, folder.uri, key, table.most_drift, result, inputs)


def _common_target(workspace: Workspace, pools: Sequence[str]) -> TargetColumn | None:
    """The target of classes that all the pools have, under one name; None where there is none."""
    tables = workspace.tables
    found = set()
    for pool in pools:
        outputs = tables.pool_outputs(pool)
        found.add((tables.pools[pool].target, outputs))
    name, outputs = found.pop()
    if found or name is None or not outputs.classes or not outputs.exclusive:
        return None
    return TargetColumn(name, outputs)


def _as_pools_have_it(workspace: Workspace, pools: Sequence[str]) -> Dataset:
    opened = [workspace.pool(pool) for pool in pools]
    inventories = tuple(pool.inventory for pool in opened)
    return Dataset(inventories, opened[0].features, opened[0].width)
