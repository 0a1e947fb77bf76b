"""A job whose student is trained already: it is copied, not trained again, for each test."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.job.job import Job
from distill.plan.load import load_job
from distill.run import label_pool, train_students
from tests.tiny import DOUBLING, write_job

TABLES = """
    root = "runs"
    fragment_rows = 64
    [pools.taught]
    path = "taught"
    keys = ["email"]
    features = { kind = "vector", columns = ["pixels"] }
    [pools.rows]
    path = "rows"
    keys = ["email"]
    [pools.people]
    path = "people"
    keys = ["email"]
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "teacher.py" }
    over = ["taught"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 20, batch_rows = 64, learning_rate = 0.05, workers = 1 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 1 }
"""
CASCADE = """
    [cascade.sure]
    student = "small"
    on = "people"
    to = "{to}"
    at_least = {at_least}
    confidence = 0.9
    by = "{by}"
"""


def write_rows_of(folder: Path, shards: list[int], seed: int, *, blur: float = 0.0) -> None:
    """Rows whose `kind` is the largest of their first three numbers, but of a share of those where
    two are close, where chance says it."""
    folder.mkdir(parents=True)
    for number, rows in enumerate(shards):
        draw = np.random.default_rng([seed, number])
        pixels = draw.normal(size=(rows, 4)).astype(np.float32)
        ordered = np.sort(pixels[:, :3], axis=1)
        is_close = ordered[:, 2] - ordered[:, 1] < 0.7
        drawn = draw.integers(3, size=rows)
        blurred = is_close & (draw.random(rows) < blur)
        kinds = np.where(blurred, drawn, pixels[:, :3].argmax(axis=1))
        columns = {
            "pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), 4),
            "kind": pa.array(["abc"[kind] for kind in kinds]),
            "email": pa.array([f"{number}-{row}@example.org" for row in range(rows)]),
        }
        pq.write_table(pa.table(columns), folder / f"part-{number:05d}.parquet", row_group_size=64)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Path:
    """A folder with the pools, a job and its trained student."""
    folder = tmp_path_factory.mktemp("applied")
    write_rows_of(folder / "taught", [256], seed=1)
    write_rows_of(folder / "rows", [150, 90, 200], seed=2)
    write_rows_of(folder / "people", [400], seed=3, blur=0.6)
    (folder / "teacher.py").write_text(DOUBLING, "utf-8")
    job = load_job(write_job(folder, TABLES))
    label_pool(job, "teacher", engine="local")
    train_students(job, engine="local")
    return folder


@pytest.fixture
def applying(trained, tmp_path):
    """A function of more tables: the job with them, over a copy of the root."""

    def make(more: str = "", name: str = "job") -> Job:
        folder = tmp_path / name
        shutil.copytree(trained, folder, copy_function=shutil.copy2)
        return load_job(write_job(folder, TABLES + more))

    return make
