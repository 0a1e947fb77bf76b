"""One training of all that a training can be: the same batches, weights, projections and held-out
measures to the last bit, whatever the number of workers and whoever is killed.

What each feature does is held against a plain loop in the test of its own, with one worker; here
they are together, and what is new is other workers and kills. Its features: terms of labels, of
values and of a target; a head of another width than its values (projected), networks of the user's
own with a frozen layer and dropout, a loss of the user's own, row weights, a weight that moves, a
source with a share of the batch, an early stop, clipping, decay and a schedule.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.torch import load

from distill.models.record import read_weights
from distill.plan.load import load_job
from tests.making import label_by_worker
from tests.resolved import find_student
from tests.stages.train.own_job import TRUNK
from tests.stages.train.ranks import seen, train
from tests.tiny import DOUBLING, blur_kinds, write_job, write_pool

BATCH_ROWS = 32
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.known]
    path = "known"
    target = "kind"
    classes = ["a", "b", "c"]
    [pools.validation]
    path = "validation"
    target = "kind"
    classes = ["c", "a", "b"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [labels.few]
    labeler = { kind = "custom", file = "mine.py" }
    encoding = { kind = "topk", k = 2 }
    over = ["rows"]
    [labels.wide]
    labeler = { kind = "custom", file = "wide.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "custom", file = "trunk.py", options = { hidden = 12, dropout = DROPOUT } }
    batch_share = { known = 0.5 }
    [students.small.training]
    epochs = 12
    batch_rows = 32
    lanes = 4
    gradients = "GRADIENTS"
    learning_rate = 0.02
    schedule = "cosine"
    warmup_fraction = 0.1
    clip_norm = 0.5
    weight_decay = 0.1
    checkpoint_epochs = 2
    checkpoint_steps = 5
    [students.small.heads.hint]
    width = 5
    [students.small.heads.main]
    model = { kind = "custom", file = "trunk.py", name = "Wide", options = { hidden = 6 } }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 2 }
    row_weight = { kind = "confidence" }
    [[students.small.terms]]
    learns = "labels.few"
    loss = { kind = "kl" }
    ramp = { over = 0.5 }
    [[students.small.terms]]
    learns = "labels.wide"
    loss = { kind = "mse" }
    head = "hint"
    weight = 0.7
    [[students.small.terms]]
    learns = "labels.wide"
    loss = { kind = "custom", file = "loss.py" }
    head = "hint"
    weight = 0.1
    [[students.small.terms]]
    learns = "pools.known"
    loss = { kind = "cross_entropy" }
"""
STOP = """
    [students.small.early_stop]
    learns = "pools.validation"
    patience = 2
"""
WIDE = """
import numpy as np

class Labeler:
    revision, kind, width = "1", "value", 12
    def label(self, features): return np.tanh(np.tile(features, (1, 3)))
"""
LOSS = """
def loss(student, taught):
    return (student - taught).abs().sum(1)
"""


def job_text(gradients="lanes", dropout=0.2, stop=STOP):
    return JOB.replace("GRADIENTS", gradients).replace("DROPOUT", str(dropout)) + stop


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("everything")
    for name, shards in {"rows": [150, 90], "known": [50], "validation": [70]}.items():
        write_pool(folder / name, shards)
    for seed, name in enumerate(("known", "validation")):
        blur_kinds(folder / name, seed)
    files = {"mine.py": DOUBLING, "wide.py": WIDE, "trunk.py": TRUNK, "loss.py": LOSS}
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    job = load_job(write_job(folder, job_text()))
    for name in job.labels:
        label_by_worker(job, name)
    return folder


def copied(labelled, folder, **changes):
    shutil.copytree(labelled, folder)
    return write_job(folder, job_text(**changes))


def kept(job_file):
    """All that a training leaves: its record, its weights, and the tensors of its last checkpoint,
    projections and the best epoch's weights among them."""
    job = load_job(job_file)
    folder, record = find_student(job, job.variants[0])
    newest = sorted((Path(folder.uri) / "checkpoints").glob("*.safetensors"))[-1]
    return record, read_weights(folder, record), safetensors.torch.load_file(newest)


