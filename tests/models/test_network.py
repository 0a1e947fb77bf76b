from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.core.errors import JobError
from distill.models.network import build_network, parameter_count
from distill.models.networks.cnn import Cnn
from distill.models.networks.linear import Linear
from distill.models.networks.mlp import Mlp
from distill.models.networks.ngram_bag import NgramBag
from distill.models.networks.rnn import Rnn
from distill.models.record import HeadPlan, NetworkPlan
from distill.spec.networks import NetworkInput

LINEAR = Linear(kind="linear")
MLP = Mlp(kind="mlp", hidden=(8, 5))
CNN = Cnn(kind="cnn", shape=(1, 8, 8), channels=(3, 4), hidden=6)
BAG = NgramBag(kind="ngram_bag", buckets=50, hidden=6, most=8)
RNN = Rnn(kind="rnn", shape=(16, 4), hidden=7, layers=2)


def plan(model, heads=None, in_features=64):
    return NetworkPlan(in_features, model, heads or {"main": HeadPlan(3)})


@pytest.mark.parametrize(
    "model", [LINEAR, MLP, CNN, RNN, Cnn(kind="cnn", shape=(2, 3, 2), channels=(4,), dropout=0.5)]
)
def test_a_network_answers_with_another_shape(model):
    in_features = 12 if isinstance(model, Cnn) and model.shape[0] == 2 else 64
    network = build_network(plan(model, {"one": HeadPlan(3), "two": HeadPlan(5)}, in_features))
    answered = network(torch.zeros(7, in_features))
    assert {name: tuple(values.shape) for name, values in answered.items()} == {
        "one": (7, 3),
        "two": (7, 5),
    }


@pytest.mark.parametrize("model", [LINEAR, MLP, CNN, RNN, BAG])
def test_two_workers_start_from_other_weights(model):
    torch.manual_seed(1)
    first = build_network(plan(model), seed=3).state_dict()
    torch.manual_seed(2)
    again, other = (
        build_network(plan(model), seed=3).state_dict(),
        build_network(plan(model), seed=4).state_dict(),
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_building_a_network_moves_the_callers_random_numbers():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    build_network(plan(MLP), seed=3)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_head_with_a_network_of_its_own_shares_the_trunk():
    network = build_network(plan(MLP, {"main": HeadPlan(3), "zero_shot": HeadPlan(4, LINEAR)}))
    x = torch.randn(5, 64)
    np.testing.assert_allclose(
        network(x)["zero_shot"].detach(), network.heads["head_zero_shot"](x).detach()
    )
    network(x)["zero_shot"].sum().backward()
    assert all(parameter.grad is None for parameter in network.trunk.parameters())
    network(x)["main"].sum().backward()
    assert all(parameter.grad is not None for parameter in network.trunk.parameters())


def test_a_trunk_that_nobody_uses_is_trained_and_counted():
    network = build_network(plan(MLP, {"one": HeadPlan(3, LINEAR), "two": HeadPlan(2, LINEAR)}))
    assert network.trunk is None
    assert parameter_count(network) == 64 * 3 + 3 + 64 * 2 + 2
    assert network(torch.zeros(1, 64)).keys() == {"one", "two"}


def test_parameters_are_miscounted():
    assert parameter_count(build_network(plan(MLP))) == (64 * 8 + 8) + (8 * 5 + 5) + (5 * 3 + 3)
    assert [model.build(NetworkInput(64)).width for model in (LINEAR, MLP, CNN, RNN)] == [
        64,
        5,
        6,
        7,
    ]


def test_an_image_that_does_not_fit_the_row_fails_inside_torch():
    with pytest.raises(
        JobError, match=r"model\.shape = \[1, 8, 8\] holds 64 numbers, but a row has 65"
    ):
        build_network(plan(CNN, in_features=65))
    with pytest.raises(
        JobError, match=r"model\.shape = \[16, 4\] holds 64 numbers, but a row has 63"
    ):
        build_network(plan(RNN, in_features=63))


def test_a_recurrent_network_forgets_the_order_of_its_steps():
    network, x = (
        build_network(plan(RNN)).eval(),
        torch.randn(5, 64, generator=torch.Generator().manual_seed(0)),
    )
    gru, head = network.trunk[1].gru, network.heads["head_main"]
    _, states = gru(x.reshape(5, 16, 4))
    np.testing.assert_allclose(network(x)["main"].detach(), head(states[-1]).detach(), atol=1e-6)
    turned = x.reshape(5, 16, 4).flip(1).reshape(5, 64)
    assert not torch.allclose(network(turned)["main"], network(x)["main"], atol=1e-3)


def test_a_text_is_another_mean_than_that_of_its_ngrams():
    network = build_network(plan(BAG, in_features=1)).eval()
    places = torch.tensor([[3, 3, 9, 0, 0, 0, 0, 0], [0] * 8, [50] + [0] * 7], dtype=torch.int32)
    table, head = network.trunk[0].weight, network.heads["head_main"]
    due = torch.stack([(2 * table[3] + table[9]) / 3, torch.zeros(6), table[50]])
    torch.testing.assert_close(network(places)["main"], head(due))
    assert network.ngrams == BAG
    assert parameter_count(network) == 51 * 6 + 6 * 3 + 3
    assert BAG.build(NetworkInput(1)).width == 6
    network(places)["main"].sum().backward()
    assert table.grad[0].abs().sum() == 0  # the padding is never taught


def test_dropout_is_forgotten_or_stays_on_when_the_network_answers():
    network = build_network(plan(Mlp(kind="mlp", hidden=(32,), dropout=0.5)))
    x = torch.ones(1, 64)
    assert not torch.equal(network(x)["main"], network(x)["main"])
    network.eval()
    assert torch.equal(network(x)["main"], network(x)["main"])
