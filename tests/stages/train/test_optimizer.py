"""How weights move: as torch's plain optimisers move them, at a rate that rises and falls as the
job says."""

from __future__ import annotations

import math

import pytest
import torch

from distill.spec.models import Training
from distill.stages.train.optimizer import learning_rate, make_optimizer

PLAIN = {
    "adamw": lambda moved: torch.optim.AdamW(moved, lr=0.01, weight_decay=0.1, foreach=False),
    "sgd": lambda moved: torch.optim.SGD(
        moved, lr=0.01, momentum=0.9, weight_decay=0.1, foreach=False
    ),
}


@pytest.mark.parametrize("name", PLAIN)
def test_one_pass_over_the_weights_moves_them_elsewhere(name):
    moved, training = [], Training(optimizer=name, learning_rate=0.01, weight_decay=0.1)
    for make in (
        lambda network: make_optimizer(training, network),
        lambda network: PLAIN[name](network.parameters()),
    ):
        torch.manual_seed(0)
        network = torch.nn.Linear(5, 3)
        optimizer = make(network)
        for step in range(20):
            optimizer.zero_grad()
            network(torch.full((2, 5), math.sin(step))).square().sum().backward()
            optimizer.step()
        moved.append(network.weight.detach())
    torch.testing.assert_close(*moved, rtol=1e-5, atol=1e-6)


def column_major():
    return torch.arange(15.0).view(3, 5).t()


def with_gaps():
    return torch.arange(30.0).view(5, 6)[:, :3]


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("laid_out", [column_major, with_gaps])
def test_a_gradient_that_is_laid_out_in_another_way_moves_other_weights(name, laid_out):
    """Lanes' gradients and restored states are row-major, whatever their weight is."""
    moved, training = [], Training(optimizer=name, learning_rate=0.01, weight_decay=0.1)
    for make in (
        lambda network: make_optimizer(training, network),
        lambda network: PLAIN[name](network.parameters()),
    ):
        network = torch.nn.ParameterList([torch.nn.Parameter(laid_out())])
        optimizer = make(network)
        for step in range(3):
            network[0].grad = torch.arange(15.0).view(5, 3) + step
            optimizer.step()
        moved.append(network[0].detach())
    torch.testing.assert_close(*moved, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PLAIN)
def test_a_weight_that_gets_its_first_gradient_late_ends_the_training(name):
    """A branch that a network skips at random."""
    network = torch.nn.ParameterList([torch.nn.Parameter(torch.ones(2)) for _ in range(2)])
    optimizer = make_optimizer(Training(optimizer=name), network)
    for step in range(3):
        network[0].grad = torch.ones(2)
        network[1].grad = torch.ones(2) if step else None
        optimizer.step()
    assert (network[1] < 1).all()


@pytest.mark.parametrize(
    ("schedule", "due"),
    [
        ("constant", [1.0, 1.0, 1.0, 1.0]),
        ("linear", [1.0, 0.75, 0.5, 0.25]),
        ("cosine", [1.0, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2]),
    ],
)
def test_a_rate_does_not_fall_by_its_schedule_or_starts_it_during_the_warm_up(schedule, due):
    """Of six steps two warm up: a third of the rate, two thirds, and the four that are left follow
    the schedule."""
    training = Training(schedule=schedule, learning_rate=3.0, warmup_fraction=0.3)
    rates = [learning_rate(training, step, 6) for step in range(6)]
    assert rates == pytest.approx([1.0, 2.0, *(3 * share for share in due)])
