"""BatchNorm in training is torch's own in a plain loop; padding is in no statistics, and parts of a
network that timm makes are covered. Other workers and kills: `test_new_options`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from distill.core.errors import JobError, UnlearnableError
from distill.engine.protocol import WorkerContext
from distill.plan.load import load_job
from distill.stages.train.batch_norms import BatchNorms
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import LaneGradients, WorkerGradients
from tests.resolved import check_inputs
from tests.stages.train.own_job import JOB, TRUNK, copied, labelled
from tests.stages.train.test_combined_loss import KL, term

__all__ = ["labelled"]

HERE = WorkerContext(0, 1, "cpu")
ROWS, STEPS, LANES = 24, 20, 4


class Residual(nn.Module):
    """A network as timm's are: a stem, a depthwise block with an activation in its norm, and a
    residual; 1-dimensional statistics at its end."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        from timm.layers import BatchNormAct2d

        self.norm_act = BatchNormAct2d(8)
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.last = nn.BatchNorm1d(8, momentum=None)
        self.main = nn.Linear(8, 3)

    def forward(self, x):
        x = functional.relu(self.norm(self.stem(x.view(-1, 3, 6, 6))))
        x = x + self.pointwise(self.norm_act(self.depthwise(x)))
        return {"main": self.main(self.last(x.mean((2, 3))))}


def batch(step, padding=0):
    draw = np.random.default_rng(step)
    features = draw.normal(size=(ROWS, 108)).astype(np.float32)
    weights = np.ones(ROWS, np.float32)
    weights[:padding] = 0
    # what is rejected may be anything
    features[:padding] *= 100
    return {
        "features": features,
        "row": np.arange(ROWS),
        "0.outputs": draw.normal(size=(ROWS, 3)).astype(np.float32),
        "0.weight": weights,
    }


def trained(way, padding=0, parts=1):
    network = Residual().train()
    norms = BatchNorms(network, way, HERE)
    loss = CombinedLoss((term("0", KL, 1.0),), "cpu")
    told = (network, loss, HERE, lambda model: model)
    if way == "lanes":
        gradients = LaneGradients(*told, LANES, norms=norms)
    else:
        gradients = WorkerGradients(*told, parts=parts, norms=norms)
    return moved(network, lambda step: gradients.backward(0, step, [batch(step, padding)]))


def moved(network, backward):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    for step in range(STEPS):
        backward(step)
        optimizer.step()
    return network


def plain(padding=0, *, frozen=False):
    network = Residual().train()
    loss = CombinedLoss((term("0", KL, 1.0),), "cpu")

    def backward(step):
        optimizer_free = {
            name: torch.from_numpy(values[padding:])
            for name, values in batch(step, padding).items()
        }
        for parameter in network.parameters():
            parameter.grad = None
        if frozen:
            for layer in network.modules():
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                    layer.eval()
        outputs = network(optimizer_free["features"])
        loss([outputs], [optimizer_free], loss.known([optimizer_free]))[0].backward()

    return moved(network, backward)


def require_close(got, due, tolerance=1e-5):
    got, due = got.state_dict(), due.state_dict()
    assert got.keys() == due.keys()
    for name, values in due.items():
        torch.testing.assert_close(got[name], values, rtol=tolerance, atol=tolerance)


def test_one_worker_learns_otherwise_than_a_plain_loop():
    require_close(trained("workers"), plain(), 1e-6)


def test_padded_and_rejected_rows_are_in_the_statistics():
    require_close(trained("workers", padding=5), plain(padding=5))


def test_frozen_statistics_move():
    got = trained("frozen")
    assert torch.equal(got.norm.running_mean, torch.zeros(8))
    assert torch.equal(got.last.num_batches_tracked, torch.tensor(0))
    require_close(got, plain(frozen=True))


def test_frozen_statistics_depend_on_the_parts_of_a_batch():
    require_close(trained("frozen", parts=3), plain(frozen=True))


def test_lanes_are_normalised_by_other_rows_than_their_own():
    """By hand: the mean of the lanes' gradients, each with its own statistics, and the running ones
    by the mean of theirs."""
    network = Residual().train()
    loss = CombinedLoss((term("0", KL, 1.0),), "cpu")

    def backward(step):
        whole = {name: torch.from_numpy(values) for name, values in batch(step).items()}
        known = loss.known([whole])
        before = {name: value.clone() for name, value in network.named_buffers()}
        after = {name: torch.zeros_like(value).float() for name, value in before.items()}
        for parameter in network.parameters():
            parameter.grad = None
        for lane in range(LANES):
            network.load_state_dict(before, strict=False)
            part = {name: values[lane * 6 : lane * 6 + 6] for name, values in whole.items()}
            loss([network(part["features"])], [part], known)[0].backward()
            for name, value in network.named_buffers():
                after[name] += value.float() / LANES
        network.load_state_dict(after, strict=False)

    require_close(trained("lanes"), moved(network, backward))


def test_a_lane_of_padding_alone_makes_numbers_that_are_none():
    network = Residual().train()
    norms = BatchNorms(network, "lanes", HERE)
    loss = CombinedLoss((term("0", KL, 1.0),), "cpu")
    gradients = LaneGradients(network, loss, HERE, lambda model: model, LANES, norms=norms)
    gradients.backward(0, 0, [batch(0, padding=6)])
    assert all(each.grad.isfinite().all() for each in network.parameters())
    assert all(each.isfinite().all() for each in network.buffers())
    gradients.backward(0, 1, [batch(1, padding=ROWS)])
    assert all(each.isfinite().all() for each in network.buffers())


def test_a_layer_that_does_not_see_the_batch_first_learns_of_padding():
    network = nn.ModuleDict({"norm": nn.BatchNorm1d(3)}).train()
    norms = BatchNorms(network, "workers", HERE)
    rows = {"0.weight": torch.ones(4)}
    with norms.over([rows]), pytest.raises(UnlearnableError, match="Keep the batch first"):
        network["norm"](torch.ones(6, 3))


def with_norm(folder, more):
    (folder / "trunk.py").write_text(TRUNK.replace("nn.LayerNorm", "nn.BatchNorm1d"), "utf-8")
    text = JOB.replace("clip_norm = 0.5", f"clip_norm = 0.5{more}")
    (folder / "job.toml").write_text("\n".join(line[4:] for line in text.splitlines()), "utf-8")
    return load_job(folder / "job.toml")


def test_the_way_out_is_not_named_or_none(labelled, tmp_path):
    copied(labelled, tmp_path / "job")
    with pytest.raises(JobError, match=r'LayerNorm or GroupNorm.* batch_norm = "sync"'):
        check_inputs(with_norm(tmp_path / "job", ""))
    for way in ("sync", "frozen"):
        check_inputs(with_norm(tmp_path / "job", f', batch_norm = "{way}"'))


@pytest.mark.parametrize(
    "more",
    [
        'batch_norm = "sync", accumulate_batches = 2',
        'batch_norm = "frozen", compile = true',
        'batch_norm = "sync", activation_checkpoints = true',
        'gradients = "lanes", accumulate_batches = 2',
    ],
)
def test_keys_that_do_not_go_together_are_found_out_while_it_trains(labelled, tmp_path, more):
    copied(labelled, tmp_path / "job")
    with pytest.raises(JobError, match=r"students\.small\.training\.(batch_norm|accumulate)"):
        with_norm(tmp_path / "job", f", {more}")
