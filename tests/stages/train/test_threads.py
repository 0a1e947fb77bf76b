"""With one worker on a CPU, and an engine that allows no threads, nothing of the user's runs in
another thread than the caller's, so that a breakpoint in it works."""

from __future__ import annotations

import threading

import pytest

from distill.core import plugins
from distill.engine.protocol import WorkerContext
from distill.loader.dataset import Dataset
from distill.stages.train.loop import run_trainings
from tests.making import label_by_worker
from tests.resolved import plan_student
from tests.tiny import DOUBLING, tiny_job, write_pool

OWN = """
import threading

import torch
from torch import nn

THREADS = {}


class Watched(torch.autograd.Function):
    @staticmethod
    def forward(context, values):
        return values.clone()

    @staticmethod
    def backward(context, gradient):
        note("backward")
        return gradient


def note(what):
    THREADS.setdefault(threading.current_thread().name, set()).add(what)


def loss(student, taught):
    note("loss")
    return (Watched.apply(student) - taught).square().mean(dim=1)


def measure(student, target):
    note("measure")
    return -student.log_softmax(1)[:, 0]


class Trunk(nn.Module):
    revision = "1"

    def __init__(self, in_features, **_):
        super().__init__()
        self.layer = nn.Linear(in_features, 5)

    def forward(self, x):
        note("network")
        return self.layer(x)
"""
JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.validation]
    path = "validation"
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "custom", file = "own.py", name = "Trunk" }
    training = { epochs = 2, batch_rows = 32, lanes = 4, gradients = "GRADIENTS" }
    early_stop = { learns = "pools.validation", loss = { kind = "custom", file = "own.py", name = "measure" } }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "custom", file = "own.py", name = "loss" }
"""


@pytest.mark.parametrize("gradients", ["lanes", "workers"])
def test_a_network_or_a_loss_of_the_users_own_runs_in_another_thread(
    tmp_path, monkeypatch, gradients
):
    for name in ("rows", "validation"):
        write_pool(tmp_path / name, [70])
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    (tmp_path / "own.py").write_text(OWN, "utf-8")
    job = tiny_job(tmp_path, JOB.replace("GRADIENTS", gradients))
    label_by_worker(job, "teacher")
    plan = plan_student(job, job.variants[0])
    threads = plan.terms[0].own.file.load("THREADS")
    threads.clear()
    # a plugin may bring a pool format, which reads the rows
    monkeypatch.setattr(plugins, "_loaded", {"sha256": None})
    load = Dataset.load

    def noted(dataset, chunk):
        threads.setdefault(threading.current_thread().name, set()).add("format")
        return load(dataset, chunk)

    monkeypatch.setattr(Dataset, "load", noted)
    run_trainings([plan], WorkerContext(0, 1, "cpu", threads=False))
    what = {"network", "loss", "backward", "measure", "format"}
    assert threads == {threading.current_thread().name: what}
