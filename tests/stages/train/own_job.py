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
from tests.making import label_by_worker
from tests.resolved import find_student, student_code
from tests.stages.train.ranks import train
from tests.stages.train.test_gradients import JOB, LANES
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
OWN = '{ kind = "custom", file = "trunk.py", options = { hidden = 12, dropout = 0.2 } }'
HEADS = '[students.small.heads.main]\n    model = { kind = "custom", file = "trunk.py", name = "Wide", options = { hidden = 6 } }'
HARD = '[[students.small.terms]]\n    learns = "pools.known"\n    head = "hard"'
JUDGED = '\n    [pools.test]\n    path = "test"\n    target = "kind"\n    classes = ["a", "b", "c"]\n    [evaluate]\n    on = "test"\n'


def job_text(gradients):
    """The main head has a network of its own; the head `hard` sits on the trunk."""
    text = JOB.replace("GRADIENTS", gradients).replace(
        '{ kind = "mlp", hidden = [16], dropout = 0.2 }', OWN
    )
    text = text.replace("[[students.small.terms]]", f"{HEADS}\n    [[students.small.terms]]", 1)
    return text.replace('[[students.small.terms]]\n    learns = "pools.known"', HARD) + JUDGED


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("own")
    for name, shards in {"rows": [150, 90], "known": [50], "test": [40]}.items():
        write_pool(folder / name, shards)
    (folder / "mine.py").write_text(DOUBLING, "utf-8")
    (folder / "trunk.py").write_text(TRUNK, "utf-8")
    label_by_worker(load_job(write_job(folder, job_text(LANES))), "teacher")
    return folder


def copied(labelled, folder, gradients=LANES):
    shutil.copytree(labelled, folder)
    return write_job(folder, job_text(gradients))


@pytest.fixture(scope="module")
def trained(labelled, tmp_path_factory):
    """The job file of a student that one worker taught to the end."""
    folder = tmp_path_factory.mktemp("trained") / "job"
    job = copied(labelled, folder)
    train(job, 1, folder / "log")
    return job


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
