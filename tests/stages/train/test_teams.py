"""Networks taught side by side by teams of one worker group, on a real Ray: the same weights as one
after another, whatever happens to a team."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from distill.core import progress
from distill.core.errors import TrainingError, UnlearnableError
from distill.models.record import read_weights
from distill.plan.load import load_job
from distill.run import train_students
from distill.stages.train import assignment
from tests.engine.working import Bar
from tests.making import label_by_worker, train_here
from tests.resolved import find_student, plan_student
from tests.stages.train import ranks
from tests.tiny import DOUBLING, write_job, write_pool

STUDENTS = ["lanes", "means"]
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.validation]
    path = "validation"
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "teacher.py" }
    over = ["rows"]
    [sweep.seeds]
    student = ["lanes", "means"]
    seed = [1, 2]
"""
STUDENT = """
    [students.NAME]
    model = { kind = "mlp", hidden = [16], dropout = 0.2 }
    training = { epochs = EPOCHS, batch_rows = 32, lanes = 4, GRADIENTS, workers = WORKERS, checkpoint_steps = 7, schedule = "cosine" }
    MORE
    [[students.NAME.terms]]
    learns = "labels.teacher"
    loss = { kind = "custom", file = "mortal.py", name = "LOSS" }
"""
TOO_FAST, WEIGHTLESS = (
    'schedule = "cosine", learning_rate = 3e38',
    '    row_weight = { kind = "confidence", power = 1e6 }\n',
)
STOP = 'early_stop = { learns = "pools.validation", patience = 9 }'


def student(name, *, epochs, workers, gradients="lanes", loss="mortal", more=""):
    told = {
        "NAME": name,
        "EPOCHS": epochs,
        "WORKERS": workers,
        "GRADIENTS": f'gradients = "{gradients}"',
    }
    text = STUDENT
    for key, value in {**told, "LOSS": loss, "MORE": more}.items():
        text = text.replace(key, str(value))
    return text


def job_text(workers, *, wrong=True):
    return (
        JOB
        + student("lanes", epochs=3, workers=workers, more=STOP)
        + student("means", epochs=5, workers=workers, gradients="workers")
        + (student("wrong", epochs=3, workers=workers, loss="wrong") if wrong else "")
    )


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teams")
    write_pool(folder / "rows", [150, 90])
    write_pool(folder / "validation", [60])
    (folder / "seen").mkdir()
    (folder / "teacher.py").write_text(DOUBLING, "utf-8")
    shutil.copy(Path(__file__).with_name("mortal.py"), folder)
    label_by_worker(load_job(write_job(folder, job_text(1))), "teacher")
    return folder


def copied(labelled, folder, workers, **more):
    shutil.copytree(labelled, folder)
    return load_job(write_job(folder, job_text(workers, **more)))


def weights(job):
    """Of the finished students, by their names."""
    return {
        variant.name: read_weights(*find_student(job, variant))
        for variant in job.chosen_variants(STUDENTS)
    }


@pytest.fixture(scope="module")
def due(labelled, tmp_path_factory):
    """Weights of as many workers that are taught one network after another without Ray, by their
    number."""
    made = {}
    for workers in (1, 2):
        job = copied(labelled, tmp_path_factory.mktemp("due") / "job", workers, wrong=False)
        if workers == 1:
            train_here(job)
        else:
            ranks.train(job.path, workers, job.path.with_name("log"))
        made[workers] = weights(job)
    return made


@pytest.fixture
def bars(monkeypatch):
    """What was shown: the total of each bar, and the bar."""
    shown = []

    class Display:
        def begin(self, title, total, unit):
            bar = Bar()
            if unit == "rows" and title.startswith("train"):
                shown.append((total, bar))
            return bar

        def end(self, bar):
            pass

    monkeypatch.setattr(progress, "_display", Display())
    return shown


@pytest.mark.ray
def test_networks_are_not_taught_side_by_side_or_that_changes_weights_or_the_bar_ends_before_its_total(
    ray, labelled, due, bars, tmp_path
):
    job = copied(labelled, tmp_path / "job", 1)
    train_students(job, STUDENTS)
    assert len(list((tmp_path / "job" / "seen").iterdir())) == 4, "all CPUs had work"
    assert weights(job) == due[1]
    ((total, bar),) = bars
    assert bar.amount == total


@pytest.mark.ray
def test_a_killed_worker_changes_weights_or_ends_the_training(ray, labelled, due, bars, tmp_path):
    """Its own team's, or those of the team that is stopped in the midst of a step because of it."""
    job = copied(labelled, tmp_path / "job", 2)
    (tmp_path / "job" / "die").touch()
    train_students(job, STUDENTS)
    assert (tmp_path / "job" / "died").exists()
    assert len(list((tmp_path / "job" / "seen").iterdir())) == 8, "all four were started again"
    assert weights(job) == due[2]
    ((total, bar),) = bars
    assert bar.amount == total, "steps done again are not counted again"


@pytest.mark.ray
def test_a_mistake_in_one_training_is_hidden_by_the_other_teams(ray, labelled, tmp_path):
    job = copied(labelled, tmp_path / "job", 2)
    with pytest.raises(
        TrainingError, match=r"(?s)labels\.teacher: wrong\(\) raised:.*KeyError: 'pixels'"
    ):
        train_students(job)


@pytest.mark.slow
@pytest.mark.ray
def test_a_training_that_cannot_be_learned_ends_the_others_or_is_not_told_or_others_are_taught_again(
    ray, labelled, due, bars, tmp_path
):
    """Of two groups; `fast` is assigned first of all, and its two ranks leave it together."""
    text = job_text(2, wrong=False)
    text += student("fast", epochs=9, workers=2).replace('schedule = "cosine"', TOO_FAST)
    text += student("void", epochs=2, workers=1) + WEIGHTLESS
    shutil.copytree(labelled, tmp_path / "job")
    job = load_job(write_job(tmp_path / "job", text))
    (void,) = [plan_student(job, variant) for variant in job.chosen_variants(["void"])]
    due_rows = sum(plan_student(job, variant).rows_seen for variant in job.variants)
    with pytest.raises(UnlearnableError) as told:
        train_students(job)
    first, second, last = str(told.value).splitlines()
    assert first.startswith("void: ")
    assert "not one row counts" in first
    assert second.startswith("fast: ")
    assert "no number" in second
    assert "tries only this again" in last
    assert weights(job) == due[2]
    assert sum(total for total, _ in bars) == due_rows
    assert all(bar.amount == total for total, bar in bars)
    bars.clear()
    with pytest.raises(UnlearnableError, match=r"^void: .*not one row counts"):
        train_students(job, ["void", *STUDENTS])
    assert [total for total, _ in bars] == [void.rows_seen]


def test_trainings_are_assigned_unevenly_or_to_two_teams_or_to_none(labelled):
    job = load_job(labelled / "job.toml")
    plans = [plan_student(job, variant) for variant in job.variants]
    dealt = [[plan.name for plan in team] for team in assignment.assign_to_teams(plans, 2)]
    assert dealt == [
        [plan.name for plan in team] for team in assignment.assign_to_teams(list(plans), 2)
    ]
    assert sorted(name for team in dealt for name in team) == sorted(plan.name for plan in plans)
    loads = [sum(plan.rows_seen for plan in team) for team in assignment.assign_to_teams(plans, 2)]
    assert max(loads) - min(loads) <= max(plan.rows_seen for plan in plans)
    assert assignment.assign_to_teams(plans, 1) == [plans], "one team has all, in their order"
    assert sum(map(bool, assignment.assign_to_teams(plans[:2], 3))) == 2
