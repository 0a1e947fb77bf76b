"""A source with a share of a batch gives fewer rows a step and nothing else: the means stay means.
Workers and kills: `test_everything`."""

from __future__ import annotations

from itertools import islice

import pytest
import torch
from torch.nn import functional

from distill.engine.protocol import WorkerContext
from distill.loader.loader import Loader
from distill.models.network import build_network
from distill.plan.load import load_job
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import LaneGradients, WorkerGradients
from tests.making import label_by_worker
from tests.resolved import plan_student
from tests.tiny import DOUBLING, write_job, write_pool

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
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "mlp", hidden = [8], dropout = 0.2 }
    SHARE
    training = { epochs = 2, batch_rows = 32, lanes = 4, gradients = "lanes", checkpoint_steps = 3 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    [[students.small.terms]]
    learns = "pools.known"
    loss = { kind = "cross_entropy" }
    weight = 0.5
"""
SHARED = JOB.replace("SHARE", "batch_share = { known = 0.25 }")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("share")
    write_pool(folder / "rows", [150, 90])
    write_pool(folder / "known", [50])
    (folder / "mine.py").write_text(DOUBLING, "utf-8")
    label_by_worker(load_job(write_job(folder, SHARED)), "teacher")
    return folder


@pytest.fixture
def plan(labelled):
    loaded = load_job(write_job(labelled, SHARED))
    return plan_student(loaded, loaded.variants[0])


def batches_of(plan, count):
    made = []
    for number, dataset in enumerate(plan.sources):
        loader = Loader(dataset, plan.order(number), rank=0, workers=1)
        made.append(
            [
                {name: values.copy() for name, values in batch.items()}
                for batch in islice(loader.batches(), count)
            ]
        )
        loader.close()
    return list(zip(*made, strict=True))


def test_a_source_gives_another_number_of_rows_or_epochs_change_their_length(labelled, plan):
    assert plan.lane_rows == (8, 2)
    whole = load_job(write_job(labelled, JOB.replace("SHARE", ""), "whole.toml"))
    due = plan_student(whole, whole.variants[0])
    assert due.lane_rows == (8, 8)
    assert due.order(0).steps_per_epoch == plan.order(0).steps_per_epoch
    assert due.folder != plan.folder
    for first, second in batches_of(plan, plan.order(0).steps_per_epoch):
        assert (len(first["row"]), len(second["row"])) == (32, 8)


def test_rows_of_a_target_are_left_out_or_come_twice_in_their_epoch(plan):
    sampler = plan.order(1)
    assert sampler.steps_per_epoch == 7  # 50 rows by 8
    seen = [row for _, batch in batches_of(plan, 7) for row in batch["row"].tolist() if row >= 0]
    assert sorted(seen) == list(range(50))


@pytest.mark.parametrize("kind", [WorkerGradients, LaneGradients])
def test_a_mean_is_over_other_rows_than_those_seen(plan, kind):
    network = build_network(plan.plan).eval()
    loss = CombinedLoss(plan.terms, "cpu")
    lanes = (4,) if kind is LaneGradients else ()
    gradients = kind(network, loss, WorkerContext(0, 1, "cpu"), lambda model: model, *lanes)
    first, second = batches_of(plan, 1)[0]
    summed = gradients.backward(0, 0, [dict(first), dict(second)])
    x, y = torch.from_numpy(second["features"]), torch.from_numpy(second["1.target"])
    taught, mine = (
        torch.from_numpy(first["0.outputs"]),
        network(torch.from_numpy(first["features"]))["main"],
    )
    kl = functional.kl_div(
        mine.log_softmax(1), taught.log_softmax(1), log_target=True, reduction="batchmean"
    )
    ce = functional.cross_entropy(network(x)["main"], y)
    assert (summed[:, 0] / summed[:, 1]).tolist() == pytest.approx([kl.item(), ce.item()], rel=1e-5)
    made = torch.cat([each.grad.flatten() for each in network.parameters()])
    network.zero_grad()
    (kl + 0.5 * ce).backward()
    due = torch.cat([each.grad.flatten() for each in network.parameters()])
    torch.testing.assert_close(made, due, rtol=1e-4, atol=1e-6)
