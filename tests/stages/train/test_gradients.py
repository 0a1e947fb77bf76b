from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from torch import nn

from distill.engine.protocol import WorkerContext
from distill.models.record import read_weights
from distill.plan.load import load_job
from distill.stages.train.gradients import LaneGradients, WorkerGradients
from tests.making import label_by_worker
from tests.resolved import find_student
from tests.stages.train.ranks import seen, train
from tests.stages.train.test_combined_loss import KL, MSE, term
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
    model = { kind = "mlp", hidden = [16], dropout = 0.2 }
    training = { epochs = 3, batch_rows = 32, lanes = 4, GRADIENTS checkpoint_epochs = 2, checkpoint_steps = 4, schedule = "cosine", clip_norm = 0.5 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 2 }
    row_weight = { kind = "confidence" }
    [[students.small.terms]]
    learns = "pools.known"
    loss = { kind = "cross_entropy" }
"""
LANES = 'gradients = "lanes",'
STEPS_PER_EPOCH = 8


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lanes")
    write_pool(folder / "rows", [150, 90])
    write_pool(folder / "known", [50])
    (folder / "mine.py").write_text(DOUBLING, "utf-8")
    label_by_worker(load_job(write_job(folder, JOB.replace("GRADIENTS", LANES))), "teacher")
    return folder


def copied(labelled, folder, gradients=LANES):
    shutil.copytree(labelled, folder)
    return write_job(folder, JOB.replace("GRADIENTS", gradients))


def weights(job):
    loaded = load_job(job)
    folder, record = find_student(loaded, loaded.variants[0])
    return record, read_weights(folder, record)


@pytest.fixture(scope="module")
def undisturbed(labelled, tmp_path_factory):
    """One worker, to the end: its weights, and which rows each step saw."""
    folder = tmp_path_factory.mktemp("undisturbed") / "job"
    job = copied(labelled, folder)
    train(job, 1, folder / "log")
    return *weights(job), seen(folder / "log", 1)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_another_number_of_workers_gives_other_weights_or_rows(
    labelled, undisturbed, tmp_path, workers
):
    job = copied(labelled, tmp_path / "job")
    train(job, workers, tmp_path / "log")
    record, stored = weights(job)
    due, due_stored, rows = undisturbed
    assert stored == due_stored
    assert seen(tmp_path / "log", workers) == rows
    for mine, theirs in zip(record.details["history"], due.details["history"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 10))]
)
def test_a_killed_rank_or_workers_that_come_and_go_change_the_weights(
    labelled, undisturbed, tmp_path, seed
):
    """Killed at a step that a seed draws, then gone on with another number of workers, and killed
    again: 20 kills over all seeds."""
    draw, job = np.random.default_rng(seed), copied(labelled, tmp_path / "job")
    due, due_stored, rows = undisturbed
    last: dict[int, list[int]] = {}
    first, second = sorted(
        draw.choice(np.arange(1, 3 * STEPS_PER_EPOCH), 2, replace=False).tolist()
    )
    for number, (workers, dies_at) in enumerate([(2, first), (1, second), (2, -1)]):
        log = tmp_path / f"log{number}"
        train(job, workers, log, dies_at=dies_at, dying=int(draw.integers(workers)))
        last |= {step: rows for step, rows in seen(log, workers).items() if len(rows) == 32}
    record, stored = weights(job)
    assert last == rows
    assert stored == due_stored
    assert [each["epoch"] for each in record.details["history"]] == [1, 2, 3]
    for mine, theirs in zip(record.details["history"], due.details["history"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=1e-5)


def test_a_killed_rank_of_data_parallel_workers_changes_the_weights(labelled, tmp_path):
    stored = []
    for name, deaths in (("whole", []), ("killed", [5])):
        job = copied(labelled, tmp_path / name, "")
        for dies_at in [*deaths, -1]:
            train(job, 2, tmp_path / f"log-{name}", dies_at=dies_at, dying=1)
        stored.append(weights(job)[1])
    assert stored[0] == stored[1]


TERMS = (term("0", KL, 1.0), term("1", MSE, 0.5, source=1, head="size"))


def some_batches():
    draw = np.random.default_rng(0)
    features = [draw.normal(size=(rows, 5)).astype(np.float32) for rows in (24, 24)]
    said = [{"0.outputs": draw.normal(size=(24, 3))}, {"1.outputs": draw.normal(size=(24, 2))}]
    return [
        {
            "features": x, "row": np.arange(24), f"{number}.weight": (draw.random(24) > 0.4).astype(np.float32),
            **{name: values.astype(np.float32) for name, values in each.items()},
        }
        for number, (x, each) in enumerate(zip(features, said, strict=True))
    ]  # fmt: skip


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.main, self.size, self.idle = nn.Linear(5, 3), nn.Linear(5, 2), nn.Linear(5, 2)

    def forward(self, x):
        return {"main": self.main(x), "size": self.size(x)}


@pytest.mark.parametrize("lanes", [1, 3, 8])
def test_lanes_add_up_to_another_gradient_than_the_whole_batch(lanes):
    from distill.stages.train.combined_loss import CombinedLoss

    made = []
    for kind, more in ((WorkerGradients, ()), (LaneGradients, (lanes,))):
        network = TwoHeads()
        gradients = kind(
            network,
            CombinedLoss(TERMS, "cpu"),
            WorkerContext(0, 1, "cpu"),
            lambda model: model,
            *more,
        )
        summed = gradients.backward(0, 0, some_batches())
        made.append((summed, {name: each.grad for name, each in network.named_parameters()}))
    torch.testing.assert_close(made[0][0], made[1][0])
    for name, due in made[0][1].items():
        mine = made[1][1][name]
        torch.testing.assert_close(
            mine, torch.zeros_like(mine) if due is None else due, rtol=1e-5, atol=1e-6
        )
