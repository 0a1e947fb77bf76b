from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.pools.features import decode_features
from distill.pools.formats.registry import read_rows
from tests.making import assignment, fragment_tasks
from tests.tiny import DOUBLING, tiny_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = {{ kind = "vector", columns = ["pixels"], scale = 0.5 }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "mine.py", name = "Mine" }}
    over = ["rows"]
    batch_rows = 10
    {encoding}
"""
TWICE = DOUBLING.replace("Labeler", "Mine")
BAD = {4: None, 70: [0.0, float("nan"), 0.0, 0.0], 80: [0.0, 0.0, float("inf"), 0.0]}
"""Rows of the first shard that cannot be read."""


class Tried:
    """One labelling in this process: its job and what the worker says of each fragment."""

    def __init__(self, folder, text, encoding=""):
        (folder / "mine.py").write_text(text, "utf-8")
        self.job = tiny_job(folder, JOB.format(encoding=encoding))
        self.assignment = assignment(self.job, "teacher")
        self.tasks = fragment_tasks(self.job, "rows")
        part = self.assignment.pools["rows"]
        self.files, self.folder = part.files, part.folder


@pytest.fixture
def pool(tmp_path):
    """Two shards, 100 and 30 rows; some rows of the first cannot be read."""
    write_pool(tmp_path / "rows", [100, 30])
    file = tmp_path / "rows" / "part-00000.parquet"
    table = pq.read_table(file)
    pixels = table["pixels"].to_pylist()
    for row, value in BAD.items():
        pixels[row] = value
    pq.write_table(
        table.set_column(0, "pixels", pa.array(pixels, pa.list_(pa.float32(), 4))),
        file,
        row_group_size=32,
    )
    return tmp_path


@pytest.fixture
def tried(pool):
    """`tried(text of mine.py, encoding)`."""
    return lambda text=TWICE, encoding="": Tried(pool, text, encoding)


def features(tried, task) -> np.ndarray:
    """What the labeler should see of a fragment, bad rows as zeros."""
    from distill.storage.open import open_storage

    intent = task.intent
    rows = range(intent.start, intent.start + intent.rows)
    taken = read_rows(open_storage(tried.files), task.key, rows, ["pixels"], format="parquet")
    return decode_features(taken.table, tried.assignment.features, 4).values
