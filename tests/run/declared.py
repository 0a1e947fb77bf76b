"""A labeler that declares how long it takes, on a clock that it moves: what it costs is the same
however loaded the machine is. In one process, by the local engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core import events
from distill.job.job import Job
from distill.stages.label import work_clock
from tests.tiny import tiny_job

LABELER = """
import numpy as np

from tests.run import declared


class Labeler:
    revision = "1"
    classes = ("a", "b")

    def label(self, features):
        declared.CLOCK.now += float(features[:, 0].sum())
        return np.repeat(features, 2, axis=1)
"""
"""Each row says in its first number how many seconds it takes."""

JOB = """
    root = "root"
    fragment_rows = {fragment_rows}
    seed = {seed}
    [pools.rows]
    path = "rows"
    features = {{ kind = "vector", columns = ["seconds"] }}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "mine.py" }}
    over = ["rows"]
    batch_rows = {fragment_rows}
    {more}
"""


class Clock:
    """Seconds that labelers declared."""

    now = 0.0


CLOCK = Clock()
BEGAN = 1_800_000_000.0


@pytest.fixture
def clock(monkeypatch):
    """The clock by which workers count and what they hold is counted, moved by the labelers
    alone."""
    monkeypatch.setattr(CLOCK, "now", 0.0)
    monkeypatch.setattr(events, "now", lambda: BEGAN + CLOCK.now)
    monkeypatch.setattr(work_clock, "monotonic", lambda: CLOCK.now)
    return CLOCK


def write_rows(folder: Path, shard_rows: list[int], seconds: list[float]) -> None:
    """Shards whose rows take so many seconds each."""
    folder.mkdir(parents=True)
    for number, (rows, each) in enumerate(zip(shard_rows, seconds, strict=True)):
        table = pa.table({"seconds": np.full(rows, each)})
        pq.write_table(table, folder / f"part-{number:05d}.parquet", row_group_size=1 << 20)


def declared_job(
    folder: Path, seed: int = 0, *, fragment_rows: int = 50_000, more: str = ""
) -> Job:
    """A job over `folder/rows` by the labeler above."""
    (folder / "mine.py").write_text(LABELER, "utf-8")
    text = JOB.format(seed=seed, fragment_rows=fragment_rows, more=more.replace("\n", "\n    "))
    return tiny_job(folder, text)
