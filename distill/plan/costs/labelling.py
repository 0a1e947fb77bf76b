"""What is left of a label set and will take, by what commits say of the fragments that are there.

Those drawn for the pilot count, which every row had the same chance to be among; where fewer of
them are committed, some others do too. State is O(fragments): no file of a pool is opened, and of
the commits only those that count are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from distill.core.account import StepSpent
from distill.core.costs import NOTHING, RowCost, StepCost
from distill.core.errors import DistillError
from distill.labels.commit import Commit, empty_file_bytes, read_commit
from distill.labels.label_set import LabelSet
from distill.plan.costs.measured import Measured
from distill.plan.costs.money import HOUR, WorkerKind, gpus_held
from distill.plan.costs.ranges import total_range
from distill.plan.costs.sampling import Drawn, draw_fragments
from distill.plan.costs.setting import Setting
from distill.pools.inventory import Inventory
from distill.spec.labels import Compute, Structured

_READ_THREADS = 32
_MILLION = 1_000_000
_NOT_ASKED = "nothing is labelled yet: a pilot says what it takes"
_OLD = "its commits are of an older distill, which did not write down what they took"


@dataclass(frozen=True)
class _Stored:
    """One pool of a label set."""

    pool: str
    inventory: Inventory
    labels: LabelSet
    fragments: int

    @property
    def rows_left(self) -> int:
        done = self.labels.entries.rows
        return self.inventory.rows - done


def draw_pilot(setting: Setting, name: str) -> list[Drawn]:
    """Draw the fragments that a pilot of `labels.<name>` labels, of all pools that are listed."""
    workspace = setting.workspace
    tables = workspace.tables
    pools = []
    for pool in tables.labels[name].over:
        inventory = workspace.inventory(pool)
        if inventory is not None:
            pools.append((pool, inventory))
    if not pools:
        return []
    return draw_fragments(pools, tables.fragment_rows, setting.pilot_fragments, setting.seed)


def label_cost(setting: Setting, name: str) -> tuple[StepCost, RowCost | None]:
    """Return what is left of `labels.<name>` over all its pools, and what a million rows take."""
    key = f"labels.{name}"
    tables = setting.workspace.tables
    spec = tables.labels[name]
    try:
        stored = list(_stored(setting, name))
        rows = sum(map(setting.workspace.pool_rows, spec.over))
    except DistillError as error:  # as damage that a mend is for; the other steps are planned
        return StepCost(step=key, rows=0, rows_left=0, note=str(error)), None
    sample = _sample(setting, name, stored)
    known = [commit for commit in sample if commit.work.get("seconds")]
    spent = setting.spent.get(key, StepSpent())
    entries = [each.labels.entries for each in stored]
    labelled = sum(each.rows for each in entries)
    size_bytes = sum(each.size_bytes for each in entries)
    compute = spec.compute
    cost = StepCost(
        step=key,
        rows=rows,
        rows_left=rows - labelled,
        cpus=compute.cpus,
        gpus=_gpus(compute, sample),
        spent_worker_hours=spent.hours,
        spent_bytes=float(size_bytes),
    )
    if not cost.rows_left:
        return _finished(cost), _row_cost(setting, cost, known)
    if not known:
        note = _OLD if sample else _why_unasked(setting, name)
        noted = replace(cost, note=note)
        return noted, None
    fragments = sum(each.fragments for each in stored)
    # a selection that is not chosen yet has rows to label, and no fragments
    fragments_left = max(1, fragments - sum(map(len, entries)))
    contracts = [each.labels.stored.contract for each in stored if each.labels.stored]
    # small fragments at the ends of files would else seem to have long rows
    file_bytes = min((empty_file_bytes(each, known[0]) for each in contracts), default=0)
    measured = Measured(
        setting,
        known,
        compute,
        rows_left=cost.rows_left,
        fragments_left=fragments_left,
        file_bytes=file_bytes,
    )
    return measured.cost(cost), _row_cost(setting, cost, known)


def _stored(setting: Setting, name: str) -> Iterator[_Stored]:
    """What is stored of each pool that is listed."""
    workspace = setting.workspace
    for pool in workspace.tables.labels[name].over:
        inventory = workspace.inventory(pool)
        if inventory is not None:
            state = workspace.label_set_state(name, pool)
            fragment_rows = workspace.tables.fragment_rows
            cut = inventory.fragment_table(fragment_rows)
            yield _Stored(pool, inventory, state.labels, len(cut))


def _sample(setting: Setting, name: str, stored: Sequence[_Stored]) -> list[Commit]:
    """The commits that count: of drawn fragments, and where those are few of others."""
    drawn = {each.pool: each.codes for each in draw_pilot(setting, name)}
    chosen = []
    others = []
    draw = np.random.default_rng(setting.seed)
    for each in stored:
        entries = each.labels.entries
        numbers = drawn[each.pool]
        positions = entries.positions(numbers)
        is_there = positions >= 0
        mine = positions[is_there]
        chosen += [(each, int(position)) for position in mine]
        rest = np.setdiff1d(np.arange(len(entries)), mine)
        few = draw.permutation(rest)[: setting.pilot_fragments]
        others += [(each, int(position)) for position in few]
    wanted = sum(map(len, drawn.values()))
    found = [*chosen, *others][: max(wanted, len(chosen))]

    def read(where: tuple[_Stored, int]) -> Commit:
        labels = where[0].labels
        entry = labels.entries[where[1]]
        return read_commit(labels.folder, entry.fragment, entry.generation)

    with ThreadPoolExecutor(_READ_THREADS) as threads:
        return list(threads.map(read, found))


def _gpus(compute: Compute, sample: Sequence[Commit]) -> float:
    """GPUs of one worker: by what the labels were made on, where there are some."""
    devices = [commit.device for commit in sample]
    if devices:
        device = devices[0]
        return gpus_held(compute.gpus, device)
    return 0.0 if compute.gpus == "auto" else float(compute.gpus)


def _why_unasked(setting: Setting, name: str) -> str:
    """Why no commit says what a label set takes."""
    tables = setting.workspace.tables
    labels = tables.labels[name]
    unlisted = [pool for pool in labels.over if setting.workspace.inventory(pool) is None]
    if unlisted:
        first = unlisted[0]
        return f"rows of {first} are not there yet: plan again when they are"
    members = [labeler for _, labeler in labels.members(name)]
    if tables.values_of(name) or any(isinstance(each, Structured) for each in members):
        return "it stands on what is made before it: plan again when that is there"
    return _NOT_ASKED


def _finished(cost: StepCost) -> StepCost:
    return replace(cost, worker_hours=NOTHING, gpu_hours=NOTHING, bytes=NOTHING, requests=NOTHING)


def _row_cost(setting: Setting, cost: StepCost, known: Sequence[Commit]) -> RowCost | None:
    """What a million rows take of one worker."""
    if not known:
        return None
    per_row = [commit.work["seconds"] / commit.rows for commit in known]
    # the mean itself, and not the rows that are left: as of very many fragments
    seconds = total_range(per_row, _MILLION, _MILLION)
    kind = WorkerKind(cost.cpus, cost.gpus)
    dollars = setting.dollars(seconds.times(1 / HOUR), kind)
    return RowCost(cost.step, "teacher", seconds, dollars)
