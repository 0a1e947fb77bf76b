"""Gradients lane by lane are those of the whole batch. Workers and kills: `test_everything`."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from distill.engine.protocol import WorkerContext
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import LaneGradients, WorkerGradients, _flat_gradient
from tests.stages.train.test_combined_loss import KL, MSE, term

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


def test_a_sparse_gradient_cannot_be_sent():
    words, head = nn.Embedding(6, 2, sparse=True), nn.Linear(2, 1)
    head(words(torch.tensor([1, 4, 4]))).sum().backward()
    assert words.weight.grad.is_sparse
    parameters = [words.weight, head.weight]
    flat = _flat_gradient(parameters)
    dense = [words.weight.grad.to_dense(), head.weight.grad]
    assert torch.equal(flat, torch.cat([each.flatten() for each in dense]))
