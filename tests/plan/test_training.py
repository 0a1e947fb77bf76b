from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from distill.core.errors import ContractError
from distill.loader import dataset as source_module
from distill.loader.dataset import LabelColumn, TargetColumn
from distill.loader.sampler import Chunk
from distill.models.networks.linear import Linear
from distill.models.record import HeadPlan
from distill.plan.load import load_job
from distill.plan.training import TrainingPlan
from distill.spec.outputs import Outputs
from tests.making import keep_network, label_by_worker
from tests.resolved import check_inputs, plan_fit, plan_student
from tests.tiny import tiny_job, write_pool

TEACHER = """
class Labeler:
    revision = "1"
    classes = ("c", "a")

    def label(self, features):
        return features[:, :2]
"""
VALUES = """
class Labeler:
    revision = "1"
    kind = "value"
    width = 2

    def label(self, features):
        return features[:, 2:]
"""
WIDE = """[pools.wide]
    path = "wide"
    target = "kind"
    classes = ["a", "b", "c"]
"""
JOB = """
    root = "root"
    seed = 3
    fragment_rows = 64
    [pools.one]
    path = "one"
    features = { kind = "vector", columns = ["pixels"] }
    [pools.two]
    path = "two"
    [pools.labelled]
    path = "labelled"
    target = "kind"
    classes = ["a", "b", "c"]
    [pools.sized]
    path = "sized"
    target = "size"
    [fit.large]
    model = { kind = "linear" }
    on = "labelled"
    [fit.regression]
    model = { kind = "linear" }
    on = "sized"
    [labels.teacher]
    labeler = { kind = "custom", file = "teacher.py" }
    over = ["one", "two"]
    encoding = { kind = "topk", k = 1, temperatures = [1, 4] }
    [labels.values]
    labeler = { kind = "custom", file = "values.py" }
    over = ["one", "two"]
    [students.small]
    model = { kind = "mlp", hidden = [8] }
    training = { epochs = 2, batch_rows = 16, lanes = 4, workers = 1 }
    [students.small.heads.size]
    model = { kind = "linear" }
    [[students.small.terms]]
    learns = "pools.labelled"
    loss = { kind = "cross_entropy" }
    weight = 0.5
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 4 }
    [[students.small.terms]]
    learns = "labels.values"
    loss = { kind = "mse" }
    head = "size"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lesson")
    for name, shards in {
        "one": [100, 30],
        "two": [20],
        "labelled": [50, 40],
        "sized": [30],
    }.items():
        write_pool(folder / name, shards)
    (folder / "teacher.py").write_text(TEACHER, "utf-8")
    (folder / "values.py").write_text(VALUES, "utf-8")
    job = tiny_job(folder, JOB)
    for name in job.labels:
        outcomes = label_by_worker(job, name)
        assert not [each.failure for some in outcomes.values() for each in some if each.failure]
    return folder


@pytest.fixture
def job(folder):
    return tiny_job(folder, JOB)


@pytest.fixture
def lesson(job) -> TrainingPlan:
    return plan_student(job, job.variants[0])


def test_a_student_of_labels_and_a_target_sees_one_pool_only(lesson):
    assert [[inventory.pool for inventory in source.inventories] for source in lesson.sources] == [
        ["one", "two"],
        ["labelled"],
    ]
    assert [source.rows for source in lesson.sources] == [150, 90]
    assert [(term.source, term.column, term.target) for term in lesson.terms] == [
        (1, "0", True),
        (0, "1", False),
        (0, "2", False),
    ]
    first, second = lesson.sources
    assert first.columns.keys() == {"1", "2"}
    assert second.columns == {
        "0": TargetColumn("kind", Outputs("logits", ("a", "b", "c")), width=3)
    }
    assert isinstance(first.columns["1"], LabelColumn)
    assert (first.columns["1"].temperature, first.columns["2"].temperature) == (4.0, None)


def test_a_lesson_cuts_its_rows_without_asking_what_memory_holds(lesson, monkeypatch):
    source, lanes = lesson.sources[0], lesson.training.lanes
    order = lesson.order(0)
    assert order.block_rows == source.block_rows
    assert order.digest == replace(lesson, description={}).order(0).digest
    assert max(chunk.rows for chunk in order.chunks) > 2
    monkeypatch.setattr(source_module, "LOADER_BYTES", 2 * lanes * 12 * source.row_bytes)
    assert max(chunk.rows for chunk in lesson.order(0).chunks) == 2
    assert lesson.order(0).digest != order.digest


def test_classes_are_aligned_by_position_instead_of_by_name(lesson):
    assert lesson.heads["main"].classes == ("a", "b", "c")
    assert lesson.terms[0].positions is None
    assert lesson.terms[1].positions == (2, 0)  # c and a
    assert lesson.terms[2].positions is None


def test_a_lesson_forgets_what_the_job_says(job, lesson):
    assert lesson.name == "small"
    assert lesson.plan.in_features == 4
    assert lesson.plan.heads == {"main": HeadPlan(3), "size": HeadPlan(2, Linear(kind="linear"))}
    assert [term.weight for term in lesson.terms] == [0.5, 1.0, 1.0]
    assert [term.head for term in lesson.terms] == ["main", "main", "size"]
    assert (lesson.seed, lesson.training.batch_rows, lesson.most_chunk_rows) == (3, 16, 64)
    assert lesson.description["terms"] == [
        "0.5 · cross entropy to pools.labelled",
        "1 · kl at T=4 to labels.teacher",
        "1 · mse to labels.values",
    ]
    assert lesson.taught_by.keys() == {
        "labels.teacher over one",
        "labels.teacher over two",
        "labels.values over one",
        "labels.values over two",
        "pools.one",
        "pools.two",
        "pools.labelled",
    }


def test_a_source_of_a_lesson_cannot_be_read(lesson):
    rows = lesson.sources[0].load(Chunk(1, 0, 0, 20))
    np.testing.assert_array_equal(rows["2.outputs"], rows["features"][:, 2:])
    np.testing.assert_array_equal(rows["1.index"][:, 0], rows["features"][:, :2].argmax(axis=1))
    assert rows["1.weight"].sum() == 20
    targets = lesson.sources[1].load(Chunk(0, 1, 0, 40))
    assert set(targets["0.target"]) == {0, 1, 2}


def test_a_target_of_the_rows_it_learns_labels_on_is_read_a_second_time(folder):
    text = JOB.replace(
        '[pools.one]\n    path = "one"',
        '[pools.one]\n    path = "one"\n    target = "kind"\n    classes = ["a", "b", "c"]',
    )
    text = text.replace('learns = "pools.labelled"', 'learns = "pools.one"')
    text = text.replace("[students.small]\n", '[students.small]\n    on = ["one"]\n')
    job = tiny_job(folder, text)
    lesson = plan_student(job, job.variants[0])
    assert len(lesson.sources) == 1
    assert lesson.sources[0].columns.keys() == {"0", "1", "2"}
    assert {term.source for term in lesson.terms} == {0}


def test_a_fit_is_another_thing_than_a_student_with_a_target(job):
    lesson = plan_fit(job, "large")
    assert isinstance(lesson, TrainingPlan)
    assert [term.loss.kind for term in lesson.terms] == ["cross_entropy"]
    assert lesson.heads == {"main": Outputs("logits", ("a", "b", "c"))}
    assert (lesson.plan.heads["main"].width, lesson.seed) == (3, 3)
    assert lesson.taught_by.keys() == {"pools.labelled"}
    regression = plan_fit(job, "regression")
    assert [term.loss.kind for term in regression.terms] == ["mse"]
    assert regression.plan.heads["main"].width == 1


def test_a_fit_of_independent_outputs_learns_one_class(folder):
    text = JOB.replace(
        'target = "size"', 'target = "size"\n    classes = ["large"]\n    outputs = "independent"'
    )
    lesson = plan_fit(tiny_job(folder, text), "regression")
    assert [term.loss.kind for term in lesson.terms] == ["binary_cross_entropy"]


def test_labels_that_are_missing_or_mean_something_else_are_learned(folder, tmp_path):
    job = tiny_job(folder, JOB)
    elsewhere = load_job(job.path, root=str(tmp_path / "root"))
    with pytest.raises(ContractError, match=r"labels\.teacher: nothing is labelled yet"):
        plan_student(elsewhere, elsewhere.variants[0])
    other = tiny_job(folder, JOB.replace("k = 1", "k = 2"))
    with pytest.raises(ContractError, match=r"k: stored 1, now 2"):
        plan_student(other, other.variants[0])
    changes = {
        "temperatures: stored [1.0, 4.0], now [4.0, 2.0]": (
            JOB.replace("temperatures = [1, 4]", "temperatures = [4, 2]"),
            TEACHER,
        ),
        "dtype: stored 'uint8', now 'float16'": (
            JOB.replace("k = 1,", 'k = 1, values = "float16",'),
            TEACHER,
        ),
        "format: stored 'arrow', now 'parquet'": (
            JOB.replace("encoding =", 'format = "parquet"\n    encoding =', 1),
            TEACHER,
        ),
        "(other features, or scaled otherwise)": (
            JOB.replace('["pixels"] }', '["pixels"], scale = 0.5 }'),
            TEACHER,
        ),
        "revision: stored '1', now '2' (other weights)": (JOB, TEACHER.replace('"1"', '"2"')),
        "classes: stored 'c', now 'a' as number 0": (JOB, TEACHER.replace('"c", "a"', '"a", "c"')),
    }
    for said, (text, teacher) in changes.items():
        (folder / "teacher.py").write_text(teacher, "utf-8")
        changed = tiny_job(folder, text)
        with pytest.raises(ContractError) as refused:
            plan_student(changed, changed.variants[0])
        assert said in str(refused.value)
        assert "labels.teacher.version = 2" in str(refused.value)
    (folder / "teacher.py").write_text(TEACHER, "utf-8")
    cut = tiny_job(folder, JOB.replace("fragment_rows = 64", "fragment_rows = 100"))
    with pytest.raises(ContractError, match="fragment_rows = 64, now 100"):
        plan_student(cut, cut.variants[0])


def test_rows_of_another_width_fail_inside_torch(folder):
    write_pool(folder / "wide", [30], width=6)
    wide = JOB.replace("[students.small]\n", f"{WIDE}    [students.small]\n")
    stop = wide.replace(
        "[students.small]\n", '[students.small]\n    early_stop = { learns = "pools.wide" }\n'
    )
    for text in (stop, wide.replace('"pools.labelled"', '"pools.wide"')):
        job = tiny_job(folder, text)
        with pytest.raises(
            ContractError, match=r"students\.small: sees .*pools\.one has 4, .*pools\.wide has 6\."
        ):
            check_inputs(job)


def test_a_finished_model_is_trained_again(folder, tmp_path):
    file = tiny_job(folder, JOB).path
    job = load_job(file, root=str(tmp_path / "root"))
    for name in job.labels:
        label_by_worker(job, name)
    lesson = plan_student(job, job.variants[0])
    record, _ = keep_network(lesson.folder, dict(lesson.heads), 4)
    assert plan_student(job, job.variants[0]) == record
    fit = plan_fit(job, "large")
    record, _ = keep_network(fit.folder, dict(fit.heads), 4)
    assert plan_fit(job, "large") == record
