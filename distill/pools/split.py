"""Rows of pools that are drawn by a hash of where they lie: halves for shadow models, the share that
an audit holds out, and the rows that it tries.

Whether a row is drawn is a pure function of (seed, purpose, number of the shard, row), so that
nothing is remembered but the seed, growth of a pool moves no row, and whoever asks again gets the
same. What is drawn is stored as the files of a selection (`pools.formats.selection`): addresses and
never rows, each file under a key of its own content by conditional put, so that a killed writer is
finished by the same call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.failpoints import reach
from distill.pools.base_pool import base_pool
from distill.pools.formats.selection import ADDRESSES, SELECTED_ROW, BasePool, address_files
from distill.pools.hashing import GOLDEN, Hashes, mixed
from distill.pools.inventory import Shard
from distill.pools.open_pool import OpenPool
from distill.storage.base import Storage

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]

_WORD = (1 << 64) - 1
_REASON = "audit"


def row_hashes(shard: Shard, seed: int, purpose: int) -> Hashes:
    """Return a number that looks drawn for each row of a shard, another one for each purpose."""
    # its number, which growth does not change, and neither key nor id: a copy has others
    start = (
        (shard.number + 1) * GOLDEN**3 + (seed + 1) * GOLDEN + (purpose + 1) * GOLDEN**2
    ) & _WORD
    first = mixed(np.array([start], np.uint64))
    rows = np.arange(shard.rows, dtype=np.uint64)
    return mixed(mixed(first + rows * np.uint64(GOLDEN)))


def below(hashes: Hashes, share: float) -> Mask:
    """Return which rows are among the share of all."""
    drawn: Mask = hashes.astype(np.float64) < share * 2.0**64
    return drawn


@dataclass(frozen=True)
class RowSet:
    """Some rows of one pool: which, of each live shard."""

    pool: OpenPool
    choose: Callable[[Shard], Mask]

    def by_shard(self) -> Iterator[tuple[Shard, Rows]]:
        """Yield the row numbers of each shard that has any."""
        for shard in self.pool.inventory.shards:
            chosen = self.choose(shard)
            rows = np.flatnonzero(chosen)
            if len(rows):
                yield shard, rows

    def numbers(self) -> Rows:
        """Return their numbers among all rows of the pool, in order."""
        starts = np.cumsum(self.pool.inventory.shard_rows) - self.pool.inventory.shard_rows
        found = [starts[shard.number] + rows for shard, rows in self.by_shard()]
        return np.concatenate([np.empty(0, np.int64), *found])


def sample(pool: OpenPool, rows: int, seed: int, purpose: int) -> RowSet:
    """Return `rows` rows of a pool, or all where it has no more: those of the least hashes."""
    inventory = pool.inventory
    shards = list(inventory.shards)
    if inventory.rows <= rows:
        return RowSet(pool, lambda shard: np.ones(shard.rows, np.bool_))
    hashes = np.concatenate([row_hashes(shard, seed, purpose) for shard in shards])
    largest = np.partition(hashes, rows - 1)[rows - 1]
    return RowSet(pool, lambda shard: row_hashes(shard, seed, purpose) <= largest)


def write_split(folder: Storage, rows: RowSet, columns: Sequence[str]) -> None:
    """Write the addresses of some rows as a pool that grows as theirs does: files of each shard for
    themselves. Raises StorageError where something else lies there."""
    for shard, numbers in rows.by_shard():
        _write(folder, rows.pool, _addresses(shard, numbers), columns, shard.number)


def write_rows(folder: Storage, sets: Sequence[RowSet], columns: Sequence[str]) -> None:
    """Write the addresses of some rows as one pool, set after set, each in the order of its pool;
    `columns` may be read of them. Raises StorageError where something else lies there."""
    for number, each in enumerate(sets):
        tables = [_addresses(shard, rows) for shard, rows in each.by_shard()]
        addresses = pa.concat_tables([ADDRESSES.empty_table(), *tables])
        _write(folder, each.pool, addresses, columns, number)


def _write(
    folder: Storage, pool: OpenPool, addresses: pa.Table, columns: Sequence[str], number: int
) -> None:
    base = _base_pool(pool, columns)
    for key, content in address_files(base, addresses, number).items():
        if not folder.put_if_absent(key, content) and folder.read(key) != content:
            raise StorageError(f"{folder.url(key)} holds something else. Move it away.")
        reach("audit.after_rows")


def _addresses(shard: Shard, rows: Rows) -> pa.Table:
    count = len(rows)
    id_bytes = bytes.fromhex(shard.id)
    columns = {
        ADDRESSES.names[0]: pa.repeat(shard.key, count),
        "shard_id": pa.repeat(pa.scalar(id_bytes, pa.binary(16)), count),
        SELECTED_ROW: pa.array(rows),
        "reason": pa.repeat(_REASON, count),
        "score": pa.array(np.zeros(count)),
    }
    return pa.table(columns, schema=ADDRESSES)


def _base_pool(pool: OpenPool, columns: Sequence[str]) -> BasePool:
    """The pool that addresses are of, with those of its columns alone that may be read."""
    base = base_pool(pool)
    fields = [base.schema.field(name) for name in columns]
    schema = pa.schema(fields)
    return replace(base, schema=schema)