def require_same(job_file, due):
    record, weights, checkpoint = kept(job_file)
    due_record, due_weights, due_checkpoint = due
    assert weights == due_weights
    assert checkpoint.keys() == due_checkpoint.keys()
    assert all(torch.equal(checkpoint[name], due_checkpoint[name]) for name in checkpoint)
    for mine, theirs in zip(record.details["history"], due_record.details["history"], strict=True):
        for name in ("epoch", "held_out", "better"):
            assert mine[name] == theirs[name]
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


@pytest.fixture(scope="module")
def undisturbed(labelled, tmp_path_factory):
    """What one worker leaves that nothing disturbs, and which rows each step saw."""
    folder = tmp_path_factory.mktemp("undisturbed") / "job"
    job = copied(labelled, folder)
    train(job, 1, folder / "log")
    return kept(job), seen(folder / "log", 1)


def test_all_features_are_at_work(undisturbed):
    (record, _, checkpoint), rows = undisturbed
    details = record.details
    assert 1 < details["best_epoch"] < details["epochs"] < 12, "it stops early, and not at its best"
    assert len(rows) == details["steps"]
    assert details["projection_parameters"] == 2 * (5 * 12 + 12)
    assert {name.partition(".")[0] for name in checkpoint} >= {"network", "best"}
    assert sum("projections" in name for name in checkpoint) == 4
    assert len(details["terms"]) == 5


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_another_number_of_workers_leaves_other_weights_or_sees_other_rows(
    labelled, undisturbed, tmp_path, workers
):
    """One of two is started cold, so that they hash strings by different seeds."""
    job = copied(labelled, tmp_path / "job")
    train(job, workers, tmp_path / "log", cold=1 if workers == 2 else -1)
    due, rows = undisturbed
    require_same(job, due)
    assert seen(tmp_path / "log", workers) == rows


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))]
)
def test_a_killed_rank_or_workers_that_come_and_go_change_the_weights(
    labelled, undisturbed, tmp_path, seed
):
    """Killed at a step that a seed draws, then gone on with another number of workers, and killed
    again: 20 kills over all seeds."""
    draw, job = np.random.default_rng(seed), copied(labelled, tmp_path / "job")
    due, rows = undisturbed
    steps = due[0].details["steps"]
    first, second = sorted(draw.choice(np.arange(1, steps), 2, replace=False).tolist())
    last: dict[int, list[int]] = {}
    for number, (workers, dies_at) in enumerate([(2, first), (1, second), (4, -1)]):
        log = tmp_path / f"log{number}"
        train(job, workers, log, dies_at=dies_at, dying=int(draw.integers(workers)))
        whole = {step: each for step, each in seen(log, workers).items() if len(each) == BATCH_ROWS}
        last |= whole
    require_same(job, due)
    assert last == rows
    folder, record = find_student(load_job(job), load_job(job).variants[0])
    lines = [json.loads(line) for line in folder.read("metrics.jsonl").splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, record.details["epochs"] + 1))


def test_a_killed_rank_of_data_parallel_workers_changes_the_weights(labelled, tmp_path):
    left = []
    for name, deaths in (("whole", []), ("killed", [7])):
        job = copied(labelled, tmp_path / name, gradients="workers")
        for dies_at in [*deaths, -1]:
            train(job, 2, tmp_path / f"log-{name}", dies_at=dies_at, dying=1)
        left.append(kept(job))
    assert left[0][1] == left[1][1]


def test_data_parallel_workers_learn_otherwise_than_lanes(labelled, tmp_path):
    """Without dropout, whose draws differ, and a stop, which two nearly equal measures may move."""
    left = []
    for gradients, workers in (("lanes", 1), ("workers", 2)):
        job = copied(labelled, tmp_path / gradients, gradients=gradients, dropout=0.0, stop="")
        train(job, workers, tmp_path / f"log-{gradients}")
        left.append(kept(job))
    (_, due, due_checkpoint), (_, stored, checkpoint) = left
    due, stored = load(due), load(stored)
    assert due.keys() == stored.keys()
    for name, value in stored.items():
        torch.testing.assert_close(value, due[name], rtol=1e-3, atol=1e-4)
    projections = [name for name in checkpoint if name.startswith("network.projections.")]
    assert len(projections) == 4
    for name in projections:
        torch.testing.assert_close(checkpoint[name], due_checkpoint[name], rtol=1e-3, atol=1e-4)
