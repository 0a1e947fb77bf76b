"""A fit with `teachers`: its pool split among them, their trainings, and all of them as one model.

    fits/<name>/<digest>/parts/<file>.selection, parts.json     whose rows are which, as a selection,
    fits/<name>/<digest>/inventories/…                          and the list of its files
    fits/<name>/<digest>/teachers/<number>/…                    each teacher, trained as any fit is
    fits/<name>/<digest>/{weights, done.json}                   all of them, stacked

A part is some files of one selection (`pools.formats.selection`), so what trains on pools trains on
it. All teachers learn with the same seed: what differs is their rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa

from distill.core.errors import ContractError
from distill.loader.dataset import Dataset
from distill.models.record import ModelRecord, read_record
from distill.plan.identity import fit_folder
from distill.plan.steps import TrainStep
from distill.plan.training import TrainingPlan, plan_fit
from distill.plan.workspace import Workspace
from distill.pools.formats.selection import of_pool_at
from distill.pools.inventory import Inventory
from distill.pools.open_pool import OpenPool
from distill.pools.parts import PARTS, PoolParts, read_parts
from distill.pools.scan import take_inventory
from distill.spec.pate import Teachers
from distill.storage.base import Storage
from distill.storage.open import open_storage


@dataclass(frozen=True)
class SplitStep:
    """Split a pool's rows among teachers; `done` are the parts that there are."""

    name: str
    folder: str
    pool: OpenPool
    teachers: Teachers
    seed: int
    fragment_rows: int
    done: PoolParts | None


@dataclass(frozen=True)
class GatherStep:
    """Make one model of all teachers; `record` says that it is done."""

    name: str
    folder: str
    record: ModelRecord | None
    teachers: tuple[str, ...]  # their folders
    taught_by: Mapping[str, str]


def split_step(workspace: Workspace, name: str) -> SplitStep | None:
    """Return how the pool of `fit.<name>` is split; None of a fit of one network, or where all its
    teachers are done. Raises PoolError."""
    tables = workspace.tables
    fit = tables.fit[name]
    if fit.teachers is None:
        return None
    folder = fit_folder(workspace, name)
    if read_record(folder) is not None:
        return None
    assert fit.seed is not None  # filled in as the job was read
    rows = tables.fragment_rows
    pool = workspace.pool(fit.on)
    done = read_parts(folder)
    return SplitStep(name, folder.uri, pool, fit.teachers, fit.seed, rows, done)


def teacher_steps(workspace: Workspace, name: str) -> list[TrainStep]:
    """Return the trainings of the teachers of `fit.<name>`; none where all are gathered. Raises
    ContractError where its pool is not split."""
    whole = plan_fit(workspace, name)
    if isinstance(whole, ModelRecord):
        return []
    parts = list(_parts(workspace, name))
    return [_teacher(whole, number, part) for number, part in enumerate(parts)]


def gather_step(workspace: Workspace, name: str) -> GatherStep:
    """Return what makes one model of the teachers of `fit.<name>`."""
    tables = workspace.tables
    fit = tables.fit[name]
    assert fit.teachers is not None
    folder = fit_folder(workspace, name)
    teachers = [_teacher_uri(folder.uri, number) for number in range(fit.teachers.count)]
    pins = {f"pools.{fit.on}": workspace.pool(fit.on).inventory.content}
    return GatherStep(name, folder.uri, read_record(folder), tuple(teachers), pins)


def _teacher_uri(folder: str, number: int) -> str:
    return f"{folder}/teachers/{number:05d}"


def _teacher(whole: TrainingPlan, number: int, part: Inventory) -> TrainStep:
    """The training of one teacher: that of the whole fit, on its own rows."""
    uri = _teacher_uri(whole.folder, number)
    name = f"{whole.key} teacher {number}"
    record = read_record(open_storage(uri))
    if record is not None:
        return TrainStep(name, record, None, teacher_of=whole.key)
    (source,) = whole.sources
    own: Dataset = replace(source, inventories=(part,))
    pins = {f"{what}, part {number}": part.content for what in whole.taught_by}
    plan = replace(whole, name=name, folder=uri, sources=(own,), taught_by=pins, lease=whole.folder)
    return TrainStep(name, None, plan, teacher_of=whole.key)


def _parts(workspace: Workspace, name: str) -> Iterator[Inventory]:
    """The rows of each teacher, as a pool of their own."""
    folder = fit_folder(workspace, name)
    found = read_parts(folder)
    if found is None:
        tables = workspace.tables
        raise ContractError(
            f"fit.{name}: its pool is not split among its teachers yet. Run `distill fit"
            f" {tables.path} {name}`."
        )
    pool = workspace.pool(workspace.tables.fit[name].on)
    whole = _inventory(folder, found, pool)
    keys = whole.table["key"].to_pylist()
    number_of = {key: number for number, key in enumerate(keys)}
    for files in found.files:
        numbers = [number_of[key] for key in files]
        table = whole.table.take(pa.array(numbers))
        own = replace(whole, table=table, segments=1, segment_starts=(0,))
        yield replace(own, digest=own.content)


def _inventory(folder: Storage, parts: PoolParts, pool: OpenPool) -> Inventory:
    digest = folder.uri.rsplit("/", 1)[1]
    only = {key for files in parts.files for key in files}
    name = f"parts.{digest}"
    spec = pool.spec.model_copy(update={"format": "selection"})
    # beside the parts: who deletes the fit deletes both, and it is split anew
    inventory = take_inventory(folder, name, folder.folder(PARTS), spec=spec, only=only)
    inventory = inventory.masked(pool.spec.rules)
    return replace(inventory, format=of_pool_at(pool.inventory.uri, inventory.format))
