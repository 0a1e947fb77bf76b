"""What is short is done without a worker: a small job's fit, students and evaluation ask for no Ray;
what is larger, or the user's code, does."""

from __future__ import annotations

import pytest

from distill.core.errors import ResourceError
from distill.engine.ray.session import start_ray_by
from distill.plan.costs.ranges import COLD_SECONDS
from distill.plan.costs.setting import Setting
from distill.plan.costs.training import training_costs
from distill.plan.costs.trials import Tried
from distill.plan.plan import Plan
from distill.run import evaluate_students, fit_labelers, label_pools, prepare_inputs, train_students
from tests.engine.here import without_ray
from tests.tiny import DOUBLING, tiny_job, write_pool

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    target = "kind"
    classes = ["a", "b", "c"]
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    [fit.own]
    model = { kind = "mlp", hidden = [8] }
    on = "rows"
    training = { epochs = 2 }
    [labels.teacher]
    labeler = { kind = "fitted", fit = "own" }
    over = ["rows", "test"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 2 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    [evaluate]
    on = "test"
"""


@pytest.fixture
def folder(tmp_path):
    write_pool(tmp_path / "rows", [70])
    write_pool(tmp_path / "test", [40])
    (tmp_path / "labeler.py").write_text(DOUBLING, "utf-8")
    return tmp_path


@pytest.fixture
def labelled(folder):
    """The folder, its fit done and its pool labelled."""
    job = tiny_job(folder, JOB)
    fit_labelers(job, engine="local")
    list(label_pools(job, engine="local"))
    return folder


def test_what_takes_a_second_asks_for_workers(folder):
    job = tiny_job(folder, JOB)
    with without_ray():
        (fitted,) = fit_labelers(job)
        list(label_pools(job, engine="local"))
        train_students(job, engine="local")
        evaluation = evaluate_students(job)
    assert fitted.record.details["workers"] == 1
    assert [method.name for method in evaluation.methods] == ["teacher", "small"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("epochs = 2 }\n    [l", "epochs = 2, workers = 1 }\n    [l"),
        ("epochs = 2 }\n    [l", "epochs = 2, gpus = 1 }\n    [l"),
        ("epochs = 2 }\n    [l", "epochs = 9000 }\n    [l"),
        ("hidden = [8]", "hidden = [9000, 9000]"),
    ],
)
def test_a_fit_that_is_large_or_chosen_is_trained_in_the_driver(folder, old, new):
    assert old in JOB
    job = tiny_job(folder, JOB.replace(old, new))
    with without_ray(), pytest.raises(AssertionError, match="asked for a Ray"):
        fit_labelers(job)


@pytest.mark.parametrize(
    ("old", "new", "starts"),
    [
        ("", "", {"fit.own": False, "students.small": True}),
        ("epochs = 2 }\n    [l", "epochs = 2, workers = 1 }\n    [l", {"fit.own": True}),
        # all that are left are trained together, which takes too many steps
        (
            "    [labels.teacher]",
            """    [fit.more]
    model = { kind = "linear" }
    on = "rows"
    training = { epochs = 6000 }
    [labels.teacher]""",
            {"fit.own": True, "fit.more": True},
        ),
    ],
)
def test_a_plan_counts_a_start_that_there_is_not(folder, old, new, starts):
    job = tiny_job(folder, JOB.replace(old, new, 1))
    prepare_inputs(job, engine="local")
    steps = {key: [1e-5] for key in ("fit.own", "fit.more", "students.small")}
    tried = Tried(steps=steps)
    costs = training_costs(Setting(Plan(job).workspace, (), tried, (), 1, ()))
    hours = {cost.step: cost.worker_hours for cost in costs}
    counted = {key: hours[key].high * 3600 > COLD_SECONDS for key in starts}
    assert counted == starts


def test_a_student_is_taught_in_the_driver(labelled):
    job = tiny_job(labelled, JOB)
    prepare_inputs(job, engine="local")
    with without_ray(), pytest.raises(AssertionError, match="asked for a Ray"):
        train_students(job)


def test_a_users_labeler_is_asked_in_the_driver(labelled):
    own = '{ kind = "custom", file = "labeler.py" }\n    version = 2'
    job = tiny_job(labelled, JOB.replace('{ kind = "fitted", fit = "own" }', own))
    list(label_pools(job, engine="local"))
    train_students(job, engine="local")
    with without_ray(), pytest.raises(AssertionError, match="asked for a Ray"):
        evaluate_students(job)


def test_who_joins_a_cluster_has_short_work_done_on_the_way_to_it(folder):
    def join():
        raise ResourceError("no Ray answers")

    job = tiny_job(folder, JOB)
    with without_ray():
        start_ray_by(join, joins=True)
        with pytest.raises(ResourceError, match="no Ray answers"):
            fit_labelers(job)
