"""A job whose students were taught, in this process, by one rank."""

from __future__ import annotations

import pytest

from distill.engine import WorkerContext
from distill.train.lesson import student_lesson
from distill.train.loop import teach_all
from tests.making import label_by_worker
from tests.tiny import tiny_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"], scale = 0.5 }
    private = ["email"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [labels.many]
    labeler = { kind = "custom", file = "mine.py", name = "Many" }
    over = ["rows"]
    [labels.size]
    labeler = { kind = "custom", file = "mine.py", name = "Size" }
    over = ["rows"]
    [students.small]
    model = MODEL
    heads = { size = { model = { kind = "linear" } } }
    training = { epochs = 2, batch_rows = 32 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 2 }
    [[students.small.terms]]
    learns = "labels.many"
    head = "many"
    loss = { kind = "binary_cross_entropy" }
    [[students.small.terms]]
    learns = "labels.size"
    head = "size"
    loss = { kind = "mse" }
"""
MINE = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")
    def label(self, features): return 2 * features[:, :3]

class Many:
    revision = "1"
    classes = ("odd", "large")
    exclusive = False
    def label(self, features): return 3 * features[:, :2]

class Size:
    revision = "1"
    kind = "value"
    def label(self, features): return features.sum(axis=1)
"""


@pytest.fixture
def taught(tmp_path):
    """`taught(model)`: the job, its only student trained."""

    def made(model):
        write_pool(tmp_path / "rows", [100, 30])
        (tmp_path / "mine.py").write_text(MINE, "utf-8")
        job = tiny_job(tmp_path, JOB.replace("MODEL", model))
        for name in job.labels:
            label_by_worker(job, name)
        job.memo.clear()
        teach_all([student_lesson(job, variant) for variant in job.variants], WorkerContext(0, 1, "cpu"))
        return job

    return made
