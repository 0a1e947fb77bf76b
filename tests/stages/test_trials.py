"""A network, and reading, are tried for a plan; what cannot be tried is left out."""

from __future__ import annotations

import torch

from distill.job.load import read_job
from distill.models.networks.mlp import Mlp
from distill.models.networks.ngram_bag import NgramBag
from distill.models.record import HeadPlan, NetworkPlan
from distill.plan.costs.trials import NetworkTrial, network_trial, reading_trials
from distill.plan.workspace import Workspace
from distill.stages.trials import Trials
from tests.run.declared import declared_job, write_rows
from tests.text_students import text_job
from tests.tiny_models import save_classifier


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


def test_a_network_that_reads_tokens_has_no_trial(tmp_path):
    model = save_classifier(tmp_path / "encoder", ["x", "y"])
    job = read_job(
        text_job(tmp_path, f'{{ kind = "encoder", model = "{model}", max_tokens = 16 }}')
    )
    student = job.students["small"]
    tried_one = network_trial(Workspace(job), "students.small", student, "students.small")
    tried = Trials([tried_one], [])()
    assert set(tried.steps) == set(tried.rows) == {"students.small"}
