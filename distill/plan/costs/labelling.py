"""What is left of a label set and will take, by what commits say of the fragments that are there.

Those drawn for the pilot count, which every row had the same chance to be among; where fewer of them
are committed, some others do too. State is O(fragments): no file of a pool is opened, and of the
commits only those that count are read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from distill.core.costs import NOTHING, Range, RowCost, StepCost
from distill.core.errors import DistillError
from distill.labels.commit import Commit, read_commit
from distill.labels.label_set import LabelSet
from distill.plan.costs.money import HOUR, WorkerKind, gpus_held
from distill.plan.costs.ranges import COLD_SECONDS, total_range
from distill.plan.costs.sampling import Drawn, draw_fragments
from distill.plan.costs.setting import Setting
from distill.pools.inventory import Inventory
from distill.spec.labels import Compute

_READ_THREADS = 32
_MILLION = 1_000_000
_FEW = 2
"""Fragments that are needed for a spread."""
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
        return self.inventory.rows - self.labels.entries.rows


def draw_pilot(setting: Setting, name: str) -> list[Drawn]:
    """Draw the fragments that a pilot of `labels.<name>` labels, of all pools that are listed."""
    tables = setting.workspace.tables
    pools = []
    for pool in tables.labels[name].over:
        inventory = setting.workspace.inventory(pool)
        if inventory is not None:
            pools.append((pool, inventory))
    if not pools:
        return []
    return draw_fragments(pools, tables.fragment_rows, setting.pilot_fragments, setting.seed)


def label_cost(setting: Setting, name: str) -> tuple[StepCost, RowCost | None]:
    """Return what is left of `labels.<name>` over all its pools, and what a million rows take."""
    workspace = setting.workspace
    key = f"labels.{name}"
    compute = workspace.tables.labels[name].compute
    try:
        stored = list(_stored(setting, name))
        rows = sum(map(workspace.pool_rows, workspace.tables.labels[name].over))
    except DistillError as error:
        return StepCost(step=key, rows=0, rows_left=0, note=str(error)), None
    rows_left = rows - sum(each.labels.entries.rows for each in stored)
    sample = _sample(setting, name, stored)
    known = [commit for commit in sample if commit.work.get("seconds")]
    spent = setting.spent.get(key)
    cost = StepCost(
        step=key,
        rows=rows,
        rows_left=rows_left,
        cpus=compute.cpus,
        gpus=_gpus(compute, sample),
        spent_worker_hours=spent.worker_seconds / HOUR if spent else 0.0,
        spent_bytes=float(sum(each.labels.entries.size_bytes for each in stored)),
    )
    if not rows_left:
        return _finished(cost), _row_cost(setting, cost, known)
    if not known:
        return replace(cost, note=_OLD if sample else _NOT_ASKED), None
    fragments_left = sum(each.fragments - len(each.labels.entries) for each in stored)
    measured = _Measured(setting, known, rows_left, max(1, fragments_left), compute)
    return measured.cost(cost), _row_cost(setting, cost, known)


class _Measured:
    """Ranges of what is left, by what some commits took."""

    def __init__(
        self,
        setting: Setting,
        known: Sequence[Commit],
        rows_left: int,
        fragments_left: int,
        compute: Compute,
    ) -> None:
        self.setting = setting
        self.known = known
        self.rows_left = rows_left
        self.fragments_left = fragments_left
        self.compute = compute
        self.seconds = self.left([commit.work["seconds"] for commit in known])
        starts = [commit.work.get("startup_seconds", 0.0) for commit in known]
        self.startup = max(starts)
        """The longest start of a worker."""
        slowest = max(commit.work["seconds"] for commit in known)
        self.longest = slowest
        """Seconds of a fragment, after which the last worker ends."""

    def left(self, amounts: Sequence[float]) -> Range:
        """Return what is left, where each known commit took one of `amounts`."""
        per_row = [amount / commit.rows for amount, commit in zip(amounts, self.known, strict=True)]
        return total_range(per_row, self.rows_left, self.fragments_left)

    def cost(self, cost: StepCost) -> StepCost:
        """Return the cost with all that is known."""
        most = min(self.compute.max, self.fragments_left)
        starts = Range(0.0, (self.startup + COLD_SECONDS) * most)
        worker_hours = (self.seconds + starts).times(1 / HOUR)
        memory = max(commit.work.get("memory_bytes", 0.0) for commit in self.known)
        kind = WorkerKind(cost.cpus, cost.gpus, memory)
        reads = self.left([commit.work.get("reads", 0.0) for commit in self.known])
        writes = self.left([commit.work.get("writes", 0.0) for commit in self.known])
        note = ""
        if len(self.known) < _FEW:
            note = "of one fragment, so from half to twice of it"
        return replace(
            cost,
            memory_bytes=memory,
            worker_hours=worker_hours,
            hours={str(workers): self._hours(workers) for workers in self._numbers()},
            gpu_hours=worker_hours.times(cost.gpus),
            bytes=self.left([float(commit.bytes) for commit in self.known]),
            requests=reads + writes,
            dollars=self.setting.dollars(worker_hours, kind, self._request_dollars(reads, writes)),
            note=note,
        )

    def _numbers(self) -> list[int]:
        """Numbers of workers that hours are said for."""
        return sorted(set(self.setting.workers or (self.compute.min, self.compute.max)))

    def _hours(self, workers: int) -> Range:
        at_work = min(workers, self.fragments_left)
        each = self.seconds.times(1 / at_work)
        # the others are done while the last one is still at its last fragment
        tail = self.longest if at_work > 1 else 0.0
        start = self.startup + COLD_SECONDS
        return (each + Range(0.0, start + tail)).times(1 / HOUR)

    def _request_dollars(self, reads: Range, writes: Range) -> Range | None:
        prices = self.setting.workspace.tables.job.prices
        if prices is None or prices.requests is None:
            return None
        read = reads.times(prices.requests.read / 1000)
        return read + writes.times(prices.requests.write / 1000)


def _stored(setting: Setting, name: str) -> Iterator[_Stored]:
    """What is stored of each pool that is listed."""
    workspace = setting.workspace
    for pool in workspace.tables.labels[name].over:
        inventory = workspace.inventory(pool)
        if inventory is not None:
            state = workspace.label_set_state(name, pool)
            cut = inventory.fragment_table(workspace.tables.fragment_rows)
            yield _Stored(pool, inventory, state.labels, len(cut))


def _sample(setting: Setting, name: str, stored: Sequence[_Stored]) -> list[Commit]:
    """The commits that count: of drawn fragments, and where those are few of others."""
    drawn = {each.pool: each.codes for each in draw_pilot(setting, name)}
    chosen: list[tuple[_Stored, int]] = []
    others: list[tuple[_Stored, int]] = []
    draw = np.random.default_rng(setting.seed)
    for each in stored:
        entries = each.labels.entries
        positions = entries.positions(drawn[each.pool])
        mine = positions[positions >= 0]
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
        return gpus_held(compute.gpus, devices[0])
    return 0.0 if compute.gpus == "auto" else float(compute.gpus)


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
