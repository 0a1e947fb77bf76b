"""A pool as a job means it: where its files lie, which they are, and how wide its rows are."""

from __future__ import annotations

import math
from dataclasses import asdict

from distill.core.errors import PoolError
from distill.job.job import Job
from distill.plan.outputs import pool_outputs
from distill.plan.remember import remember
from distill.pools.file_stats import ReadFileStats, read_file_stats
from distill.pools.formats.base import check_columns, check_keys
from distill.pools.inventory import Inventory, read_inventory
from distill.pools.open_pool import OpenPool
from distill.pools.scan import take_inventory
from distill.spec.models import Cnn
from distill.storage.open import open_storage


def open_pool(job: Job, name: str, *, read: ReadFileStats = read_file_stats) -> OpenPool:
    """List a pool, once a job, and hold the list against its inventory; `read` reads new files.
    Raises PoolError."""
    key = ("pool", name)
    if key not in job.memo:
        root, files, spec = (
            open_storage(job.root_uri),
            open_storage(job.pool_uri(name)),
            job.pools[name],
        )
        job.memo[key] = OpenPool(
            name, spec, take_inventory(root, name, files, spec=spec, read=read)
        )
    opened: OpenPool = job.memo[key]
    return opened


def known_inventory(job: Job, name: str) -> Inventory | None:
    """The inventory as it was opened, or else as it is stored: lists no pool. None before the first
    listing."""
    opened: OpenPool | None = job.memo.get(("pool", name))
    return (
        opened.inventory
        if opened
        else read_inventory(open_storage(job.root_uri), name, job.pool_uri(name))
    )


def check_pools(job: Job) -> None:
    """Refuse pools that cannot be reached or lack what the job reads of them, before any work.
    Raises PoolError, JobError."""
    problems = [problem for name in job.pools for problem in _problems(job, name)]
    if problems:
        raise PoolError("\n".join(f"{job.path}: {problem}" for problem in problems))


def _problems(job: Job, name: str) -> list[str]:
    """What is wrong with one pool. What was found right is kept under the root, so that a finished
    job opens no input."""
    try:
        pool = open_pool(job, name)
        shapes = _shapes(job, name)
        spec = pool.spec.model_dump(mode="json", include={"features", "target", "keys", "format"})
        looked_for = [spec, asdict(pool_outputs(job, name)), shapes]
        remember(
            job, "checks", [pool.inventory.content, looked_for], lambda: _look(job, pool, shapes)
        )
    except PoolError as error:
        return [str(error)]
    return []


def _look(job: Job, pool: OpenPool, shapes: dict[str, list[int]]) -> None:
    """Open the first shard that has rows. Raises PoolError."""
    where, schema = f"pools.{pool.name}: {pool.files.url(pool.first_shard.key)}", pool.schema
    check_columns(schema, pool.spec.read_columns, where)
    check_keys(schema, pool.spec.keys, where)
    try:
        width = pool.width
        if pool.spec.target:
            pool.target_width(pool_outputs(job, pool.name))
    except PoolError as error:
        raise PoolError(f"pools.{pool.name}: {error}") from None
    for where, shape in shapes.items():
        if math.prod(shape) != width:
            raise PoolError(
                f"{where}.model.shape = {shape}: a row of pools.{pool.name} has {width} numbers."
                " Correct the shape."
            )


def _shapes(job: Job, pool: str) -> dict[str, list[int]]:
    """The shapes of CNNs that see this pool."""
    seen = {f"fit.{name}": fit.model for name, fit in job.fit.items() if fit.on == pool}
    seen |= {
        f"students.{each.name}": each.spec.model for each in job.variants if pool in each.spec.on
    }
    return {where: list(model.shape) for where, model in seen.items() if isinstance(model, Cnn)}
