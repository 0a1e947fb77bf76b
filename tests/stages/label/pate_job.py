"""A tiny job of teachers and their noisy votes; `python -m tests.stages.label.pate_job JOB` labels
it in a process that may be killed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.job.job import Job
from distill.plan.load import load_job
from distill.run import fit_labelers, label_pool
from tests.tiny import write_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64

    [pools.unlabelled]
    path = "unlabelled"
    features = {{ kind = "vector", columns = ["pixels"] }}

    [pools.private]
    path = "private"
    target = "kind"
    classes = ["a", "b", "c"]
    features = {{ kind = "vector", columns = ["pixels"] }}

    [fit.voters]
    model = {{ kind = "linear" }}
    on = "private"
    training = {{ epochs = 15, batch_rows = 32, learning_rate = 0.05, workers = 1 }}
    teachers = {{ count = {teachers}, by = "person" }}

    [labels.votes]
    labeler = {{ kind = "pate", fit = "voters", {labeler} }}
    over = ["unlabelled"]
"""
GNMAX = "scale = 1.5, epsilon = 20.0, delta = 1e-5"


def pate_job(folder: Path, labeler: str = GNMAX, teachers: int = 8) -> Job:
    """Write 160 unlabelled rows in two files, and 300 private ones of 60 persons."""
    write_pool(folder / "unlabelled", (96, 64))
    write_pool(folder / "private", (300,))
    (file,) = (folder / "private").iterdir()
    table = pq.read_table(file)
    pixels = table["pixels"].combine_chunks().flatten().to_numpy().reshape(-1, 4)
    # a class that three numbers tell, so that teachers of few rows agree
    kinds = pa.array(["abc"[each] for each in pixels[:, :3].argmax(axis=1)])
    table = table.set_column(1, "kind", kinds)
    persons = pa.array([f"p{number // 5}" for number in range(len(table))])
    pq.write_table(table.append_column("person", persons), file, row_group_size=64)
    path = write_job(folder, JOB.format(labeler=labeler, teachers=teachers))
    return load_job(path)


def truth(folder: Path) -> np.ndarray:
    """The class of each unlabelled row, by its first three numbers."""
    tables = [pq.read_table(file) for file in sorted((folder / "unlabelled").iterdir())]
    pixels = pa.concat_tables(tables)["pixels"].combine_chunks().flatten().to_numpy()
    return pixels.reshape(-1, 4)[:, :3].argmax(axis=1)


def label(job: Job):
    """Fit and label; return what came of it."""
    fit_labelers(job, engine="local")
    (summary,) = label_pool(job, "votes", engine="local")
    return summary


if __name__ == "__main__":
    label(load_job(Path(sys.argv[1])))
