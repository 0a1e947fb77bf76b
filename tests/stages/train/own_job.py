"""A job whose student has two networks of the user's own: what the tests of training and of exports
share."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from distill.labelers.network import load_network
from distill.plan.load import load_job
from tests.making import label_by_worker, train_here
from tests.resolved import find_student, student_code
from tests.tiny import DOUBLING, write_job, write_pool

TRUNK = '''
import torch
from torch import nn


class Trunk(nn.Module):
    """A residual block, and a layer that stays as it was drawn."""

    revision = "1"

    def __init__(self, in_features, hidden, dropout=0.0):
        super().__init__()
        self.first = nn.Linear(in_features, hidden)
        self.drawn = nn.Linear(hidden, hidden).requires_grad_(False)
        self.norm = nn.LayerNorm(hidden)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        hidden = torch.tanh(self.first(x))
        return self.dropout(self.norm(hidden + torch.tanh(self.drawn(hidden))))


class Wide(nn.Sequential):
    revision = "one"

    def __init__(self, in_features, hidden):
        super().__init__(nn.Linear(in_features, hidden), nn.GELU())
'''
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
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "custom", file = "trunk.py", options = { hidden = 12, dropout = 0.2 } }
    training = { epochs = 3, batch_rows = 32, lanes = 4, schedule = "cosine", clip_norm = 0.5 }
    [students.small.heads.main]
    model = { kind = "custom", file = "trunk.py", name = "Wide", options = { hidden = 6 } }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 2 }
    [[students.small.terms]]
    learns = "pools.known"
    head = "hard"
    loss = { kind = "cross_entropy" }
    [evaluate]
    on = "test"
"""
"""The main head has a network of its own; the head `hard` sits on the trunk."""


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for name, shards in {"rows": [150, 90], "known": [50], "test": [40]}.items():
        write_pool(folder / name, shards)
    (folder / "mine.py").write_text(DOUBLING, "utf-8")
    (folder / "trunk.py").write_text(TRUNK, "utf-8")
    label_by_worker(load_job(write_job(folder, JOB)), "teacher")
    return folder


def copied(labelled, folder):
    shutil.copytree(labelled, folder)
    return folder / "job.toml"


@pytest.fixture(scope="module")
def trained(labelled, tmp_path_factory):
    """The job file of a student that one worker taught to the end."""
    job = load_job(copied(labelled, tmp_path_factory.mktemp("trained") / "job"))
    train_here(job)
    return job.path


def loaded(job_file):
    """The student's record and network, from storage and from the source beside the job."""
    job = load_job(job_file)
    folder, record = find_student(job, job.variants[0])
    return record, load_network(folder.uri, record, code_of(job))


def code_of(job):
    return student_code(job, job.variants[0].spec, "students.small")


def pixels(*files):
    tables = [pq.read_table(file)["pixels"].combine_chunks() for file in files]
    return np.concatenate([table.flatten().to_numpy().reshape(len(table), -1) for table in tables])


def answered(job_file, rows):
    """What each head of the student says of rows."""
    with torch.inference_mode():
        return loaded(job_file)[1](torch.from_numpy(rows))


def names(logits):
    return [("a", "b", "c")[best] for best in logits.argmax(dim=1)]
