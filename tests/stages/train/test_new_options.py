"""Options of a training under other workers and kills: tables moved row by row, texts of like length
within a budget, rates by layer, and BatchNorm's statistics. The weights are the same to the last bit
by `lanes`, and after a kill always."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load

from distill.models.record import read_weights
from distill.plan.load import load_job
from tests.making import label_by_worker
from tests.resolved import find_student
from tests.stages.train.own_job import JOB as OWN_JOB
from tests.stages.train.own_job import TRUNK, copied, labelled
from tests.stages.train.ranks import seen, train
from tests.tiny import write_job

__all__ = ["labelled"]

TEXTS = 230
TEXT_JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "text", column = "text" }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "ngram_bag", buckets = 140_000, hidden = 8, most = 64, dropout = 0.1 }
    training = { epochs = 4, batch_rows = 32, lanes = 4, learning_rate = 0.02, checkpoint_steps = 5, weight_decay = 0.01, schedule = "cosine", MORE }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
"""
LABELER = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        return np.array([[text.count(name) for name in "abc"] for text in features], np.float32)
"""


def made(folder, more):
    """A job of texts of 1 to 60 words, labelled."""
    draw = np.random.default_rng(0)
    words = np.array([f"{first}{second}" for first in "abcdefgh" for second in "stuvwxyz"])
    lengths = draw.integers(1, 61, size=TEXTS)
    texts = [" ".join(words[draw.zipf(1.4, size=length) % len(words)]) for length in lengths]
    (folder / "rows").mkdir(parents=True)
    table = pa.table({"text": texts})
    pq.write_table(table, folder / "rows" / "part.parquet", row_group_size=50)
    (folder / "mine.py").write_text(LABELER, "utf-8")
    job = load_job(write_job(folder, TEXT_JOB.replace("MORE", more)))
    label_by_worker(job, "teacher")
    return job


def weights(job_file):
    job = load_job(job_file)
    folder, record = find_student(job, job.variants[0])
    return load(read_weights(folder, record))


def require_same(got, due, tolerance=None):
    assert got.keys() == due.keys()
    for name, values in due.items():
        if tolerance is None:
            assert torch.equal(got[name], values), name
        else:
            torch.testing.assert_close(got[name], values, rtol=tolerance, atol=tolerance)


def trained(folder, make, workers, deaths=()):
    """The weights that so many workers leave, and the rows of each step."""
    job_file = make(folder)
    for number, (others, step) in enumerate(deaths):
        train(job_file, others, folder / f"log{number}", dies_at=step, dying=others - 1)
    train(job_file, workers, folder / "log")
    return weights(job_file), seen(folder / "log", workers)


LANES = 'gradients = "lanes", tokens = 96, layer_decay = 0.5, clip_norm = 0.5'
WORKERS = "tokens = 96, head_learning_rate = 0.05"


def text_job(more):
    return lambda folder: made(folder, more).path


def test_a_text_student_differs_by_its_workers_or_by_kills(tmp_path):
    due, rows = trained(tmp_path / "one", text_job(LANES), 1)
    for workers in (2, 3):
        got, others = trained(tmp_path / f"{workers}", text_job(LANES), workers)
        require_same(got, due)
        assert others == rows
    got, _ = trained(tmp_path / "killed", text_job(LANES), 2, deaths=[(1, 7), (4, 13)])
    require_same(got, due)


@pytest.mark.slow
def test_data_parallel_text_students_differ_by_kills_or_much_from_one_worker(tmp_path):
    due, _ = trained(tmp_path / "two", text_job(WORKERS), 2)
    got, _ = trained(tmp_path / "killed", text_job(WORKERS), 2, deaths=[(2, 3), (2, 22)])
    require_same(got, due)
    more = WORKERS
    calm = TEXT_JOB.replace("dropout = 0.1", "dropout = 0.0")
    ends = []
    for workers in (1, 2):
        folder = tmp_path / f"calm{workers}"
        made(folder, more)
        write_job(folder, calm.replace("MORE", more))
        train(folder / "job.toml", workers, folder / "log")
        ends.append(weights(folder / "job.toml"))
    require_same(ends[1], ends[0], 2e-3)


def norm_job(labelled, gradients):
    text = OWN_JOB.replace(
        "clip_norm = 0.5",
        f'clip_norm = 0.5, batch_norm = "sync", gradients = "{gradients}", checkpoint_steps = 3',
    ).replace("dropout = 0.2", "dropout = 0.0")

    def make(folder):
        copied(labelled, folder)
        (folder / "trunk.py").write_text(TRUNK.replace("nn.LayerNorm", "nn.BatchNorm1d"), "utf-8")
        return write_job(folder, text)

    return make


def test_statistics_of_batch_norm_differ_by_the_lanes_workers_or_by_kills(labelled, tmp_path):
    make = norm_job(labelled, "lanes")
    due, _ = trained(tmp_path / "one", make, 1)
    assert "trunk.norm.running_mean" in due
    assert due["trunk.norm.running_mean"].abs().max() > 0
    require_same(trained(tmp_path / "two", make, 2)[0], due)
    require_same(trained(tmp_path / "three", make, 3)[0], due)
    require_same(trained(tmp_path / "killed", make, 1, deaths=[(2, 4), (4, 17)])[0], due)


@pytest.mark.slow
def test_statistics_over_two_workers_are_other_than_those_of_one(labelled, tmp_path):
    make = norm_job(labelled, "workers")
    due, _ = trained(tmp_path / "one", make, 1)
    got, _ = trained(tmp_path / "two", make, 2)
    require_same(got, due, 2e-3)
    require_same(trained(tmp_path / "killed", make, 2, deaths=[(2, 5)])[0], got)
