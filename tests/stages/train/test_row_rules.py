"""Rows that are moved only when a step has them end where torch's plain optimisers take them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from distill.stages.train.row_rules import HORIZON, AdamWRows, SgdRows, gauss_nodes, read_rows

STEPS, ROWS, WIDTH = 560, 40, 6
RATES = {
    "constant": lambda _: 1e-2,
    "cosine": lambda step: 0.5e-2 * (1 + math.cos(math.pi * min(step, STEPS - 1) / STEPS)),
    "warm-up": lambda step: 1e-2 * min(1.0, (step + 1) / 60),
}
PLAIN = {
    "adamw": lambda moved, decay: torch.optim.AdamW([moved], weight_decay=decay),
    "sgd": lambda moved, decay: torch.optim.SGD([moved], momentum=0.9, weight_decay=decay),
}
RULES = {"adamw": AdamWRows, "sgd": SgdRows}


def frequent_and_rare(step):
    """Rows as words are: some in every step, some once in hundreds."""
    draw = np.random.default_rng(step)
    shares = 1 / np.arange(1, ROWS + 1) ** 1.5
    rows = np.unique(draw.choice(ROWS, size=5, p=shares / shares.sum()))
    gradient = draw.normal(size=(len(rows), WIDTH)) * 10 ** draw.normal(size=(len(rows), 1))
    return torch.from_numpy(rows), torch.from_numpy(gradient)


def plainly(name, rate, decay, scale, before):
    """In float64: what is due."""
    moved = torch.nn.Parameter(before.double())
    optimizer = PLAIN[name](moved, decay)
    for step in range(STEPS):
        rows, gradient = frequent_and_rare(step)
        moved.grad = torch.zeros_like(moved)
        moved.grad[rows] = scale * gradient
        optimizer.param_groups[0]["lr"] = rate(step)
        optimizer.step()
    return moved.detach()


def by_rows(rule, scale, before):
    settled = before.clone()
    moments = [torch.zeros_like(before) for _ in rule.names]
    last = torch.zeros(ROWS, dtype=torch.int32)
    for step in range(STEPS):
        rows, gradient = frequent_and_rare(step)
        own = [moment[rows] for moment in moments]
        weights = read_rows(rule, step, last[rows], settled[rows], own)
        rule.move(step, weights, (scale * gradient).float(), own)
        settled[rows] = rule.settle(step + 1, weights, own)
        last[rows] = step + 1
        for moment, moved in zip(moments, own, strict=True):
            moment[rows] = moved
    return read_rows(rule, STEPS, last, settled, moments)


@pytest.mark.parametrize(("rate", "decay"), [("constant", 0.0), ("cosine", 0.1), ("warm-up", 0.1)])
@pytest.mark.parametrize("scale", [1.0, 1e-7])
@pytest.mark.parametrize("name", RULES)
def test_rows_that_wait_for_their_next_gradient_end_elsewhere(name, scale, decay, rate):
    """Gradients of 1e-7 are those of a rare word in a large batch: there Adam's ε counts."""
    before = torch.randn(ROWS, WIDTH, generator=torch.Generator().manual_seed(0)) / 10
    due = plainly(name, RATES[rate], decay, scale, before)
    rule = RULES[name](RATES[rate], decay)
    got = by_rows(rule, scale, before).double()
    # to float32's own rounding: plain float32 is as far from float64 (2e-6 of what moved)
    moved = (due - before).abs().max()
    assert (got - due).abs().max() <= 4e-6 * max(moved, 0.5)


@pytest.mark.parametrize("step", [1, 3, 15, 16, 63, 64, 511, 512, 100_000])
def test_what_a_row_still_goes_is_another_sum_than_the_steps_to_come(step):
    rate = 1e-3
    ahead = np.arange(1, 4 * HORIZON + 1)
    taken = step + ahead
    root = torch.logspace(-13, 2, 200, dtype=torch.float64)
    scales = 0.999 ** (ahead / 2) / np.sqrt(1 - 0.999**taken)
    moves = rate * 0.9**ahead / (1 - 0.9**taken)
    due = (moves[:, None] / (scales[:, None] * root.numpy() + 1e-8)).sum(0)
    rule = AdamWRows(lambda _: rate, 0.0)
    settled = rule.settle(
        step,
        torch.zeros(200, 1, dtype=torch.float64),
        [torch.ones(200, 1).double(), root[:, None] ** 2],
    )
    np.testing.assert_allclose(-settled[:, 0].numpy(), due, rtol=1e-6)


def test_nodes_integrate_other_polynomials_than_they_should():
    draw = np.random.default_rng(0)
    points = draw.random((3, 50)) + 1
    weights = draw.random((3, 50))
    nodes, shares = gauss_nodes(points, weights, 3)
    for degree in range(6):
        due = (weights * points**degree).sum(1)
        np.testing.assert_allclose((shares * nodes**degree).sum(1), due, rtol=1e-10)


def test_the_number_of_a_step_lies_elsewhere_than_its_rows(monkeypatch):
    """The kernel of a GPU reads it there."""
    rows = [torch.zeros(3, 2, device="meta") for _ in range(4)]
    given = []
    monkeypatch.setattr(torch, "_fused_adamw_", lambda *lists, **_: given.append(lists))
    AdamWRows(lambda _: 0.1, 0.0).move(4, rows[0], rows[1], rows[2:])
    (steps,) = given[0][-1]
    assert steps.device == rows[0].device
    assert steps.dtype == torch.float32
