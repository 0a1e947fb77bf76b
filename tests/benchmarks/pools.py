"""Pools and jobs of the benchmarks, written for real."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.tiny import write_job as write_text

LABELERS = Path(__file__).with_name("labelers.py")
WIDTH = 64
_SHARD_FRAGMENTS = 4
_JOB = """\
    root = "root"
    fragment_rows = {fragment_rows}
    [pools.rows]
    path = "{pool}"
    features = {{ kind = "vector", columns = ["x"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "labelers.py", name = "{labeler}" }}
    over = ["rows"]
    {encoding}
    batch_rows = 256
    compute = {{ gpus = 0, min = {actors}, max = {actors} }}
"""
TOP_8 = 'encoding = { kind = "topk", k = 8, temperatures = [1, 4] }'


def write_pool(folder: Path, rows: int, fragment_rows: int, width: int = WIDTH) -> Path:
    """Parquet shards of four fragments, a row group a fragment: `id`, and `x`, of which the first
    two numbers say the id."""
    folder.mkdir(parents=True)
    noise = np.random.default_rng(0).normal(size=(fragment_rows, width)).astype(np.float32)
    per_shard = _SHARD_FRAGMENTS * fragment_rows
    for number, start in enumerate(range(0, rows, per_shard)):
        path = folder / f"part-{number:05d}.parquet"
        schema = pa.schema([("id", pa.int64()), ("x", pa.list_(pa.float32(), width))])
        with pq.ParquetWriter(path, schema, compression="zstd", use_dictionary=False) as writer:
            for first in range(start, min(start + per_shard, rows), fragment_rows):
                writer.write_table(_rows(first, min(fragment_rows, rows - first), noise, schema))
    return folder


def write_job(
    folder: Path,
    pool: Path,
    *,
    labeler: str,
    fragment_rows: int,
    actors: int = 1,
    encoding: str = "",
    **constants: object,
) -> Path:
    """The job file and its labelers, whose constants are set as told."""
    write_source(folder, LABELERS, **constants)
    told = {
        "fragment_rows": fragment_rows,
        "pool": pool,
        "labeler": labeler,
        "actors": actors,
        "encoding": encoding,
    }
    return write_text(folder, _JOB.format(**told))


def write_source(folder: Path, source: Path, **constants: object) -> None:
    """`source` as the job's `labelers.py`, its constants set as told."""
    text = source.read_text("utf-8")
    for name, value in constants.items():
        text, found = re.subn(
            rf"(?m)^{name.upper()} = .*$", lambda _, n=name, v=value: f"{n.upper()} = {v!r}", text
        )
        assert found == 1, name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labelers.py").write_text(text, "utf-8")


def _rows(first: int, rows: int, noise: np.ndarray, schema: pa.Schema) -> pa.Table:
    ids = np.arange(first, first + rows)
    values = noise[:rows].copy()
    values[:, 0], values[:, 1] = ids // 1000, ids % 1000
    features = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), noise.shape[1])
    return pa.table([pa.array(ids), features], schema=schema)
