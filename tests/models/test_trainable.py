"""Networks of the user's own: what each kind of mistake is told as, before any work."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.core.errors import JobError
from distill.core.source import PythonFile
from distill.models.network import (
    build_network,
    head_parameters,
    parameter_count,
    require_custom_trainable,
)
from distill.models.networks.custom import CustomModel
from distill.models.networks.linear import Linear
from distill.models.record import HeadPlan, NetworkPlan
from distill.spec.networks import Ngrams

BEGIN = """
import random

import torch
from torch import nn


class Trunk(nn.Module):
    revision = "1"

    def __init__(self, in_features, hidden=5):
        super().__init__()
        self.layer = nn.Linear(in_features, hidden)
        {more}

    def forward(self, x):
        {before}
        return {answer}
"""


def source(more="pass", before="pass", answer="self.layer(x)"):
    return PythonFile("/job/mine.py", BEGIN.format(more=more, before=before, answer=answer))


def plan(code, *, options=None, text=None, in_features=4, name="Trunk"):
    model = CustomModel(kind="custom", file="mine.py", name=name, options=options or {}, text=text)
    return NetworkPlan(
        in_features, model, {"main": HeadPlan(3), "size": HeadPlan(1)}, {"model": code}
    )


def try_out(made):
    """What the driver does before a training."""
    build_network(made)
    require_custom_trainable(made)


def refused(code, said, **more):
    with pytest.raises(JobError) as told:
        try_out(plan(code, **more))
    assert "model: " in str(told.value)
    assert said in str(told.value)
    return str(told.value)


def test_a_trunk_of_the_users_own_is_another_than_the_file_has():
    network = build_network(plan(source(), options={"hidden": 7}), seed=3)
    assert network.trunk.layer.weight.shape == (7, 4)
    assert network.heads["head_main"].in_features == 7
    x = torch.ones(2, 4)
    torch.testing.assert_close(
        network(x)["main"], network.heads["head_main"](network.trunk.layer(x))
    )
    again = build_network(plan(source(), options={"hidden": 7}), seed=3).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())
    require_custom_trainable(plan(source()))


def test_asking_for_its_width_moves_or_leaves_it_in_another_mode():
    network = build_network(
        plan(source(more="self.drop = nn.Dropout(0.5)", answer="self.drop(self.layer(x))"))
    )
    assert network.training
    assert network.trunk.training


def test_a_head_with_a_network_of_the_users_own_shares_the_trunk():
    own = CustomModel(kind="custom", file="mine.py", options={"hidden": 6})
    heads = {"main": HeadPlan(3), "own": HeadPlan(2, own)}
    network = build_network(
        NetworkPlan(4, Linear(kind="linear"), heads, {"heads.own.model": source()})
    )
    assert network.heads["head_own"].in_features == 6
    assert head_parameters(network) == {"main": 4 * 3 + 3, "own": (4 * 6 + 6) + (6 * 2 + 2)}
    assert parameter_count(network) == sum(head_parameters(network).values())


def test_a_text_is_given_otherwise_than_as_places_of_its_ngrams():
    text = Ngrams(buckets=20, ngrams=1, most=6)
    code = source(
        more="self.table = nn.Embedding(21, 3)",
        answer="self.layer(x.float()) + self.table(x).sum((1, 2))[:, None]",
    )
    network = build_network(plan(code, text=text, in_features=1))
    assert network.ngrams == text
    assert network.trunk.layer.in_features == 6
    require_custom_trainable(plan(code, text=text, in_features=1))
    small = source(more="self.table = nn.Embedding(20, 3)", answer="self.table(x).sum(1)")
    refused(small, "Trunk raises when it is asked about (2, 6) int32", text=text, in_features=1)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (source(more="self.layer = nn.Linear(hidden / 0, 3)"), "Trunk(4) raises when it is made"),
        (source(before="raise ValueError('mine')"), "Trunk raises when it is asked about (2, 4) float32"),
        (source(answer="self.layer(x)[:, :, None]"), "answers (2, 4) float32 with (2, 5, 1) float32, where (2, H)"),
        (source(answer="self.layer(x).argmax(1)"), "with (2,) int64, where (2, H) float32 is due"),
        (source(answer="[self.layer(x)]"), "with a list, where (2, H)"),
        (source(more="self.norm = nn.BatchNorm1d(5)", answer="self.norm(self.layer(x))"), "the buffers norm.running_mean,"),
        (source(more="self.layer = self.layer.double()", answer="self.layer(x.double()).float()"), "layer.weight, layer.bias of Trunk cannot be trained"),
        (source(more="self.get_extra_state = lambda: 3; type(self).get_extra_state = lambda self: 3"), "_extra_state of Trunk cannot be"),
        (source(more="self.layer = nn.Linear(in_features, 5 + int(torch.rand(1) * 99))"), "could not be loaded again"),
        (source(more="self.idle = nn.Linear(2, 2)"), "depends on its parameters idle.weight, idle.bias. Use them"),
        (source(more="self.layer.weight.data.fill_(random.random())"), "made under one seed differ in layer.weight"),
        (source(more="self.drawn = torch.randn(5)", answer="self.layer(x) + self.drawn"), "could not be loaded again"),
        (source(answer="self.layer(x) + torch.rand(5)"), "let it draw nothing once it is in eval()"),
        (PythonFile("/job/mine.py", "class Trunk:\n    revision = '1'\n"), "/job/mine.py is no torch.nn.Module"),
        (PythonFile("/job/mine.py", "class Other: pass\n"), "has no 'Trunk'; it has ['Other']"),
    ],
)  # fmt: skip
def test_a_module_that_ranks_or_readers_would_not_have_alike_is_trained(code, said):
    refused(code, said)


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        ("self.layer(x / NORM)", "pass"),
        (
            "(self.layer(x) ** 2).sum(1, keepdim=True).sqrt()",
            "self.layer = nn.Linear(in_features, hidden, bias=False)",
        ),
    ],
)
def test_padding_makes_the_loss_no_number(answer, more):
    """Of the second one the answers are numbers, and the gradients are not."""
    norm = "x.norm(dim=1, keepdim=True)"
    refused(
        source(answer=answer.replace("NORM", norm), more=more), "Padded and rejected rows are zeros"
    )
    require_custom_trainable(plan(source(answer=f"self.layer(x / {norm}.clamp_min(1e-6))")))


def test_the_users_own_lines_are_hidden_behind_ours():
    code = PythonFile("/job/wrong.py", source(more="self.layer = nn.Linear(hidden / 0, 3)").text)
    told = refused(code, "ZeroDivisionError: division by zero")
    assert (
        'File "/job/wrong.py", line 14, in __init__\n    self.layer = nn.Linear(hidden / 0, 3)'
        in told
    )
    assert "distill/models" not in told
    assert "Trunk(4, hidden=0)" in refused(
        source(before="1 / 0", more="1 / hidden"), "raises when", options={"hidden": 0}
    )


def test_a_norm_over_one_row_or_a_frozen_layer_is_refused():
    steady = source(
        more="self.norm = nn.LayerNorm(5); self.register_buffer('scale', torch.ones(5))",
        answer="self.norm(self.layer(x)) * self.scale",
    )
    require_custom_trainable(plan(steady))
    frozen = source(
        more="self.idle = nn.Linear(2, 2).requires_grad_(False); self.layer.requires_grad_(False)"
    )
    require_custom_trainable(plan(frozen))
    require_custom_trainable(plan(source(more="self.layer = nn.LazyLinear(hidden)")))


def test_a_plan_that_is_stored_holds_code():
    plain = plan(source()).to_plain()
    assert plain["code"] == {"model": {"revision": "1", "sha256": source().sha256}}
    assert "nn.Module" not in str(plain)
    again = NetworkPlan.from_plain(plain, {"model": source()})
    assert again == plan(source())
    np.testing.assert_array_equal(
        build_network(again)(torch.ones(1, 4))["size"].detach(),
        build_network(plan(source()))(torch.ones(1, 4))["size"].detach(),
    )
