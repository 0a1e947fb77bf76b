"""How weights move: as torch's plain optimisers move them, at a rate that rises and falls as the job says."""

from __future__ import annotations

import math

import pytest
import torch

from distill.job import Training
from distill.train.optimizer import learning_rate, make_optimizer

PLAIN = {
    "adamw": lambda moved: torch.optim.AdamW(moved, lr=0.01, weight_decay=0.1, foreach=False),
    "sgd": lambda moved: torch.optim.SGD(moved, lr=0.01, momentum=0.9, weight_decay=0.1, foreach=False),
}


@pytest.mark.parametrize("name", PLAIN)
def test_one_pass_over_the_weights_moves_them_elsewhere(name):
    moved, training = [], Training(optimizer=name, learning_rate=0.01, weight_decay=0.1)
    for make in (lambda network: make_optimizer(training, network), lambda network: PLAIN[name](network.parameters())):
        torch.manual_seed(0)
        network = torch.nn.Linear(5, 3)
        optimizer = make(network)
        for step in range(20):
            optimizer.zero_grad()
            network(torch.full((2, 5), math.sin(step))).square().sum().backward()
            optimizer.step()
        moved.append(network.weight.detach())
    torch.testing.assert_close(*moved, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_a_rate_does_not_fall_by_its_schedule_or_starts_it_during_the_warm_up(schedule, due):
    """Of six steps two warm up: a third of the rate, two thirds, and the four that are left follow the schedule."""
    training = Training(schedule=schedule, learning_rate=3.0, warmup_fraction=0.3)
    rates = [learning_rate(training, step, 6) for step in range(6)]
    assert rates == pytest.approx([1.0, 2.0, *(3 * share for share in due)])
