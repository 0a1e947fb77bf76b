"""Which fitted structure a job means: the digest of everything that decides it, the folder named
after that digest, and the recipe that builds it again with all that it stands on."""

from __future__ import annotations

from typing import Any

from distill.core.errors import ContractError
from distill.core.schema import digest
from distill.labelers.recipe import Recipe
from distill.models.record import ModelRecord, read_record
from distill.plan.workspace import Workspace
from distill.storage.base import Storage


def structure_pools(workspace: Workspace, name: str) -> tuple[str, ...]:
    """Return the pools whose rows `structure.<name>` is fitted on: of a label set all that it
    covers, but the one that students are judged on."""
    tables = workspace.tables
    source = tables.structure_source(name)
    if source.pool is not None:
        return (source.pool,)
    # a label set has to cover the test pool for students to be judged by what they see
    judged_on = tables.evaluate.on if tables.evaluate else None
    covered = tables.labels[str(source.label_set)].over
    return tuple(pool for pool in covered if pool != judged_on)


def structure_pins(workspace: Workspace, name: str) -> dict[str, str]:
    """Return what a structure is fitted on, by digest: a pool's content, the hashes of labels, or
    the weights of the structure that it stands on. Raises ContractError where those are missing."""
    tables = workspace.tables
    table = tables.structure[name]
    if table.structure is not None:
        # by its weights: another cluster's last bits may have fitted it
        _, record = find_structure(workspace, table.structure)
        return {table.of: record.sha256}
    pools = structure_pools(workspace, name)
    if table.label_set is None:
        return {f"pools.{pool}": workspace.pool(pool).inventory.content for pool in pools}
    return {
        f"{table.of} over {pool}": workspace.label_set(table.label_set, pool).label_hash
        for pool in pools
    }


def structure_folder(workspace: Workspace, name: str) -> Storage:
    """Return where `structure.<name>` lies under the job as it is now. Raises ContractError where
    what it is fitted on is missing."""
    tables = workspace.tables
    table = tables.structure[name]
    features: dict[str, Any] | None = None
    if table.pool is not None:
        features = workspace.pool(table.pool).features.model_dump(mode="json")
    identity = [
        table.model.model_dump(mode="json"),
        [table.seed, tables.fragment_rows],
        structure_pins(workspace, name),
        features,
    ]
    return workspace.root_of(f"structure.{name}").folder("structures", name, digest(identity)[:16])


def find_structure(workspace: Workspace, name: str) -> tuple[Storage, ModelRecord]:
    """Find a fitted structure. Raises ContractError where it is not fitted."""
    folder = structure_folder(workspace, name)
    record = read_record(folder)
    if record is None:
        tables = workspace.tables
        raise ContractError(
            f"structure.{name} is not fitted yet under {tables.root_uri}."
            f" Run `distill structure {tables.path} {name}`."
        )
    return folder, record


def structure_recipe(workspace: Workspace, name: str, gives: str) -> Recipe:
    """Return how to build a fitted structure that gives so of rows as its pool or label set has
    them. Raises ContractError where one of its chain is not fitted."""
    folder, record = find_structure(workspace, name)
    structures = workspace.tables.structure
    below = structures[name].structure
    before = None
    if below is not None:
        before = structure_recipe(workspace, below, below_gives(workspace, name))
    return Recipe(form="structure", folder=folder.uri, record=record, gives=gives, before=before)


def below_gives(workspace: Workspace, name: str) -> str:
    """Return what the structure below `structure.<name>` gives it."""
    tables = workspace.tables
    table = tables.structure[name]
    below = str(table.structure)
    lower = tables.structure[below]
    return lower.model.features
