"""The stage `select`: which rows of a pool are chosen, and what is kept of the choice.

    former selections ► one pass over the pool (`gather`) ► duplicates left out ► the method
    ► addresses and their record (`pools.chosen`)

The pass and the method are the same for any number of workers, so a choice that was killed before
its record is made again, the same.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pyarrow as pa

from distill.core.errors import PoolError
from distill.core.failpoints import reach
from distill.engine.protocol import Engine
from distill.labelers.structure.labeler import StructureLabeler
from distill.labels.lease import make_once
from distill.plan.selection_steps import SelectInputs, SelectStep
from distill.pools.base_pool import base_pool
from distill.pools.chosen import ChosenRound, chosen_addresses, read_rounds, write_round
from distill.pools.formats.selection import ADDRESSES, SELECTED_ROW, SELECTED_SHARD
from distill.pools.inventory import Inventory
from distill.stages.select.candidates import Choice, Int64
from distill.stages.select.choose import Seen, choose, is_drawn_alike, need_of
from distill.stages.select.duplicates import find_duplicates
from distill.stages.select.gather import Gather, Gathered, in_order
from distill.stages.select.readable import usable_candidates
from distill.storage.open import open_storage

log = logging.getLogger(__name__)

_MORE_DRAWN = 4  # times as many rows are drawn anew where too many of them cannot be used


@dataclass(frozen=True)
class Selected:
    """What a selection is after the stage."""

    name: str
    pool_rows: int
    rounds: tuple[ChosenRound, ...]
    now: bool  # whether the last of them was chosen in this run

    @property
    def rows(self) -> int:
        """Rows of all rounds."""
        return sum(each.rows for each in self.rounds)

    @property
    def duplicates(self) -> int:
        """Near-duplicates that the last round left out."""
        return self.rounds[-1].counts["duplicates"]


def select_rows(step: SelectStep, engine: Engine) -> Selected:
    """Choose rows, unless it is done, or wait for another driver that does. Raises PoolError where
    there are fewer than were asked for, StorageError."""
    if step.inputs is None:
        return Selected(step.name, step.pool_rows, step.rounds, now=False)
    folder = open_storage(step.folder)
    number = step.inputs.number

    def find() -> Selected | None:
        rounds = read_rounds(folder)
        if len(rounds) <= number:
            return None
        return Selected(step.name, step.pool_rows, tuple(rounds), now=False)

    return make_once(folder, f"select.{step.name}", find, lambda: _select(step, engine))


def _select(step: SelectStep, engine: Engine) -> Selected:
    assert step.inputs is not None
    inputs = step.inputs
    inventory = inputs.pool.inventory
    former = _former_rows(inputs)
    gather = _gather(inputs, former)
    gathered = _gathered(step.name, gather, inputs, engine)
    unusable = 0
    if inputs.by.is_blind and inputs.structure is None:
        gathered, unusable = _usable(step.name, gather, gathered, inputs, engine)
    chosen = engine.call(partial(_choose, inputs, gathered, _parents(gather)))
    counts = {
        "pool": inventory.rows,
        "usable": int(gathered.sizes.sum()) - unusable,
        "former": len(former),
        "duplicates": chosen.duplicates,
    }
    _require_enough(step, chosen, counts)
    reach("select.before_files")
    record = ChosenRound(
        number=inputs.number,
        asked=inputs.asked,
        method=inputs.by.model_dump(mode="json"),
        seed=inputs.seed,
        rows=inputs.rows,
        files=(),
        pins=inputs.pins,
        counts=counts,
    )
    choice = chosen.choice
    if inputs.labels is not None and inputs.labels.contract.encrypted:
        # how sure the labels are of a row would stand beside its address, in plain text
        choice = replace(choice, score=np.zeros_like(choice.score))
    addresses = _addresses(inventory, chosen.rows, choice)
    folder = open_storage(step.folder)
    stored = write_round(folder, base_pool(inputs.pool), addresses, record)
    return Selected(step.name, step.pool_rows, (*step.rounds, stored), now=True)


def _gathered(name: str, gather: Gather, inputs: SelectInputs, engine: Engine) -> Gathered:
    """The candidates, in order of their rows."""
    found = engine.fold(
        f"select {name}, rows of {inputs.pool.name}",
        gather,
        inputs.dataset.chunks(inputs.most_rows),
        gather.merge,
        unit="rows",
        size=lambda chunk: chunk.rows,
    )
    return in_order(found)


def _usable(
    name: str, gather: Gather, gathered: Gathered, inputs: SelectInputs, engine: Engine
) -> tuple[Gathered, int]:
    """The candidates that can be used, more of them drawn where they are too few; and how many were
    found that cannot."""
    while True:
        drawn = len(gathered.candidates)
        is_all = drawn == gathered.sizes.sum()
        title = f"select {name}, look at {drawn:,} rows of {inputs.pool.name}"
        usable = usable_candidates(title, inputs.dataset, inputs.most_rows, gathered, engine)
        free = np.count_nonzero(~usable.candidates.is_former)
        if is_all or free >= inputs.rows:
            return usable, drawn - len(usable.candidates)
        need = replace(gather.need, most=_MORE_DRAWN * gather.need.most)
        gather = replace(gather, need=need)
        gathered = _gathered(name, gather, inputs, engine)


@dataclass(frozen=True)
class _Chosen:
    """What the method chose."""

    choice: Choice
    rows: Int64  # numbers of the chosen rows within the pool
    duplicates: int
    candidates: int  # rows that it could choose from


def _gather(inputs: SelectInputs, former: Int64) -> Gather:
    structure = StructureLabeler(())
    if inputs.structure is not None:
        structure = StructureLabeler.load(inputs.structure)
    duplicates = inputs.without_duplicates is not None
    need = need_of(inputs.by, inputs.rows, duplicates=duplicates)
    return Gather(
        inputs.dataset,
        structure,
        inputs.has_clusters,
        is_drawn_alike(inputs.by),
        inputs.labels,
        inputs.by,
        inputs.seed,
        former,
        need,
    )


def _parents(gather: Gather) -> Int64 | None:
    """The clusters above each cluster, where the structure has two levels."""
    if not gather.has_clusters:
        return None
    structure, _ = gather.structure.chain[-1]
    parents = structure.arrays.get("parent")
    return None if parents is None else parents.astype(np.int64)


def _choose(inputs: SelectInputs, gathered: Gathered, parents: Int64 | None) -> _Chosen:
    candidates = gathered.candidates
    duplicates = 0
    if inputs.without_duplicates is not None:
        repeated = find_duplicates(candidates, inputs.without_duplicates)
        duplicates = int(repeated.sum())
        candidates = candidates.take(np.flatnonzero(~repeated))
    seen = Seen(gathered.sizes, parents)
    choice = choose(inputs.by, candidates, seen, inputs.rows, inputs.seed)
    free = int((~candidates.is_former).sum())
    return _Chosen(choice, candidates.row[choice.position], duplicates, free)


def _require_enough(step: SelectStep, chosen: _Chosen, counts: dict[str, int]) -> None:
    inputs = step.inputs
    assert inputs is not None
    if len(chosen.rows) == inputs.rows:
        return
    # each later round has `per_round` rows, or as many as the first
    key = f".rows = {inputs.rows}"
    if inputs.number:
        key = f", round {inputs.number + 1} of {inputs.rows:,} rows"
    message = (
        f"select.{step.name}{key}: only {chosen.candidates:,} can be chosen. Of"
        f" {counts['pool']:,} rows of pools.{inputs.pool.name} {counts['usable']:,} are usable,"
        f" {counts['former']:,} are in former selections and {counts['duplicates']:,} are"
        " near-duplicates"
    )
    left = counts["usable"] - counts["former"] - counts["duplicates"]
    if chosen.candidates < left:
        raise PoolError(
            f"{message}; and memory holds a sample where rows are many and wide. Choose fewer, go"
            " on with another selection `after` this one, or look through a pca of fewer"
            " components."
        )
    raise PoolError(f"{message}. Choose fewer.")


def _former_rows(inputs: SelectInputs) -> Int64:
    """Numbers of the rows that former selections have, sorted."""
    inventory = inputs.pool.inventory
    known = inventory.known
    first_rows = _first_rows(inventory)
    found = [np.empty(0, np.int64)]
    for uri in inputs.former:
        folder = open_storage(uri)
        addresses = chosen_addresses(folder, read_rounds(folder))
        keys = addresses[SELECTED_SHARD].combine_chunks().dictionary_encode()
        used = keys.dictionary.to_pylist()
        numbers = np.array([known[key][0] for key in used], np.int64)
        shard = numbers[keys.indices.to_numpy()]
        row = addresses[SELECTED_ROW].to_numpy()
        found.append(first_rows[shard] + row)
    return np.unique(np.concatenate(found))


def _first_rows(inventory: Inventory) -> Int64:
    """The number of each shard's first row within the pool."""
    first: Int64 = np.cumsum(inventory.shard_rows) - inventory.shard_rows
    return first


def _addresses(inventory: Inventory, rows: Int64, choice: Choice) -> pa.Table:
    """Addresses of rows of a pool by their numbers, sorted."""
    order = np.argsort(rows)
    ordered = rows[order]
    ends = np.cumsum(inventory.shard_rows)
    shard = np.searchsorted(ends, ordered, side="right")
    used, indices = np.unique(shard, return_inverse=True)
    listed = inventory.table.take(pa.array(used))
    keys = listed["key"].combine_chunks()
    ids = [bytes.fromhex(each) for each in listed["id"].to_pylist()]
    # each shard's key and id once, and then an index a row
    of_row = pa.array(indices)
    first_rows = _first_rows(inventory)[shard]
    reasons = [choice.reason[each] for each in order.tolist()]
    columns = [
        keys.take(of_row),
        pa.array(ids, pa.binary(16)).take(of_row),
        pa.array(ordered - first_rows),
        pa.array(reasons, pa.string()),
        pa.array(choice.score[order]),
    ]
    return pa.table(columns, ADDRESSES)
