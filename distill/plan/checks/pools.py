"""Pools that cannot be reached, or lack what the job reads of them."""

from __future__ import annotations

import math
from dataclasses import asdict

from distill.core.errors import PoolError
from distill.models.networks.cnn import Cnn
from distill.plan.workspace import Workspace
from distill.pools.formats.base import check_columns, check_keys
from distill.pools.open_pool import OpenPool


def check_pools(workspace: Workspace) -> None:
    """Refuse pools that cannot be reached or lack what the job reads of them, before any work.
    Raises PoolError, JobError."""
    problems = [
        problem for name in workspace.tables.pools for problem in _problems(workspace, name)
    ]
    if problems:
        raise PoolError("\n".join(f"{workspace.tables.path}: {problem}" for problem in problems))


def _problems(workspace: Workspace, name: str) -> list[str]:
    """What is wrong with one pool. What was found right is kept under the root, so that a finished
    job opens no input."""
    try:
        pool = workspace.pool(name)
        shapes = _shapes(workspace, name)
        spec = pool.spec.model_dump(mode="json", include={"features", "target", "keys", "format"})
        looked_for = [spec, asdict(workspace.tables.pool_outputs(name)), shapes]
        workspace.remember(
            "checks", [pool.inventory.content, looked_for], lambda: _look(workspace, pool, shapes)
        )
    except PoolError as error:
        return [str(error)]
    return []


def _look(workspace: Workspace, pool: OpenPool, shapes: dict[str, list[int]]) -> None:
    """Open the first shard that has rows. Raises PoolError."""
    where, schema = f"pools.{pool.name}: {pool.files.url(pool.first_shard.key)}", pool.schema
    check_columns(schema, pool.spec.read_columns, where)
    check_keys(schema, pool.spec.keys, where)
    try:
        width = pool.width
        if pool.spec.target:
            pool.target_width(workspace.tables.pool_outputs(pool.name))
    except PoolError as error:
        raise PoolError(f"pools.{pool.name}: {error}") from None
    for where, shape in shapes.items():
        if math.prod(shape) != width:
            raise PoolError(
                f"{where}.model.shape = {shape}: a row of pools.{pool.name} has {width} numbers."
                " Correct the shape."
            )


def _shapes(workspace: Workspace, pool: str) -> dict[str, list[int]]:
    """The shapes of CNNs that see this pool."""
    seen = {
        f"fit.{name}": fit.model for name, fit in workspace.tables.fit.items() if fit.on == pool
    }
    seen |= {
        f"students.{each.name}": each.spec.model
        for each in workspace.tables.job.variants
        if pool in each.spec.on
    }
    return {where: list(model.shape) for where, model in seen.items() if isinstance(model, Cnn)}
