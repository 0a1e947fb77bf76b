"""Pool, job and labeler of a seed.

There are few pools (`POOLS`), so that the undisturbed run is made once each: the label hash knows
shard numbers, rows and columns, and nothing of where they lie. They differ in the files' format,
the encoding, and where rows are prepared. Each has an empty shard, equal rows, rows that cannot be
labelled (null, NaN, infinite) and rows that the labeler answers with NaN.
"""

from __future__ import annotations

import gzip
import json
import textwrap
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

FRAGMENT_ROWS = 64
LABELER = Path(__file__).with_name("labeler.py")
NAMES = ("a", "b", "c", "d")
FILLED = 24
"""Shards with rows where each is one fragment; a Parquet pool has the same rows in a quarter of the
files."""
JOB = """\
    root = "{root}"
    fragment_rows = {fragment_rows}
    [pools.rows]
    path = "{pool}"
    features = {{ kind = "vector", columns = ["a", "b", "c", "d"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "labeler.py" }}
    over = ["rows"]
    encoding = {encoding}
    compute = {{ min = 1, max = 2{prepare} }}
    max_rejected_fraction = 0.1
"""


@dataclass(frozen=True)
class Kind:
    """What one of the pools is."""

    ending: str
    encoding: str
    prepare: str = ""

    @property
    def is_indexed(self) -> bool:
        """Whether a file may be cut into fragments."""
        return self.ending == "parquet"


POOLS = (
    Kind("parquet", '{ kind = "dense" }'),
    Kind("jsonl.gz", '{ kind = "topk", k = 2, temperatures = [1, 4] }'),
    Kind("csv", '{ kind = "dense", dtype = "float16" }'),
    Kind("parquet", '{ kind = "topk", k = 3 }', ', prepare_on = "cluster"'),
)


@dataclass(frozen=True)
class Case:
    """Tables of a pool by the key of their file, in key order."""

    number: int
    tables: dict[str, pa.Table]

    @property
    def kind(self) -> Kind:
        """Which of the pools it is."""
        return POOLS[self.number]

    @cached_property
    def shards(self) -> dict[str, bytes]:
        """The files by key."""
        return {key: _written(table, self.kind.ending) for key, table in self.tables.items()}

    def other(self, key: str) -> bytes:
        """That file with its rows in another order."""
        return _written(
            self.tables[key].take(pa.array(range(len(self.tables[key]))[::-1])), self.kind.ending
        )

    @property
    def rows(self) -> tuple[int, ...]:
        """Of each file, in key order."""
        return tuple(map(len, self.tables.values()))

    @property
    def fragments(self) -> int:
        """How many its rows are cut into."""
        return sum(
            -(-rows // FRAGMENT_ROWS) if self.kind.is_indexed else min(rows, 1)
            for rows in self.rows
        )

    @property
    def filled(self) -> list[str]:
        """Keys of the shards that have rows."""
        return [key for key, table in self.tables.items() if len(table)]

    def write_job(self, folder: Path, *, pool: str, root: str, seconds: float) -> Path:
        """`job.toml` and its labeler in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        text = (
            LABELER.read_text("utf-8")
            .replace("{FOLDER}", str(folder))
            .replace("{SECONDS}", str(seconds))
        )
        (folder / "labeler.py").write_text(text, "utf-8")
        told = {
            "encoding": self.kind.encoding,
            "prepare": self.kind.prepare,
            "fragment_rows": FRAGMENT_ROWS,
        }
        (folder / "job.toml").write_text(
            textwrap.dedent(JOB.format(root=root, pool=pool, **told)), "utf-8"
        )
        return folder / "job.toml"


def case_of(seed: int) -> Case:
    """The case of a seed: in each round of kinds, every kind meets the next pool."""
    number = (seed + seed // 20) % len(POOLS)
    draw, kind = np.random.default_rng(number), POOLS[number]
    least, most, count = (100, 320, FILLED // 4) if kind.is_indexed else (20, FRAGMENT_ROWS, FILLED)
    shard_rows = [*map(int, draw.integers(least, most, size=count)), 0, 7]
    draw.shuffle(shard_rows)
    return Case(
        number,
        {f"part-{at:05d}.{kind.ending}": _table(rows, draw) for at, rows in enumerate(shard_rows)},
    )


def _table(rows: int, draw: np.random.Generator) -> pa.Table:
    numbers = draw.normal(size=(rows, len(NAMES))).astype(np.float32)
    columns: list[list[float | None]] = numbers.T.tolist()
    if rows > 55:
        for column, bad in enumerate((None, float("nan"), float("inf"))):
            columns[column][int(draw.integers(rows))] = bad
        for column in columns:
            column[rows // 2 : rows // 2 + 5] = column[:5]
    return pa.table(
        {name: pa.array(column, pa.float32()) for name, column in zip(NAMES, columns, strict=True)}
    )


def _written(table: pa.Table, ending: str) -> bytes:
    if ending == "jsonl.gz":
        return gzip.compress(
            "".join(json.dumps(row) + "\n" for row in table.to_pylist()).encode(), mtime=0
        )
    sink = pa.BufferOutputStream()
    if ending == "csv":
        pa.csv.write_csv(table, sink)
    else:
        pq.write_table(table, sink, row_group_size=FRAGMENT_ROWS)
    return bytes(sink.getvalue())
