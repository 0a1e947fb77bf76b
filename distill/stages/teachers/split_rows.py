"""A labelled pool split among teachers, so that what belongs to one person teaches one of them.

The part of a row is a hash of its key column's value, or of its address where the job names none,
and of the seed. It depends on no other row: adding or removing a person changes that person's part
and no other. (Of addresses that holds where a row is replaced by another: a row that is taken out
moves those behind it.)
"""

from __future__ import annotations

import logging
import operator
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from distill.core.errors import PoolError
from distill.engine.protocol import Engine
from distill.plan.teachers import SplitStep
from distill.pools.base_pool import base_pool
from distill.pools.formats.masked import without_quotes
from distill.pools.formats.options import format_name, with_mask
from distill.pools.formats.registry import read_rows
from distill.pools.formats.selection import ADDRESSES
from distill.pools.inventory import Fragment, Inventory
from distill.pools.parts import PoolParts, write_parts
from distill.storage.open import open_storage

log = logging.getLogger(__name__)

Numbers = npt.NDArray[np.int64]
NOBODY = -1


@dataclass(frozen=True)
class _Assigned:
    """Which teacher has each row of a fragment."""

    shard: int
    start: int
    teachers: Numbers


@dataclass(frozen=True)
class _Assign:
    """What travels to the workers."""

    inventory: Inventory
    column: str | None
    seed: int
    count: int

    def __call__(self, fragment: Fragment) -> list[_Assigned]:
        rows = range(fragment.start, fragment.start + fragment.rows)
        shard = fragment.shard
        names = [f"{shard.key}\n{row}" for row in rows]
        if self.column is not None:
            files = open_storage(self.inventory.uri)
            # unmasked: only a hash's remainder is made of it
            format = with_mask(self.inventory.format, {})
            where = files.url(shard.key)
            is_private = format != self.inventory.format
            # its errors would quote what the rules hide
            with without_quotes(where, format_name(format)) if is_private else nullcontext():
                batch = read_rows(
                    files, shard.key, rows, [self.column], format=format, listed=shard.id
                )
            names = [_name(value) for value in batch.table[self.column].to_pylist()]
        teachers = [NOBODY if name == "" else self._teacher(name) for name in names]
        return [_Assigned(shard.number, fragment.start, np.array(teachers, np.int64))]

    def _teacher(self, name: str) -> int:
        number = xxhash.xxh3_64_intdigest(f"{self.seed}\n{name}".encode())
        return int(number % self.count)


def _name(value: object) -> str:
    """A value as it is hashed; nothing of a null."""
    return "" if value is None else f"={value}"


def split_rows(step: SplitStep, engine: Engine) -> PoolParts:
    """Split the rows of a pool, unless it is done. Raises PoolError where a teacher has none, or
    where the pool lacks the key column."""
    if step.done is not None:
        return step.done
    pool = step.pool
    by = step.teachers.by
    if by is not None and by not in pool.unmasked_schema.names:
        raise PoolError(
            f"fit.{step.name}.teachers.by = {by!r}: pools.{pool.name} has"
            f" {pool.unmasked_schema.names}. Name one of those."
        )
    assign = _Assign(pool.inventory, by, step.seed, step.teachers.count)
    fragments = list(pool.inventory.fragments(step.fragment_rows))
    assigned = engine.fold(
        f"split {pool.name} among teachers",
        assign,
        fragments,
        operator.add,
        unit="rows",
        size=lambda fragment: fragment.rows,
    )
    assigned.sort(key=lambda each: (each.shard, each.start))
    parts = _addresses(pool.inventory, assigned, step.teachers.count)
    empty = [number for number, part in enumerate(parts) if not len(part)]
    if empty:
        raise PoolError(
            f"fit.{step.name}.teachers.count = {step.teachers.count}: {len(empty)} of them have no"
            f" row of pools.{pool.name}. Take fewer teachers."
        )
    left_out = sum(int((each.teachers == NOBODY).sum()) for each in assigned)
    if left_out:
        log.warning("fit.%s: %d rows have no %s and teach nobody", step.name, left_out, by)
    return write_parts(open_storage(step.folder), base_pool(pool), parts, left_out)


def _addresses(inventory: Inventory, assigned: list[_Assigned], count: int) -> list[pa.Table]:
    """The addresses of each teacher's rows, sorted by shard and row."""
    found: list[list[pa.Table]] = [[] for _ in range(count)]
    for each in assigned:
        shard = inventory.shard(each.shard)
        for number in np.unique(each.teachers[each.teachers >= 0]).tolist():
            rows = np.flatnonzero(each.teachers == number) + each.start
            columns = [
                pa.array([shard.key] * len(rows)),
                pa.array([bytes.fromhex(shard.id)] * len(rows), pa.binary(16)),
                pa.array(rows, pa.int64()),
                pa.array(["teacher"] * len(rows)),
                pa.array(np.zeros(len(rows))),
            ]
            found[number].append(pa.table(columns, ADDRESSES))
    return [pa.concat_tables(tables) if tables else ADDRESSES.empty_table() for tables in found]
