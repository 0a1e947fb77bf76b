"""A head of another width than what it learns from: the same numbers as a plain loop, and gone
afterwards. Workers and kills: `test_everything`."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch.nn import functional

from distill.core.errors import ContractError
from distill.engine.protocol import WorkerContext
from distill.labelers.network import load_network
from distill.loader.loader import Loader
from distill.loader.sampler import Sampler, cut_chunks
from distill.models.network import build_network, parameter_count
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.stages.train.loop import run_trainings
from distill.stages.train.projection import with_projections
from tests.making import label_by_worker, train_here
from tests.resolved import export_students, find_candidates, find_student, open_pool, plan_student
from tests.tiny import tiny_job, write_job, write_pool

WIDE, NARROW, OWN = 12, 3, 5
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows", "test"]
    [labels.wide]
    labeler = { kind = "custom", file = "mine.py", name = "Wide" }
    over = ["rows"]
    [labels.narrow]
    labeler = { kind = "custom", file = "mine.py", name = "Narrow" }
    over = ["rows"]
    [labels.same]
    labeler = { kind = "custom", file = "mine.py", name = "Same" }
    over = ["rows"]
    [students.small]
    model = { kind = "mlp", hidden = [8] }
    heads = { hint = { width = 5 } }
    training = { epochs = 2, batch_rows = 32, lanes = 4, gradients = "lanes", checkpoint_steps = 3, clip_norm = 1.0, weight_decay = 0.1 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    [[students.small.terms]]
    learns = "labels.wide"
    loss = { kind = "mse" }
    head = "hint"
    weight = 0.7
    [[students.small.terms]]
    learns = "labels.narrow"
    loss = { kind = "cosine" }
    head = "hint"
    [[students.small.terms]]
    learns = "labels.same"
    loss = { kind = "mse" }
    head = "hint"
    weight = 0.3
    [evaluate]
    on = "test"
"""
MINE = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")
    def label(self, features): return 2 * features[:, :3]

class Wide:
    revision, kind, width = "1", "value", 12
    def label(self, features): return np.tanh(np.tile(features, (1, 3)))

class Narrow(Wide):
    width = 3
    def label(self, features): return features[:, 1:]

class Same(Wide):
    width = 5
    def label(self, features): return np.tile(features, (1, 2))[:, :5]
"""


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("projection")
    write_pool(folder / "rows", [150, 90])
    write_pool(folder / "test", [40])
    (folder / "mine.py").write_text(MINE, "utf-8")
    job = load_job(write_job(folder, JOB))
    for name in job.labels:
        label_by_worker(job, name)
    return folder


@pytest.fixture(scope="module")
def taught(labelled, tmp_path_factory):
    """The job file of a student that one worker taught."""
    folder = tmp_path_factory.mktemp("taught") / "job"
    shutil.copytree(labelled, folder)
    job = load_job(folder / "job.toml")
    train_here(job)
    return job.path


def kept(job_file):
    """All that a training leaves: record, weights, and its last checkpoint's tensors."""
    job = load_job(job_file)
    folder, record = find_student(job, job.variants[0])
    newest = sorted((Path(folder.uri) / "checkpoints").glob("*.safetensors"))[-1]
    return (
        record,
        load_network(folder.uri, record).state_dict(),
        safetensors.torch.load_file(newest),
    )


def test_a_projection_learns_otherwise_than_in_a_plain_loop(labelled, taught):
    """One optimiser over the student and two maps, the losses written out, over the same batches."""
    job = tiny_job(labelled, JOB)
    plan = plan_student(job, job.variants[0])
    model = with_projections(build_network(plan.plan, plan.seed), plan.terms, plan.seed)
    student, maps = model.network, [model.projections["1"], model.projections["2"]]
    assert [(each.in_features, each.out_features) for each in maps] == [(OWN, WIDE), (OWN, NARROW)]
    parameters = [*student.parameters(), *maps[0].parameters(), *maps[1].parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=plan.training.learning_rate, weight_decay=0.1)
    (dataset,), lanes = plan.sources, plan.training.lanes
    sampler = Sampler(
        cut_chunks(dataset.groups, lanes, plan.most_chunk_rows), lanes, 32 // lanes, plan.seed
    )
    loader = Loader(dataset, sampler, rank=0, workers=1)
    batches = loader.batches(0)
    for _ in range(2 * sampler.steps_per_epoch):
        batch = {name: torch.from_numpy(values) for name, values in next(batches).items()}
        said = student(batch["features"])
        losses = [
            functional.kl_div(
                said["main"].log_softmax(1), batch["0.outputs"].softmax(1), reduction="none"
            ).sum(1),
            (maps[0](said["hint"]) - batch["1.outputs"]).square().mean(1),
            1 - functional.cosine_similarity(maps[1](said["hint"]), batch["2.outputs"]),
            (said["hint"] - batch["3.outputs"]).square().mean(1),
        ]
        known = [batch[f"{number}.weight"] for number in range(4)]
        means = [
            (loss * weight).sum() / weight.sum() for loss, weight in zip(losses, known, strict=True)
        ]
        optimizer.zero_grad()
        sum(
            weight * mean for weight, mean in zip((1.0, 0.7, 1.0, 0.3), means, strict=True)
        ).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
    loader.close()
    _, weights, checkpoint = kept(taught)
    for name, value in student.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-5, atol=1e-6)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(checkpoint[f"network.{name}"], value, rtol=1e-5, atol=1e-6)


