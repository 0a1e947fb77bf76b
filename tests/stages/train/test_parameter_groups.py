"""Rates by layer and decay by kind are those that one would write down by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from distill.core.errors import UnlearnableError
from distill.models.activations import compute_again
from distill.models.network import build_network
from distill.models.networks.mlp import Mlp
from distill.models.networks.ngram_bag import NgramBag
from distill.models.record import HeadPlan, NetworkPlan
from distill.spec.models import Training
from distill.stages.train.optimizer import Optimizer, learning_rate, make_optimizer
from distill.stages.train.parameter_groups import layers_above

PLAN = NetworkPlan(
    4,
    Mlp(kind="mlp", hidden=(6, 5)),
    {"main": HeadPlan(3), "own": HeadPlan(2, Mlp(kind="mlp", hidden=(7,)))},
)


class Encoder(nn.Module):
    """Layers as an encoder has them: something before, a list, something after."""

    def __init__(self):
        super().__init__()
        self.embeddings = nn.Linear(4, 6)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)) for _ in range(3)
        )
        self.norm = nn.LayerNorm(6)


def rates(training, network):
    """Parameter's name → its share of the rate, and its decay."""
    optimizer = Optimizer(training, network, 10)
    optimizer.step(0)
    names = {id(each): name for name, each in network.named_parameters()}
    return {
        names[id(each)]: (group["lr"], group["weight_decay"])
        for group in optimizer.rest.param_groups
        for each in group["params"]
    }


def test_layers_are_counted_from_below_or_those_around_them_are_left_out():
    network = build_network(PLAN)
    network.trunk = Encoder()
    above = layers_above(network)
    assert {name: above[f"trunk.{name}.weight"] for name in ("embeddings", "layers.0.0", "layers.1.1", "layers.2.0", "norm")} == {
        "embeddings": 4, "layers.0.0": 3, "layers.1.1": 2, "layers.2.0": 1, "norm": 1,
    }  # fmt: skip
    assert above["own.head_own.0.weight"] == 1
    assert above["heads.head_main.bias"] == above["heads.head_own.weight"] == 0


def test_a_parameter_learns_at_anothers_rate_or_decays_where_it_should_not():
    training = Training(
        learning_rate=0.01,
        head_learning_rate=0.1,
        layer_decay=0.5,
        weight_decay=0.2,
        decayed="matrices",
    )
    got = rates(training, build_network(PLAN))
    assert got["trunk.0.weight"] == (pytest.approx(0.0025), 0.2)
    assert got["trunk.0.bias"] == (pytest.approx(0.0025), 0.0)
    assert got["trunk.2.weight"] == (pytest.approx(0.005), 0.2)
    assert got["heads.head_main.weight"] == (pytest.approx(0.1), 0.2)
    assert got["heads.head_own.bias"] == (pytest.approx(0.1), 0.0)
    assert len(got) == len(list(build_network(PLAN).parameters()))


def test_a_table_learns_at_the_heads_rate():
    bag = NetworkPlan(
        8, NgramBag(kind="ngram_bag", buckets=300_000, hidden=4, most=8), {"main": HeadPlan(3)}
    )
    training = Training(
        learning_rate=0.01, head_learning_rate=0.1, layer_decay=0.5, schedule="linear"
    )
    (rows,) = Optimizer(training, build_network(bag), 10).tables.values()
    for step in (0, 4, 9):
        assert rows.rule.rate(step) == pytest.approx(0.5 * learning_rate(training, step, 10))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_groups_move_weights_otherwise_than_optimizers_of_their_own(optimizer):
    training = Training(
        optimizer=optimizer, learning_rate=0.01, head_learning_rate=0.1, weight_decay=0.2, decayed="matrices", schedule="cosine",
    )  # fmt: skip
    x, ends = torch.linspace(-1, 1, 12).view(3, 4), []
    for way in ("groups", "own"):
        network = build_network(PLAN)
        if way == "groups":
            optimizers = [Optimizer(training, network, 20)]
        else:
            optimizers = []
            for name, each in network.named_parameters():
                rate = 0.1 if name.startswith("heads.") else 0.01
                single = Training(
                    optimizer=optimizer,
                    learning_rate=rate,
                    weight_decay=0.2 if each.ndim > 1 else 0.0,
                )
                optimizers.append((rate, make_optimizer(single, nn.ParameterList([each]))))
        for step in range(20):
            for each in network.parameters():
                each.grad = None
            sum(each.square().sum() for each in network(x).values()).backward()
            if way == "groups":
                optimizers[0].step(step)
                continue
            for rate, own in optimizers:
                own.param_groups[0]["lr"] = rate / 0.01 * learning_rate(training, step, 20)
                own.step()
        ends.append(network.state_dict())
    for name, values in ends[1].items():
        torch.testing.assert_close(ends[0][name], values, rtol=1e-5, atol=1e-6)


def test_a_job_without_the_keys_has_groups():
    network = build_network(PLAN)
    (group,) = make_optimizer(Training(weight_decay=0.1), network).param_groups
    assert [id(each) for each in group["params"]] == [id(each) for each in network.parameters()]


class Offers(nn.Module):
    def __init__(self):
        super().__init__()
        self.asked = []

    def set_grad_checkpointing(self, enable=True):
        self.asked.append(enable)


def test_a_network_that_offers_no_activation_checkpoints_is_trained_without():
    part = Offers()
    compute_again(nn.Sequential(nn.Linear(2, 2), part))
    assert part.asked == [True]
    with pytest.raises(UnlearnableError, match="no module of the network offers it"):
        compute_again(nn.Linear(2, 2))


def test_activation_checkpoints_of_transformers_change_the_gradient():
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )  # fmt: skip
    ends = []
    for again in (False, True):
        torch.manual_seed(0)
        network = transformers.BertModel(config).train()
        if again:
            compute_again(network)
        torch.manual_seed(1)
        network(torch.arange(20).view(2, 10)).last_hidden_state.square().sum().backward()
        ends.append(
            {name: each.grad for name, each in network.named_parameters() if each.grad is not None}
        )
    assert ends[0].keys() == ends[1].keys()
    for name, values in ends[0].items():
        torch.testing.assert_close(ends[1][name], values, rtol=1e-4, atol=1e-5)
