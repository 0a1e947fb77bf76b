"""The pools and jobs of `gpu_labelers`: a few distinct shards, written once and listed as often as
a run is to last, by hard links.

So reads come from the page cache after the first round: what is measured is the path from Parquet
to labels, not a disk.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks import gpu_models
from tests.benchmarks.pools import write_source
from tests.tiny import write_job as write_text

MODELS = Path(gpu_models.__file__)
SHARD_FRAGMENTS = 4
_JOB = """\
    root = "root"
    fragment_rows = {fragment_rows}
    [pools.rows]
    path = "pool"
    features = {features}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "labelers.py", name = "{labeler}" }}
    over = ["rows"]
    encoding = {encoding}
    batch_rows = {batch_rows}
    compute = {{ gpus = {gpus}, min = {actors}, max = {actors}, prepare_on = "{prepare_on}" }}
"""


@dataclass(frozen=True)
class Case:
    """One kind of pool and the teacher that labels it."""

    name: str
    labeler: str
    encoding: str
    batch_rows: int
    fragment_rows: int
    group_rows: int
    """Of a row group."""
    side: int = 0
    """Of its images; 0: its rows are texts."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """What the models' constants are, where not as they stand."""

    @property
    def shard_rows(self) -> int:
        return SHARD_FRAGMENTS * self.fragment_rows

    @property
    def features(self) -> str:
        return (
            f'{{ kind = "image", column = "x", shape = [{self.side}, {self.side}, 3] }}'
            if self.side
            else _TEXT
        )


_TEXT = '{ kind = "text", column = "x" }'
_TOP_16 = '{ kind = "topk", k = 16, temperatures = [1, 4] }'
_HALVES = '{ kind = "value", dtype = "float16" }'
_TINY = {"layers": 2, "width": 64, "heads": 4}

CASES = (
    Case(
        "images", "Images", _TOP_16, batch_rows=256, fragment_rows=2_048, group_rows=512, side=224
    ),
    Case("texts", "Texts", _HALVES, batch_rows=1_024, fragment_rows=16_384, group_rows=16_384),
)
QUICK_CASES = (
    Case(
        "images",
        "Images",
        _TOP_16,
        32,
        512,
        128,
        side=32,
        constants={"side": 32, "patch": 8, **_TINY},
    ),
    Case("texts", "Texts", _HALVES, 64, 256, 256, constants={"sorted_rows": 32, **_TINY}),
)


def write_shards(folder: Path, case: Case, count: int) -> list[Path]:
    """`count` shards of four fragments, in zstd."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.parquet" for number in range(count)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(lambda path: _write_shard(path, case), paths))
    return paths


def list_shards(folder: Path, shards: Sequence[Path], count: int) -> None:
    """Make the pool `count` shards long, which are `shards` again and again."""
    folder.mkdir(exist_ok=True)
    for number in range(len(list(folder.iterdir())), count):
        os.link(shards[number % len(shards)], folder / f"part-{number:05d}.parquet")


def write_job(
    folder: Path, case: Case, *, actors: int, gpus: float, prepare_on: str, **constants: object
) -> Path:
    """The job over the pool beside it, and its models."""
    write_source(folder, MODELS, **case.constants, **constants)
    told = {
        "actors": actors,
        "gpus": gpus,
        "prepare_on": prepare_on,
        "features": case.features,
        **vars(case),
    }
    return write_text(folder, _JOB.format(**told))


def _write_shard(path: Path, case: Case) -> None:
    draw, make = np.random.default_rng(int(path.stem)), _images if case.side else _texts
    schema = pa.schema([("x", pa.binary(3 * case.side**2) if case.side else pa.string())])
    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=False, write_statistics=False
    ) as writer:
        for _ in range(case.shard_rows // case.group_rows):
            writer.write_table(pa.table([make(draw, case.group_rows, case)], schema=schema))


def _images(draw: np.random.Generator, rows: int, case: Case) -> pa.Array:
    """Raw bytes of 64 values: zstd makes three quarters of them, so that reading decompresses, as
    it would real images."""
    size = 3 * case.side**2
    pixels = np.frombuffer(draw.bytes(rows * size), np.uint8) & 63
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), rows, [None, pa.py_buffer(pixels)])


def _texts(draw: np.random.Generator, rows: int, _: Case) -> pa.Array:
    """5 to 120 words out of 20,000, short texts more often than long ones, as in what people write."""
    letters = draw.integers(ord("a"), ord("z") + 1, (20_000, 8), np.uint8)
    words = np.array(
        [bytes(word[: 2 + number % 7]).decode() for number, word in enumerate(letters)], object
    )
    lengths = np.clip(draw.gamma(2.0, 22.0, rows), 5, 120).astype(int)
    drawn = words[draw.integers(0, len(words), lengths.sum())]
    return pa.array([" ".join(text) for text in np.split(drawn, np.cumsum(lengths)[:-1])])
