"""Pools that cannot be reached, or lack what the job reads of them."""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import partial

from distill.core.errors import PoolError
from distill.plan.workspace import Workspace
from distill.pools.column_types import require_pinned
from distill.pools.formats.base import check_columns, check_keys
from distill.pools.formats.masking import check_rules, plain_rules
from distill.pools.formats.options import column_types
from distill.pools.formats.selection import SelectionShard
from distill.pools.open_pool import OpenPool

log = logging.getLogger(__name__)


def check_pool_files(workspace: Workspace) -> None:
    """Refuse pools that cannot be reached or lack what the job reads of them, all at once. Raises
    PoolError, JobError."""
    problems = []
    for name in workspace.listed_pools:
        try:
            _check(workspace, name)
        except PoolError as error:
            problems.append(f"{workspace.tables.path}: {error}")
    if problems:
        raise PoolError("\n".join(problems))


def _check(workspace: Workspace, name: str) -> None:
    """Look at one pool, once. Raises PoolError."""
    # a finished job opens no input
    pool = workspace.pool(name)
    spec = pool.spec.model_dump(mode="json", include={"features", "target", "keys", "format"})
    tables = workspace.tables
    outputs = tables.pool_outputs(name)
    # {}: the shapes of networks, once checked here; without it roots made before are looked at anew
    plain = asdict(outputs)
    looked_for = [spec, plain, {}]
    if pool.spec.rules:  # what came later is left out where it says nothing
        looked_for.append(plain_rules(pool.spec.rules))
    look = partial(_look, workspace, pool)
    workspace.remember("checks", [pool.inventory.content, looked_for], look)


def _look(workspace: Workspace, pool: OpenPool) -> None:
    """Open the first shard that has rows. Raises PoolError."""
    shard = pool.files.url(pool.first_shard.key)
    where = f"pools.{pool.name}: {shard}"
    check_rules(pool.spec.mask, pool.unmasked_schema, where)
    _tell_unknown(pool, where)
    check_columns(pool.schema, pool.spec.read_columns, where)
    require_pinned(column_types(pool.inventory.format), pool.spec.keys, f"pools.{pool.name}")
    check_keys(pool.schema, pool.spec.keys, where)
    try:
        _ = pool.width
        if pool.spec.target:
            outputs = workspace.tables.pool_outputs(pool.name)
            pool.target_width(outputs)
    except PoolError as error:
        raise PoolError(f"pools.{pool.name}: {error}") from None


def _tell_unknown(pool: OpenPool, where: str) -> None:
    """Warn of private columns that are not there."""
    # one that is misspelt protects nothing
    unknown = sorted(set(pool.spec.private).difference(pool.unmasked_schema.names))
    # addresses know no private column, whatever their pool has
    if unknown and pool.spec.format != SelectionShard.name:
        log.warning("%s: has no columns %s, which the job calls private", where, unknown)
