"""A pool as a job means it: where its files lie, which they are, and how wide its rows are."""

from __future__ import annotations

from dataclasses import dataclass

from distill.errors import PoolError
from distill.job import Cnn, Job, Outputs, Pool, VectorFeatures, pool_outputs
from distill.pool.features import column_width, feature_width
from distill.pool.inventory import Inventory, take_inventory
from distill.pool.readers import check_columns, read_footer, read_rows
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

    def width(self) -> int:
        """Numbers in a row's features. Raises PoolError."""
        shard = next((shard for shard in self.inventory.shards if shard.rows), self.inventory.shards[0])
        footer = read_footer(self.files, shard.key)
        first = read_rows(self.files, shard.key, range(min(_LOOKED_AT_ROWS, shard.rows)), self.features.columns)
        return feature_width(footer.schema, self.features, first)

    def target_width(self, outputs: Outputs) -> int:
        """Numbers that a head needs to answer this pool's target. Raises PoolError."""
        footer = read_footer(self.files, self.inventory.shards[0].key)
        return len(outputs.classes) or column_width(footer.schema, str(self.spec.target))


def open_pool(job: Job, name: str) -> OpenPool:
    """List a pool, once a job, and hold the list against its inventory. Raises PoolError."""
    key = ("pool", name)
    if key not in job.memo:
        inventory = take_inventory(open_storage(job.root_uri), name, open_storage(job.pool_uri(name)))
        job.memo[key] = OpenPool(name, job.pools[name], inventory)
    opened: OpenPool = job.memo[key]
    return opened


def check_pools(job: Job) -> None:
    """Refuse pools that cannot be reached or lack what the job reads of them, before any work. Raises PoolError, JobError."""
    problems = [problem for name in job.pools for problem in _problems(job, name)]
    if problems:
        raise PoolError("\n".join(f"{job.path}: {problem}" for problem in problems))


def _problems(job: Job, name: str) -> list[str]:
    try:
        pool = open_pool(job, name)
        wanted = [*pool.features.columns, *([pool.spec.target] if pool.spec.target else [])]
        shard = pool.inventory.shards[0]
        check_columns(read_footer(pool.files, shard.key).schema, wanted, f"pools.{name}: {pool.files.url(shard.key)}")
    except PoolError as error:
        return [str(error)]
    try:
        width = pool.width()
        if pool.spec.target:
            pool.target_width(pool_outputs(job, name))
    except PoolError as error:
        return [f"pools.{name}: {error}"]
    return [
        f"{where}.model.shape = {list(shape)}: a row of pools.{name} has {width} numbers. Correct the shape."
        for where, shape in _shapes(job, name, width)
    ]


def _shapes(job: Job, pool: str, width: int) -> list[tuple[str, tuple[int, int, int]]]:
    """CNNs that see this pool and whose shape does not hold `width` numbers."""
    seen = [(f"fit.{name}", fit.model) for name, fit in job.fit.items() if fit.on == pool]
    seen += [(f"students.{name}", student.model) for name, student in job.students.items() if pool in student.on]
    return [
        (where, model.shape)
        for where, model in seen
        if isinstance(model, Cnn) and model.shape[0] * model.shape[1] * model.shape[2] != width
    ]
