"""Networks of the user's own through the real training; then judged, and labelling. Other workers and
kills: `test_everything`."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from distill.core.errors import JobError
from distill.engine.protocol import WorkerContext
from distill.labelers.network import load_network
from distill.loader.dataset import Dataset, TargetColumn
from distill.models.network import build_network
from distill.models.record import NetworkPlan
from distill.plan.load import load_job
from distill.stages.evaluate.evaluator import TARGET, Evaluator
from distill.stages.evaluate.metrics import measures
from distill.stages.train.loop import run_trainings
from tests.making import label_by_worker, stored_outputs, train_here
from tests.resolved import (
    check_inputs,
    find_candidates,
    find_fit,
    fit_code,
    label_set,
    open_pool,
    plan_fit,
    pool_outputs,
)
from tests.stages.train.own_job import (
    JOB,
    TRUNK,
    answered,
    code_of,
    copied,
    labelled,
    loaded,
    names,
    pixels,
    trained,
)
from tests.tiny import write_job

__all__ = ["labelled", "trained"]


def test_a_frozen_layer_moves_or_the_record_says_other_code(trained):
    (record, network), job = loaded(trained), load_job(trained)
    before = build_network(NetworkPlan.from_plain(record.plan, code_of(job)), job.seed)
    assert torch.equal(network.trunk.drawn.weight, before.trunk.drawn.weight)
    assert not torch.equal(network.trunk.first.weight, before.trunk.first.weight)
    kept = {key: each["revision"] for key, each in record.plan["code"].items()}
    assert kept == {"model": "1", "heads.main.model": "one"}
    assert record.head_parameters == {
        "main": (4 * 6 + 6) + (6 * 3 + 3),
        "hard": 4 * 12 + 12 + 12 * 13 + 24 + 12 * 3 + 3,
    }
    stored = [
        file
        for file in (trained.parent / "root").rglob("*")
        if file.is_file() and "export" not in file.parts
    ]
    assert not [file for file in stored if b"residual block" in file.read_bytes()]


def test_its_heads_are_judged_by_other_answers(trained):
    job = load_job(trained)
    pool, truth = open_pool(job, "test"), pool_outputs(job, "test")
    candidates = find_candidates(job, pool)
    assert [each.name for each in candidates] == ["small · main", "small · hard"]
    dataset = Dataset(
        (pool.inventory,), pool.features, pool.width, {TARGET: TargetColumn("kind", truth)}
    )
    judge = Evaluator(dataset, truth, tuple(each.method for each in candidates), None)
    (chunk,) = dataset.chunks(1000)
    tallies = judge(chunk)
    file = trained.parent / "test" / "part-00000.parquet"
    said, kinds = answered(trained, pixels(file)), pq.read_table(file)["kind"].to_pylist()
    for each in candidates:
        due = np.mean(
            [mine == kind for mine, kind in zip(names(said[each.method.head]), kinds, strict=True)]
        )
        assert measures(tallies[each.method.key], [True] * 3)["accuracy"] == pytest.approx(due)


def test_a_module_that_cannot_be_trained_is_found_out_by_a_worker(labelled, tmp_path):
    job = copied(labelled, tmp_path / "job")
    (tmp_path / "job" / "trunk.py").write_text(
        TRUNK.replace("nn.LayerNorm", "nn.BatchNorm1d"), "utf-8"
    )
    changed = load_job(job)
    with pytest.raises(
        JobError,
        match=r"students\.small\.model: the buffers norm\.running_mean, .*LayerNorm or GroupNorm",
    ):
        check_inputs(changed)


TIED = """
from torch import nn


class Trunk(nn.Module):
    revision = "1"

    def __init__(self, in_features, **_):
        super().__init__()
        self.there = nn.Linear(in_features, in_features)
        self.back = nn.Linear(in_features, in_features)
        self.back.weight = self.there.weight

    def forward(self, x):
        return self.back(self.there(x).tanh())
"""


def test_weights_that_a_network_has_under_two_names_cannot_be_kept(labelled, tmp_path):
    job = load_job(copied(labelled, tmp_path / "job"))
    (tmp_path / "job" / "trunk.py").write_text(
        TIED + "".join(TRUNK.partition("class Wide")[1:]), "utf-8"
    )
    train_here(job)
    _, network = loaded(job.path)
    assert torch.equal(network.trunk.back.weight, network.trunk.there.weight)


FIT = '\n    [fit.large]\n    model = { kind = "custom", file = "trunk.py", name = "Wide", options = { hidden = 9 } }\n    on = "known"\n'
FITTED = (
    '    [labels.fitted]\n    labeler = { kind = "fitted", fit = "large" }\n    over = ["rows"]\n'
)


def test_a_fitted_network_of_ones_own_labels_otherwise_than_it_answers(labelled, tmp_path):
    shutil.copytree(labelled, tmp_path / "job")
    job = load_job(write_job(tmp_path / "job", JOB + FIT + FITTED))
    run_trainings([plan_fit(job, "large")], WorkerContext(0, 1, "cpu"))
    assert not [each.failure for each in label_by_worker(job, "fitted")["rows"] if each.failure]
    stored = stored_outputs(label_set(job, "fitted", "rows"))
    folder, record = find_fit(job, "large")
    rows = torch.from_numpy(pixels(*sorted((tmp_path / "job" / "rows").iterdir())))
    due = load_network(folder.uri, record, fit_code(job, "large"))(rows)["main"].detach()
    np.testing.assert_allclose(stored, due, atol=1e-5)
