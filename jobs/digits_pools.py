"""The pools of digits.toml: scikit-learn's 1,797 handwritten digits (Alpaydin & Kaynak 1998; 8×8
pixels of 0–16).

160 labelled rows of the digits 0–7, 360 test rows of all ten, and the remaining 1,277 rows as the
unlabelled pool: in it are all ten digits too, and it has no target column. The split is drawn once,
stratified, with a fixed seed.
"""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

LABELLED, TEST, SEED = 160, 360, 0
SHARD_ROWS = 200


def unlabelled() -> Iterator[pa.Table]:
    """Pixels alone."""
    pixels, _, part = _split()
    yield from _shards({"pixels": pixels[part == 0]})


def labelled() -> Iterator[pa.Table]:
    """Pixels and digit; 0–7 only."""
    pixels, digits, part = _split()
    yield from _shards({"pixels": pixels[part == 1], "digit": digits[part == 1]})


def test() -> Iterator[pa.Table]:
    """Pixels and digit; all ten."""
    pixels, digits, part = _split()
    yield from _shards({"pixels": pixels[part == 2], "digit": digits[part == 2]})


def _split() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels, digits, and which part each row belongs to: 0 unlabelled, 1 labelled, 2 test."""
    from sklearn.datasets import load_digits

    pixels, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(SEED).permutation(len(digits))
    place = np.empty(len(digits), int)  # the how-manieth row of its own digit each row is
    for digit in range(10):
        mine = order[digits[order] == digit]
        place[mine] = np.arange(len(mine))
    part = np.where(
        place < TEST // 10, 2, np.where((place < TEST // 10 + LABELLED // 8) & (digits < 8), 1, 0)
    )
    return pixels.astype(np.float32)[order], digits[order], part[order]


def _shards(columns: dict[str, np.ndarray]) -> Iterator[pa.Table]:
    for start in range(0, len(columns["pixels"]), SHARD_ROWS):
        rows = slice(start, start + SHARD_ROWS)
        flat = pa.array(columns["pixels"][rows].ravel())
        table = {"pixels": pa.FixedSizeListArray.from_arrays(flat, 64)}
        if "digit" in columns:
            table["digit"] = pa.array(columns["digit"][rows])
        yield pa.table(table)
