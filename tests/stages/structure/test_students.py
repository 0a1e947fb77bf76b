"""What structures are for in training: a target made smaller by PCA, and a head that keeps cluster
structure."""

from __future__ import annotations

import numpy as np
import torch

from distill.labelers.network import load_network
from distill.plan.identity import find_student
from distill.plan.workspace import Workspace
from distill.run import run_job
from tests.stages.structure.conftest import arrays

TAUGHT = """
    [labels.embedding]
    labeler = { kind = "custom", file = "embedding.py" }
    over = ["rows"]
    max_rejected_fraction = 0.9
    [structure.axes]
    of = "labels.embedding"
    model = { kind = "pca", components = 2 }
    [labels.compressed]
    labeler = { kind = "structure", structure = "axes", gives = "coordinates" }
    over = ["rows"]
    max_rejected_fraction = 0.9
    [structure.groups]
    of = "structure.axes"
    model = { kind = "kmeans", k = 3 }
    [labels.soft]
    labeler = { kind = "structure", structure = "groups", gives = "soft" }
    over = ["rows"]
    max_rejected_fraction = 0.9
    [labels.cluster]
    labeler = { kind = "structure", structure = "groups", gives = "cluster" }
    over = ["rows"]
    max_rejected_fraction = 0.9
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 40, batch_rows = 32, lanes = 4, learning_rate = 0.05 }
    [[students.small.terms]]
    learns = "labels.compressed"
    head = "axes"
    loss = { kind = "mse" }
    row_weight = { kind = "cluster_balance", labels = "cluster" }
    [[students.small.terms]]
    learns = "labels.soft"
    head = "groups"
    loss = { kind = "kl" }
    weight = 0.5
"""


def test_a_student_cannot_learn_a_compressed_embedding_or_soft_clusters(structure_job):
    job, rows = structure_job(TAUGHT)
    run_job(job, lambda _: None, engine="local")
    (variant,) = job.variants
    folder, record = find_student(Workspace(job), variant)
    assert record.widths == {"axes": 2, "groups": 3}
    embedding = rows[:, :1] + rows
    usable = np.isfinite(rows).all(axis=1) & (rows[:, 0] <= 1.5)
    found, due = arrays(job, "axes"), embedding[usable]
    coordinates = (due - found["mean"]) @ found["components"].T
    answers = load_network(folder.uri, record)(torch.from_numpy(rows[usable]))
    axes = answers["axes"].detach().numpy()
    unexplained = ((axes - coordinates) ** 2).sum() / (
        (coordinates - coordinates.mean(0)) ** 2
    ).sum()
    assert unexplained < 0.05
    centres = arrays(job, "groups")["centres"]
    cluster = ((coordinates[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    agreed = answers["groups"].detach().numpy().argmax(axis=1) == cluster
    assert agreed.mean() > 0.8
