"""A network, and reading, are tried for a plan; what cannot be tried is left out."""

from __future__ import annotations

import torch

from distill.models.networks.mlp import Mlp
from distill.models.networks.ngram_bag import NgramBag
from distill.models.record import HeadPlan, NetworkPlan
from distill.plan.costs.trials import NetworkTrial, reading_trials
from distill.plan.workspace import Workspace
from distill.stages.trials import Trials
from tests.run.declared import declared_job, write_rows


def trial(key: str, model, in_features: int = 4) -> NetworkTrial:
    heads = {"main": HeadPlan(3)}
    return NetworkTrial(key, NetworkPlan(in_features, model, heads), 32, "adamw")


def test_text_is_not_tried_or_draws_the_users_numbers():
    networks = [
        trial("students.numbers", Mlp(kind="mlp", hidden=(8,))),
        trial("students.text", NgramBag(kind="ngram_bag", buckets=50, most=7), 7),
        trial("students.none", Mlp(kind="mlp", hidden=(8,)), -1),
    ]
    state = torch.random.get_rng_state()
    tried = Trials(networks, [])()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert set(tried.steps) == set(tried.rows) == {"students.numbers", "students.text"}
    assert tried.parameters["students.numbers"] == 4 * 8 + 8 + 8 * 3 + 3
    assert all(seconds > 0 for rounds in tried.steps.values() for seconds in rounds)


def test_reading_takes_all_rows(tmp_path):
    write_rows(tmp_path / "rows", [500, 70_000], [0.0, 0.0])
    workspace = Workspace(declared_job(tmp_path))
    trials = Trials([], list(reading_trials(workspace, ["rows"])))
    (rounds,) = trials().reading.values()
    assert len(rounds) == 5
