"""The pools of structure.toml: Fashion-MNIST (Xiao, Rasul & Vollgraf 2017), 28 × 28 grey images of
ten kinds of clothes.

Debian ships it (`apt-get install dataset-fashion-mnist`, 31 MB); elsewhere its four files
(`train-images-idx3-ubyte.gz` and so on, github.com/zalandoresearch/fashion-mnist) go into a folder
that FASHION_MNIST names. The 60,000 training images are the pool that a teacher may be asked about;
they carry the truth, which stands in for the people who would label the rows that a selection
chooses. The 10,000 test images judge.
"""

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

FOLDER = "/usr/share/datasets/fashion-mnist"
SHARD_ROWS = 10_000
PIXELS = 28 * 28
KINDS = np.array(
    [
        "T-shirt",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ]
)
_IDX_OF_BYTES = 0x08
"""The third byte of an idx file whose numbers are unsigned bytes; the fourth is its dimensions."""


def train() -> Iterator[pa.Table]:
    """60,000 images and what they show, in six shards."""
    yield from _shards("train")


def test() -> Iterator[pa.Table]:
    """10,000 others, in one shard."""
    yield from _shards("t10k")


def _shards(part: str) -> Iterator[pa.Table]:
    images = _read(f"{part}-images-idx3-ubyte.gz").reshape(-1, PIXELS)
    kinds = _read(f"{part}-labels-idx1-ubyte.gz")
    for start in range(0, len(images), SHARD_ROWS):
        rows = slice(start, start + SHARD_ROWS)
        pixels = pa.FixedSizeListArray.from_arrays(pa.array(images[rows].ravel()), PIXELS)
        yield pa.table({"pixels": pixels, "kind": pa.array(KINDS[kinds[rows]])})


def _read(name: str) -> np.ndarray:
    """The numbers of an idx file, in its shape."""
    path = Path(os.environ.get("FASHION_MNIST", FOLDER), name)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is not there. `apt-get install dataset-fashion-mnist` puts it there;"
            " elsewhere set FASHION_MNIST to a folder with Fashion-MNIST's four files."
        )
    content = gzip.decompress(path.read_bytes())
    if content[:3] != bytes([0, 0, _IDX_OF_BYTES]):
        raise ValueError(f"{path} is no idx file of unsigned bytes")
    dimensions = content[3]
    shape = np.frombuffer(content, ">u4", dimensions, offset=4)
    numbers = np.frombuffer(content, np.uint8, offset=4 + 4 * dimensions)
    return numbers.reshape(shape)
