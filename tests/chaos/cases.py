"""Pool, job and labeler of a seed, and the label hash of an undisturbed run over them.

There are few pools (`POOLS`), so that the undisturbed run is made once each: the label hash knows shard numbers, rows and columns, and
nothing of where they lie. Each has an empty shard, equal rows, rows that cannot be read (null, NaN, infinite) and rows that the labeler
answers with NaN.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

POOLS = 4
FRAGMENT_ROWS = 64
LABELER = Path(__file__).with_name("labeler.py")
ENCODINGS = (
    '{ kind = "dense" }',
    '{ kind = "topk", k = 2, temperatures = [1, 4] }',
    '{ kind = "dense", dtype = "float16" }',
    '{ kind = "topk", k = 3 }',
)
JOB = """\
    root = "{root}"
    fragment_rows = {fragment_rows}
    [pools.rows]
    path = "{pool}"
    features = {{ kind = "vector", columns = ["pixels"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "labeler.py" }}
    over = ["rows"]
    encoding = {encoding}
    compute = {{ min = 1, max = 2 }}
    max_rejected_fraction = 0.1
"""


@dataclass(frozen=True)
class Case:
    """Files of a pool by key, their rows in key order, and the encoding of its labels."""

    number: int
    shards: dict[str, bytes]
    rows: tuple[int, ...]
    encoding: str

    @property
    def fragments(self) -> int:
        """How many its rows are cut into."""
        return sum(-(-rows // FRAGMENT_ROWS) for rows in self.rows)

    @property
    def filled(self) -> list[str]:
        """Keys of the shards that have rows."""
        return [key for key, rows in zip(self.shards, self.rows, strict=True) if rows]

    def write_job(self, folder: Path, *, pool: str, root: str, seconds: float) -> Path:
        """`job.toml` and its labeler in `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        text = LABELER.read_text("utf-8").replace("{FOLDER}", str(folder)).replace("{SECONDS}", str(seconds))
        (folder / "labeler.py").write_text(text, "utf-8")
        said = JOB.format(root=root, pool=pool, encoding=self.encoding, fragment_rows=FRAGMENT_ROWS)
        (folder / "job.toml").write_text(textwrap.dedent(said), "utf-8")
        return folder / "job.toml"


def case_of(seed: int) -> Case:
    """The case of a seed: in each round of kinds, every kind meets the next pool."""
    number = (seed + seed // 20) % POOLS
    draw = np.random.default_rng(number)
    shard_rows = [*map(int, draw.integers(150, 420, size=6)), 0, int(draw.integers(1, 64))]
    draw.shuffle(shard_rows)
    shards = {f"part-{at:05d}.parquet": _shard(rows, draw) for at, rows in enumerate(shard_rows)}
    return Case(number, shards, tuple(shard_rows), ENCODINGS[number])


def _shard(rows: int, draw: np.random.Generator) -> bytes:
    pixels = draw.normal(size=(rows, 4)).astype(np.float32)
    pixels[rows // 2 : rows // 2 + 5] = pixels[:5] if rows > 20 else pixels[rows // 2 : rows // 2 + 5]
    values: list[list[float] | None] = pixels.tolist()
    for bad in (None, [float("nan"), 0.0, 0.0, 0.0], [0.0, float("inf"), 0.0, 0.0]):
        if rows > 20:
            values[int(draw.integers(rows))] = bad
    sink = pa.BufferOutputStream()
    table = pa.table({"pixels": pa.array(values, pa.list_(pa.float32(), 4))})
    pq.write_table(table, sink, row_group_size=FRAGMENT_ROWS)
    return bytes(sink.getvalue())
