"""A job in which a teacher that counts is asked about a selection alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tiny import tiny_job

COUNTING = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        with open({counter!r}, "a") as file:
            file.write(f"{{len(features)}}\\n")
        return 2 * features[:, :3]
"""
BATCH_ROWS = 128

JOB = """
    root = "root"
    seed = 7
    fragment_rows = 500
    [pools.rows]
    path = "rows"
    features = {{ kind = "vector", columns = ["pixels"] }}
    target = "kind"
    classes = ["a", "b", "c"]
    private = ["email"]
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    [structure.groups]
    of = "pools.rows"
    model = {{ kind = "kmeans", k = 12, passes = 10 }}
    {tables}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "teacher.py" }}
    over = {over}
    batch_rows = 128
"""


def write_groups(folder: Path, shard_rows, groups: int = 12, seed: int = 0) -> None:
    """Shards of rows around some centres, some of them twice."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(groups, 4)) * 5
    for number, rows in enumerate(shard_rows):
        group = draw.integers(groups, size=rows)
        pixels = (centres[group] + draw.normal(size=(rows, 4))).astype(np.float32)
        pixels[1::50] = pixels[::50][: len(pixels[1::50])]
        table = pa.table(
            {
                "pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 4),
                "kind": pa.array(["abc"[each % 3] for each in group]),
                "email": pa.array([f"{number}-{row}@example.org" for row in range(rows)]),
            }
        )
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=256)


class Selecting:
    """A folder with pools, a teacher that counts its rows in a file, and jobs over them."""

    def __init__(self, folder: Path, shard_rows=(900, 300, 1_100)) -> None:
        self.folder = folder
        write_groups(folder / "rows", shard_rows)
        write_groups(folder / "test", [200], seed=5)
        self.counter = folder / "counter"
        source = COUNTING.format(counter=str(self.counter))
        (folder / "teacher.py").write_text(source, "utf-8")

    def job(self, tables: str, over: str = '["select.first"]', more: str = ""):
        """A job with those `[select.NAME]`."""
        lines = "\n    ".join(line.strip() for line in tables.splitlines())
        return tiny_job(self.folder, JOB.format(tables=lines, over=over) + more)

    @property
    def counted(self) -> int:
        """Rows that the teacher was asked about."""
        if not self.counter.exists():
            return 0
        return sum(map(int, self.counter.read_text("utf-8").split()))


@pytest.fixture
def selecting(tmp_path) -> Selecting:
    return Selecting(tmp_path)
