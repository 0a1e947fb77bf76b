"""The pools of binary.toml: ten features and one binary label that depends on them through a bent
surface."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

FEATURES = 10


def labelled() -> Iterator[pa.Table]:
    """600 labelled rows."""
    yield from _shards(rows=600, seed=0, labels=True)


def unlabelled() -> Iterator[pa.Table]:
    """4,000 rows without a label."""
    yield from _shards(rows=4_000, seed=1, labels=False)


def test() -> Iterator[pa.Table]:
    """2,000 labelled rows to judge by."""
    yield from _shards(rows=2_000, seed=2, labels=True)


def _shards(*, rows: int, seed: int, labels: bool) -> Iterator[pa.Table]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, FEATURES)).astype(np.float32)
    score = 1.5 * x[:, 0] - x[:, 1] + x[:, 2] * x[:, 3] + np.sin(2 * x[:, 4])
    y = (draw.uniform(size=rows) < 1 / (1 + np.exp(-2 * score))).astype(np.int8)
    for start in range(0, rows, 500):
        part = slice(start, start + 500)
        table = {f"x{number}": x[part, number] for number in range(FEATURES)}
        yield pa.table({**table, **({"y": y[part]} if labels else {})})
