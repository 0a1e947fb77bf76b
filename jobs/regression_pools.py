"""The pools of regression.toml: y = 1.5·x₁ − 0.5·x₂ + noise.

The labelled rows carry the noisy y. The held-out rows carry the truth without the noise, so that
the error against it says how much of the noise a model has learned.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

NOISE = 0.3


def labelled() -> Iterator[pa.Table]:
    """2,000 rows in four shards, with noise."""
    yield from _shards(rows=2_000, noise=NOISE, seed=0)


def test() -> Iterator[pa.Table]:
    """1,000 rows, the truth."""
    yield from _shards(rows=1_000, noise=0.0, seed=1)


def _shards(*, rows: int, noise: float, seed: int) -> Iterator[pa.Table]:
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(rows, 2))
    y = 1.5 * x[:, 0] - 0.5 * x[:, 1] + noise * draw.normal(size=rows)
    for start in range(0, rows, 500):
        part = slice(start, start + 500)
        yield pa.table({"x1": x[part, 0], "x2": x[part, 1], "y": y[part]})
