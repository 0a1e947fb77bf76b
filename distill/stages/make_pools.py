"""Pools that a job makes itself: a function of the user's yields one Arrow table a shard.

`_making.json` is written first and claims the folder, so that files of somebody else's are never
written over; `_made.json` is written last, so a making that was cut off begins again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import pyarrow as pa

from distill.core.errors import JobError
from distill.core.schema import seal
from distill.plan.steps import MakePoolStep
from distill.pools.claim import claim_folder, delete_stale, maker
from distill.pools.inventory import read_inventory
from distill.pools.listing import MADE_MARKER, MAKING_MARKER
from distill.storage.base import Storage
from distill.storage.open import open_storage

log = logging.getLogger(__name__)


def make_pool(step: MakePoolStep) -> bool:
    """Make the pool where it is not made yet; return whether it was made now. Raises JobError."""
    files = open_storage(step.uri)
    if files.read_or_none(MADE_MARKER) is not None:
        return False
    listed = read_inventory(open_storage(step.root), step.name, files.uri) is not None
    if listed and files.read_or_none(MAKING_MARKER) is None:
        return False  # files that nobody made so, and that labels are addressed by
    where = f"{step.job_file}: pools.{step.name}.made_by"
    claim_folder(files, where, step.made_by)
    tables = maker(step.job_file.parent, step.made_by, where)()
    if not isinstance(tables, Iterable):
        tables = ()
    rows = [_write_shard(files, number, table) for number, table in enumerate(tables)]
    total = sum(rows)
    if not total:
        message = f"{where} = {step.made_by!r}: yielded no rows. Yield one Arrow table a shard."
        raise JobError(message)
    delete_stale(files, {_shard_key(number) for number in range(len(rows))})
    files.put(MADE_MARKER, seal({"made_by": step.made_by, "shards": len(rows), "rows": total}))
    log.info("pools.%s: made %d rows in %d shards under %s", step.name, total, len(rows), files.uri)
    return True


def _write_shard(files: Storage, number: int, table: pa.Table) -> int:
    sink = pa.BufferOutputStream()
    import pyarrow.parquet as pq

    pq.write_table(table, sink, compression="zstd")
    written = sink.getvalue()
    content = bytes(written)
    key = _shard_key(number)
    # two runs may make the pool at once: a file that is there already must not change, or labels of
    # it would be refused
    if not files.create(key, content) and files.read(key) != content:
        files.put(key, content)
    return len(table)


def _shard_key(number: int) -> str:
    return f"part-{number:05d}.parquet"
