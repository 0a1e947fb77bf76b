"""A job that brings a loss, a pool format, a labeler and a network of its own, one file each, on
either engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from distill.models.record import read_weights
from distill.plan.load import load_job
from distill.run import run_job
from tests.resolved import find_student, label_set
from tests.tiny import write_job

PLUGINS = Path(__file__).parent / "fixtures" / "plugins"
FILES = [
    str(PLUGINS / f"{name}.py")
    for name in ("huber_loss", "lines_format", "constant_labeler", "gelu_network")
]
JOB = f"""
    root = "root"
    plugins = {FILES}
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = {{ kind = "vector", columns = ["x", "y"] }}
    [pools.test]
    path = "test"
    features = {{ kind = "vector", columns = ["x", "y"] }}
    target = "kind"
    classes = ["0", "1"]
    [labels.teacher]
    labeler = {{ kind = "constant", classes = ["0", "1"], logits = [-1.0, 2.0] }}
    over = ["rows", "test"]
    [students.small]
    model = {{ kind = "gelu", hidden = 6 }}
    training = {{ epochs = 5, batch_rows = 64, learning_rate = 0.05, gradients = "lanes" }}
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = {{ kind = "huber", delta = 0.5 }}
    [evaluate]
    on = "test"
"""
"""Nobody but the four files knows `.numbers`, `constant`, `gelu` and `huber`."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plugins")
    draw = np.random.default_rng(0)
    for pool, rows in (("rows", 150), ("test", 60)):
        (folder / pool).mkdir()
        numbers = draw.normal(size=(rows, 2))
        lines = [f"{x} {y} {int(x > 0)}" for x, y in numbers]
        (folder / pool / "part.numbers").write_text("\n".join(["x y kind", *lines]), "utf-8")
    return folder


def finished(folder, engine):
    """The label hashes of a whole run, and its student's weights."""
    job = load_job(write_job(folder, JOB), root=str(folder / engine))
    ended = run_job(job, lambda _line: None, engine=engine)
    (student,) = [method for method in ended.evaluation.methods if method.role == "student"]
    assert student.measures["agreement"] == 1
    hashes = [label_set(job, "teacher", pool).label_hash for pool in ("rows", "test")]
    return hashes, read_weights(*find_student(job, job.variants[0]))


def test_a_kind_that_a_job_brings_is_not_known_somewhere_in_this_process(folder):
    hashes, weights = finished(folder, "local")
    assert len(set(hashes)) == 2
    assert weights


@pytest.mark.ray
def test_a_kind_that_a_job_brings_is_not_known_on_a_worker_or_ray_gives_others_numbers(ray, folder):
    assert finished(folder, "ray") == finished(folder, "local")
