"""The rows of an audit that are held out, and the purposes for which it draws any."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from distill.core.errors import JobError, PoolError
from distill.core.schema import digest
from distill.plan.audit.steps import HoldOutStep
from distill.plan.workspace import Workspace
from distill.pools.formats.options import format_name
from distill.pools.formats.selection import SelectionShard
from distill.pools.inventory import Shard, read_inventory
from distill.pools.open_pool import OpenPool
from distill.pools.split import RowSet, below, row_hashes
from distill.spec.audit import Audit, split_path

Mask = npt.NDArray[np.bool_]

HELD_OUT_ROWS = 0
TRIED_ROWS = 1
CANARY_ROWS = 2
COINS = 3
PAIRS = 4
"""Purposes for which rows are drawn (`pools.split`): the last and those after it, a pair each."""


def hold_out_step(workspace: Workspace, whole: OpenPool) -> HoldOutStep:
    """Return how the audited pool is divided into rows to learn from and rows held out. Raises
    PoolError where it was listed whole before."""
    audit = audit_of(workspace)
    listed = read_inventory(workspace.root, audit.members, "")
    if listed is not None and format_name(listed.format) != SelectionShard.name:
        raise PoolError(
            f"{workspace.tables.path}: audit.held_out = {audit.share}: pools.{audit.members} was"
            f" listed whole under {workspace.tables.root_uri}, and what was taught there may have"
            " seen all of its rows. Use another root."
        )
    share = audit.share
    assert share is not None
    seed = seed_of(workspace, audit)

    def is_held_out(shard: Shard) -> Mask:
        return below(row_hashes(shard, seed, HELD_OUT_ROWS), share)

    root = workspace.root
    names = (audit.members, audit.others)
    return HoldOutStep(
        folders={name: root.folder(split_path(name)).uri for name in names},
        sets={
            audit.members: RowSet(whole, lambda shard: ~is_held_out(shard)),
            audit.others: RowSet(whole, is_held_out),
        },
        columns=whole.spec.read_columns,
        how=digest([seed, share]),
        content=whole.inventory.content,
    )


def audit_of(workspace: Workspace) -> Audit:
    """Return what the job says of an audit. Raises JobError where it says nothing."""
    tables = workspace.tables
    if tables.audit is None:
        raise JobError(
            f'{tables.path}: no [audit] table. Add one: `[audit]`, `members = "POOL"`, a labelled'
            ' pool, and `held_out = "POOL"` or a share of it, such as 0.5.'
        )
    return tables.audit


def seed_of(workspace: Workspace, audit: Audit) -> int:
    """Return the seed of an audit: its own, or the job's."""
    return workspace.tables.job.seed if audit.seed is None else audit.seed


def coins(shard: Shard, seed: int, purpose: int) -> Mask:
    """Return a coin for each row of a shard, another one for each purpose."""
    hashes = row_hashes(shard, seed, purpose)
    return below(hashes, 0.5)
