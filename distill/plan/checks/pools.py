"""What `[pools.NAME]` says of the rest of a job: of the root, and of the other pools."""

from __future__ import annotations

import os

from distill.plan.checks.files import check_maker
from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.pools.formats.selection import SelectionShard
from distill.spec.uris import is_remote


def check_pools(tables: JobTables) -> Problems:
    """Yield all problems of pools that the job file shows."""
    for name in tables.pools:
        if tables.pools[name].format == SelectionShard.name:
            continue  # all that it says is said of the pool that it is of
        yield from _columns(tables, name)
        yield from _root(tables, name)
        yield from _classes(tables, name)
        yield from _maker(tables, name)
        yield from _shared_files(tables, name)


def _columns(tables: JobTables, name: str) -> Problems:
    pool = tables.pools[name]
    if pool.features is None:
        yield (
            f"pools.{name}.features: missing, and the job's pools do not share one."
            " Say what a model sees of a row."
        )
    # values may be: a network that is to reproduce what it sees
    elif pool.classes and pool.outputs == "exclusive" and pool.target in pool.features.columns:
        yield (
            f"pools.{name}.target = {pool.target!r}: is among its features, so a model would see what"
            " it is to find out. Take it out of one of the two."
        )
    # a pool alone is checked in its table; these features may come from another one
    used = set(pool.dropped).intersection(pool.read_columns)
    if used:
        private = f"pools.{name}.private = {list(pool.private)}"
        yield (
            f"{private}: private columns {sorted(used)} are used as features."
            " Take them out of one of the two."
        )


def _root(tables: JobTables, name: str) -> Problems:
    uri = tables.pool_uri(name)
    if _lies_in(_real(tables.root_uri), _real(uri)):
        root = f"root = {tables.root_uri!r}"
        yield (
            f"{root}: lies in pools.{name} ({uri!r}), whose files it would join. Keep it elsewhere."
        )


def _classes(tables: JobTables, name: str) -> Problems:
    outputs = tables.pool_outputs(name)
    if outputs.says_nothing:
        yield (
            f"pools.{name}.classes = {list(outputs.classes)}: one exclusive class is every row's."
            " Name all classes; of a yes or no say outputs = 'independent'."
        )


def _maker(tables: JobTables, name: str) -> Problems:
    pool = tables.pools[name]
    if pool.made_by is None:
        return
    yield from check_maker(tables, pool.made_by, f"pools.{name}.made_by")
    if pool.format not in (None, "parquet"):
        yield (
            f"pools.{name}.format = {pool.format!r}: a pool that is made is Parquet. Leave it out."
        )


def _shared_files(tables: JobTables, name: str) -> Problems:
    """Compare a pool with those before it."""
    # with those before it alone, so that each pair is named once
    uri = tables.pool_uri(name)
    path = f"pools.{name}.path = {uri!r}"
    for other in tables.pools:
        if other == name:
            return
        other_uri = tables.pool_uri(other)
        real = _real(uri)
        other_real = _real(other_uri)
        if _lies_in(real, other_real) or _lies_in(other_real, real):
            yield (
                f"{path}: its files lie in pools.{other} too ({other_uri!r})."
                " Give each pool a folder of its own."
            )


def _real(uri: str) -> str:
    """Where it really lies, whatever links lead there."""
    return uri if is_remote(uri) else os.path.realpath(uri)


def _lies_in(inner: str, outer: str) -> bool:
    return f"{inner}/".startswith(f"{outer}/")
