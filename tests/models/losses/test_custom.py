"""Losses of the user's own, as a job names them: what is wrong with one is told before any work, by
its key."""

from __future__ import annotations

import os

import pytest

from distill.core.errors import JobError, TrainingError
from distill.engine.protocol import WorkerContext
from distill.run import prepare_inputs
from distill.stages.train.loop import run_trainings
from tests.resolved import plan_student
from tests.tiny import DOUBLING, tiny_job, write_pool

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = [OVER]
    [students.small]
    model = MODEL
    training = { epochs = 1, batch_rows = 64, lanes = 4, learning_rate = RATE, optimizer = "sgd" }
    [[students.small.terms]]
    learns = "LEARNS"
    loss = LOSS
    MORE
"""
STOP = """
    [pools.held]
    path = "held"
    [students.small.early_stop]
    learns = "labels.teacher"
    over = "held"
    loss = """
OWN = '{ kind = "custom", file = "loss.py", name = "NAME" }'
LOSSES = """
def good(student, taught):
    return (student - taught).square().mean(dim=1)
def hinge(student, target):
    return (1 - student.gather(1, target[:, None])[:, 0]).clamp_min(0)
def detached(student, taught):
    return (student.detach() - taught).square().mean(dim=1)
def raises(student, taught):
    return {}["nothing"]
"""


@pytest.fixture
def job(tmp_path):
    write_pool(tmp_path / "rows", [64])
    write_pool(tmp_path / "held", [16])
    (tmp_path / "loss.py").write_text(LOSSES, "utf-8")
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")

    def made(
        loss,
        learns="labels.teacher",
        model='{ kind = "linear" }',
        rate="0.1",
        over='"rows"',
        more="",
    ):
        text = (
            JOB.replace("LOSS", loss)
            .replace("LEARNS", learns)
            .replace("MODEL", model)
            .replace("RATE", rate)
        )
        return tiny_job(tmp_path, text.replace("OVER", over).replace("MORE", more))

    return made


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing", "has no 'missing'"),
        ("detached", "do not follow the student's"),
        ("raises", r"raised:\n(.*\n)*KeyError: 'nothing'\nTwo rows of 3 random numbers were tried"),
        ("hinge", "raised:"),
    ],
)
def test_a_loss_that_cannot_teach_is_found_once_the_labels_are_paid_for(job, name, said):
    with pytest.raises(
        JobError, match=rf"(?s)job\.toml: students\.small\.terms\.0\.loss: .*{said}"
    ):
        prepare_inputs(job(OWN.replace("NAME", name)))


@pytest.mark.parametrize(
    ("name", "said"), [("missing", "has no 'missing'"), ("raises", "raised:"), ("detached", None)]
)
def test_a_measure_of_the_users_own_is_found_wrong_after_the_first_epoch(job, name, said):
    """One that does not follow the student's numbers is right: it only measures."""
    made = job('{ kind = "kl" }', over='"rows", "held"', more=STOP + OWN.replace("NAME", name))
    if said is None:
        prepare_inputs(made)
        return
    with pytest.raises(
        JobError, match=rf"(?s)job\.toml: students\.small\.early_stop\.loss: .*{said}"
    ):
        prepare_inputs(made)


def test_a_loss_that_can_teach_is_refused(job):
    prepare_inputs(job(OWN.replace("NAME", "good")))
    prepare_inputs(job(OWN.replace("NAME", "hinge"), learns="pools.rows"))


VALUES = """
    [labels.values]
    labeler = { kind = "custom", file = "values.py" }
    over = ["rows"]
    [fit.sizes]
    model = { kind = "linear" }
    on = "sized"
    [labels.sizes]
    labeler = { kind = "fitted", fit = "sizes" }
    over = ["rows"]
    [pools.sized]
    path = "sized"
    target = "size"
    [pools.listed]
    path = "listed"
    target = "pixels"
"""
ON_VALUES = """
def absolute(student, taught):
    assert student.shape == taught.shape
    return (student - taught).abs().sum(dim=1)
def relative(student, taught):
    assert (taught > 0).all()
    return ((student - taught) / taught).abs().mean(dim=1)
def second(student, taught):
    return (student[:, 1] - taught[:, 1]).abs()
def mean(student, taught):
    return (student - taught).abs().mean()
"""


@pytest.fixture
def of_values(job, tmp_path):
    write_pool(tmp_path / "sized", [16])
    write_pool(tmp_path / "listed", [16])
    (tmp_path / "loss.py").write_text(ON_VALUES, "utf-8")
    (tmp_path / "values.py").write_text(
        "class Labeler:\n    revision = '1'\n    kind = 'value'\n    width = 2\n    def label(self, x):\n        return x[:, :2]\n"
    )
    return lambda name, learns, more="": job(
        OWN.replace("NAME", name), learns=learns, more=VALUES + more
    )


@pytest.mark.parametrize(
    ("name", "learns", "said"),
    [
        (
            "mean",
            "labels.values",
            r"mean\(\) answered with \(\), .*Two rows of 2 random numbers were tried, to learn ones",
        ),
        ("missing", "labels.values", "has no 'missing'"),
        ("mean", "pools.listed", "Two rows of 4 "),
        ("second", "pools.sized", r"IndexError.*Two rows of 1 "),
        ("second", "labels.sizes", r"IndexError.*Two rows of 1 "),
    ],
)
def test_a_loss_of_values_that_cannot_teach_is_found_once_the_labels_are_paid_for(
    of_values, name, learns, said
):
    with pytest.raises(
        JobError, match=rf"(?s)job\.toml: students\.small\.terms\.0\.loss: .*{said}"
    ):
        prepare_inputs(of_values(name, learns))


@pytest.mark.parametrize("name", ["absolute", "relative", "second"])
@pytest.mark.parametrize("learns", ["labels.values", "pools.listed"])
def test_a_loss_of_values_that_can_teach_is_refused(of_values, name, learns):
    prepare_inputs(of_values(name, learns))


def test_a_loss_is_tried_on_the_width_of_a_hint_and_not_of_what_it_learns(of_values):
    prepare_inputs(
        of_values("second", "labels.values", "[students.small.heads.main]\n    width = 1\n")
    )


def test_a_finished_job_opens_a_pool_for_the_width_of_its_target(of_values, tmp_path):
    prepare_inputs(of_values("absolute", "pools.listed"))
    for shard in (tmp_path / "listed").iterdir():
        was = shard.stat()
        shard.write_bytes(bytes(was.st_size))
        os.utime(shard, ns=(was.st_atime_ns, was.st_mtime_ns))
    prepare_inputs(of_values("absolute", "pools.listed"))


def test_a_shape_of_other_rows_is_found_once_the_labels_are_paid_for(job):
    model = '{ kind = "cnn", shape = [1, 3, 3], channels = [2], hidden = 2 }'
    made = job('{ kind = "cross_entropy" }', learns="pools.rows", model=model)
    said = r"students\.small\.model\.shape = \[1, 3, 3\] holds 9 numbers, but a row has 4"
    with pytest.raises(JobError, match=said):
        prepare_inputs(made)


def test_weights_that_are_no_numbers_are_exported(job):
    """The loss is taken before the last step, which overflows."""
    made = job('{ kind = "cross_entropy" }\n    weight = 1000', learns="pools.rows", rate="3e38")
    lesson = plan_student(made, made.variants[0])
    with pytest.raises(
        TrainingError, match=r"small: after epoch 1 weights are no numbers\. Lower training"
    ):
        run_trainings([lesson], WorkerContext(0, 1, "cpu"))