def test_a_projection_is_counted_stored_judged_or_exported_with_the_student(taught):
    record, weights, checkpoint = kept(taught)
    job = load_job(taught)
    thrown_away = OWN * WIDE + WIDE + OWN * NARROW + NARROW
    assert record.details["projection_parameters"] == thrown_away
    assert record.parameters == 4 * 8 + 8 + (8 * 3 + 3) + (8 * 5 + 5)
    assert record.widths == {"main": 3, "hint": 5}
    assert record.details["terms"][1:] == [
        "0.7 · mse to labels.wide, projected from 5 to 12",
        "1 · cosine to labels.narrow, projected from 5 to 3",
        "0.3 · mse to labels.same",
    ]
    assert not [name for name in weights if "projection" in name]
    assert sum("projections" in name for name in checkpoint) == 4
    (exported,) = export_students(job, None, ())
    assert (
        safetensors.torch.load_file(Path(exported.uri) / "weights.safetensors").keys()
        == weights.keys()
    )
    judged = find_candidates(job, open_pool(job, "test"))
    assert [each.name for each in judged] == ["teacher", "small"]
    assert list(judged[1].taught_by) == record.details["terms"]


def test_hints_are_told_again_for_each_variant_or_look(labelled, tmp_path):
    shutil.copytree(labelled, tmp_path / "job")
    text = JOB.replace(
        "[students.small]\n",
        '[sweep.seeds]\n    student = "small"\n    seed = [1, 2]\n    [students.small]\n',
    )
    job = tiny_job(tmp_path / "job", text)
    train_here(job)
    assert len(find_candidates(job, open_pool(job, "test"))) == 3
    plan = Plan(job)
    assert [plan.new_hints(), plan.new_hints()] == [["students.small.heads.hint"], []]


def test_the_student_begins_otherwise_with_a_projection(labelled):
    job = tiny_job(labelled, JOB)
    plan = plan_student(job, job.variants[0])
    network, before = build_network(plan.plan, 3), torch.get_rng_state()
    model = with_projections(network, plan.terms, 3)
    assert torch.equal(torch.get_rng_state(), before)
    assert parameter_count(model) > parameter_count(network)
    again = with_projections(network, plan.terms, 3).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())
    assert with_projections(network, plan.terms[:1], 3) is network


def test_widths_that_differ_are_learned_unasked(labelled):
    job = tiny_job(
        labelled,
        JOB.replace("    heads = { hint = { width = 5 } }\n", "").partition("    [evaluate]")[0],
    )
    with pytest.raises(
        ContractError,
        match=r"'hint': its terms teach values of different widths, .*12.*give this one a `width`",
    ):
        plan_student(job, job.variants[0])


def test_a_projection_to_a_targets_value_or_a_loss_of_ones_own_gets_another_width(
    labelled, tmp_path
):
    shutil.copytree(labelled, tmp_path / "job")
    (tmp_path / "job" / "loss.py").write_text(
        "def loss(student, taught):\n    assert student.shape == taught.shape\n    return (student - taught).abs().sum(1)\n",
        "utf-8",
    )
    text = JOB.replace('{ kind = "cosine" }', '{ kind = "custom", file = "loss.py" }')
    text = text.replace('path = "rows"', 'path = "rows"\n    target = "size"')
    text = text.replace(
        "[evaluate]",
        '[[students.small.terms]]\n    learns = "pools.rows"\n    loss = { kind = "mse" }\n    head = "hint"\n    [evaluate]',
    )
    job = tiny_job(tmp_path / "job", text)
    plan = plan_student(job, job.variants[0])
    assert [term.projected for term in plan.terms] == [None, WIDE, NARROW, None, 1]
    run_trainings([plan], WorkerContext(0, 1, "cpu"))
    losses = [each["loss"] for each in find_student(job, job.variants[0])[1].details["history"]]
    assert np.isfinite(losses).all()
