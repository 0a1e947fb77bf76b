"""A pool as a job means it: where its files lie, which they are, and how wide its rows are."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass

from distill.errors import PoolError
from distill.job import Cnn, Job, Outputs, Pool, VectorFeatures, pool_outputs
from distill.pool.features import column_width, feature_width
from distill.pool.footers import ReadFooters, read_footers
from distill.pool.inventory import Inventory, Shard, read_inventory
from distill.pool.listing import take_inventory
from distill.pool.readers import check_columns, read_footer, read_rows
from distill.schema import digest, seal
from distill.storage import Storage, open_storage

_LOOKED_AT_ROWS = 64


@dataclass(frozen=True)
class OpenPool:
    """One pool of a job, listed."""

    name: str
    spec: Pool
    inventory: Inventory

    @property
    def files(self) -> Storage:
        """The folder of its shards."""
        return open_storage(self.inventory.uri)

    @property
    def features(self) -> VectorFeatures:
        """What a model sees of a row."""
        assert self.spec.features is not None
        return self.spec.features

    @property
    def first_shard(self) -> Shard:
        """The first shard that has rows."""
        return next(shard for shard in self.inventory.shards if shard.rows)

    def width(self) -> int:
        """Numbers in a row's features. Raises PoolError."""
        shard = self.first_shard
        footer = read_footer(self.files, shard.key)
        first = read_rows(self.files, shard.key, range(min(_LOOKED_AT_ROWS, shard.rows)), self.features.columns)
        return feature_width(footer.schema, self.features, first)

    def target_width(self, outputs: Outputs) -> int:
        """Numbers that a head needs to answer this pool's target. Raises PoolError."""
        footer = read_footer(self.files, self.first_shard.key)
        return len(outputs.classes) or column_width(footer.schema, str(self.spec.target))


def open_pool(job: Job, name: str, *, read: ReadFooters = read_footers) -> OpenPool:
    """List a pool, once a job, and hold the list against its inventory; `read` reads new files. Raises PoolError."""
    key = ("pool", name)
    if key not in job.memo:
        root, files, spec = open_storage(job.root_uri), open_storage(job.pool_uri(name)), job.pools[name]
        job.memo[key] = OpenPool(name, spec, take_inventory(root, name, files, spec=spec, read=read))
    opened: OpenPool = job.memo[key]
    return opened


def known_inventory(job: Job, name: str) -> Inventory | None:
    """The inventory as it was opened, or else as it is stored: lists no pool. None before the first listing."""
    opened: OpenPool | None = job.memo.get(("pool", name))
    return opened.inventory if opened else read_inventory(open_storage(job.root_uri), name, job.pool_uri(name))


def check_pools(job: Job) -> None:
    """Refuse pools that cannot be reached or lack what the job reads of them, before any work. Raises PoolError, JobError."""
    problems = [problem for name in job.pools for problem in _problems(job, name)]
    if problems:
        raise PoolError("\n".join(f"{job.path}: {problem}" for problem in problems))


def _problems(job: Job, name: str) -> list[str]:
    """What is wrong with one pool. What was found right is kept under the root, so that a finished job opens no input."""
    try:
        pool = open_pool(job, name)
        shapes = _shapes(job, name)
        looked_for = [pool.features.model_dump(mode="json"), pool.spec.target, asdict(pool_outputs(job, name)), shapes]
        checks, key = open_storage(job.root_uri).folder("checks"), digest([pool.inventory.content, looked_for])[:32]
        if checks.read_or_none(key) is None:
            _look(job, pool, shapes)
            checks.put(key, seal({"pool": name}))
    except PoolError as error:
        return [str(error)]
    return []


def _look(job: Job, pool: OpenPool, shapes: dict[str, list[int]]) -> None:
    """Open the first shard that has rows. Raises PoolError."""
    shard = pool.first_shard
    wanted = [*pool.features.columns, *([pool.spec.target] if pool.spec.target else [])]
    check_columns(read_footer(pool.files, shard.key).schema, wanted, f"pools.{pool.name}: {pool.files.url(shard.key)}")
    try:
        width = pool.width()
        if pool.spec.target:
            pool.target_width(pool_outputs(job, pool.name))
    except PoolError as error:
        raise PoolError(f"pools.{pool.name}: {error}") from None
    for where, shape in shapes.items():
        if math.prod(shape) != width:
            raise PoolError(
                f"{where}.model.shape = {shape}: a row of pools.{pool.name} has {width} numbers. Correct the shape."
            )


def _shapes(job: Job, pool: str) -> dict[str, list[int]]:
    """The shapes of CNNs that see this pool."""
    seen = {f"fit.{name}": fit.model for name, fit in job.fit.items() if fit.on == pool}
    seen |= {f"students.{each.name}": each.spec.model for each in job.variants if pool in each.spec.on}
    return {where: list(model.shape) for where, model in seen.items() if isinstance(model, Cnn)}
