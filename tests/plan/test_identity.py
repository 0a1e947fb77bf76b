from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import ContractError
from distill.labels.label_set import LabelSet
from distill.models.losses.cross_entropy import CrossEntropy
from distill.plan.identity import _learned, _plain_student, _plain_term
from distill.plan.workspace import Workspace
from distill.spec.models import Training
from distill.spec.outputs import Outputs
from distill.spec.students import Term
from tests.making import keep_network, label_by_worker
from tests.resolved import (
    find_fit,
    find_student,
    fit_folder,
    label_set,
    student_folder,
    student_pins,
)
from tests.tiny import DOUBLING, tiny_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.unlabelled]
    path = "unlabelled"
    [pools.labelled]
    path = "labelled"
    features = { kind = "vector", columns = ["pixels"] }
    target = "kind"
    classes = ["a", "b", "c"]
    [fit.large]
    model = { kind = "linear" }
    on = "labelled"
    [labels.teacher]
    labeler = { kind = "custom", file = "labeler.py" }
    over = ["unlabelled"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 2, workers = 2 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 2 }
    [[students.small.terms]]
    learns = "pools.labelled"
    loss = { kind = "cross_entropy" }
"""


@pytest.fixture
def folder(tmp_path):
    write_pool(tmp_path / "unlabelled", [100, 30])
    write_pool(tmp_path / "labelled", [70])
    (tmp_path / "labeler.py").write_text(DOUBLING, "utf-8")
    label_by_worker(tiny_job(tmp_path, JOB), "teacher")
    return tmp_path


def fit_digest(folder, text=JOB):
    return fit_folder(tiny_job(folder, text), "large").uri


def student_digest(folder, text=JOB):
    job = tiny_job(folder, text)
    (variant,) = job.variants
    return student_folder(job, variant, student_pins(job, variant.spec)).uri


def changed(old, new):
    assert JOB.count(old) == 1
    return JOB.replace(old, new)


def test_the_same_job_means_another_model_at_the_next_look(folder):
    assert fit_digest(folder) == fit_digest(folder)
    assert student_digest(folder) == student_digest(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('columns = ["pixels"]', 'columns = ["pixels"], scale = 0.5'),
        (
            'target = "kind"\n    classes = ["a", "b", "c"]',
            'target = "kind"\n    classes = ["b", "a", "c"]',
        ),
        ("    fragment_rows = 64", "    fragment_rows = 64\n    seed = 9"),
    ],
)
def test_a_model_is_found_that_was_trained_on_another_meaning(folder, old, new):
    assert fit_digest(folder, changed(old, new)) != fit_digest(folder)
    if "scale" not in new:  # which the stored labels would refuse
        assert student_digest(folder, changed(old, new)) != student_digest(folder)


def test_a_student_is_found_that_learned_another_target(folder):
    text = changed('"cross_entropy" }', '"mse" }\n    head = "size"').replace(
        '    classes = ["a", "b", "c"]\n', ""
    )
    email = text.replace('target = "kind"', 'target = "email"')
    size = text.replace('target = "kind"', 'target = "size"')
    assert student_digest(folder, size) != student_digest(folder, email)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("temperature = 2", "temperature = 3"),
        ('"cross_entropy" }', '"cross_entropy" }\n    weight = 0.5'),
        ('"cross_entropy" }', '"cross_entropy" }\n    head = "other"'),
        ("epochs = 2", "epochs = 3"),
        ('"cross_entropy" }', '"cross_entropy" }\n    row_weight = { kind = "class_balance" }'),
        ("    [students.small]", "    [students.small]\n    batch_share = { labelled = 0.5 }"),
        (
            'model = { kind = "linear" }\n    training',
            'model = { kind = "mlp", hidden = [4] }\n    training',
        ),
    ],
)
def test_a_student_is_found_that_was_taught_otherwise(folder, old, new):
    assert student_digest(folder, changed(old, new)) != student_digest(folder)
    assert fit_digest(folder, changed(old, new)) == fit_digest(folder)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("workers = 2", "workers = 4"),
        ("workers = 2", "workers = [1, 4]"),
        ("workers = 2", "workers = 2, gpus = 0.5"),
        ("workers = 2", "workers = 2, cache_gb = 0"),
        (
            "    [students.small]",
            '    [evaluate]\n    on = "labelled2"\n    [pools.labelled2]\n    path = "x"\n    target = "kind"\n    classes = ["a", "b"]\n    [students.small]',
        ),
    ],
)
def test_workers_or_evaluation_train_a_model_anew(folder, old, new):
    assert student_digest(folder, changed(old, new)) == student_digest(folder)


def test_other_labels_or_rows_leave_a_student_as_it_is(folder):
    before, fit_before = student_digest(folder), fit_digest(folder)
    write_pool(folder / "more", [40])
    (folder / "more" / "part-00000.parquet").rename(folder / "labelled" / "part-00001.parquet")
    grown = student_digest(folder)
    assert grown != before
    assert fit_digest(folder) != fit_before
    (folder / "labeler.py").write_text(
        DOUBLING.replace('"1"', '"2"').replace("[:, :3]", "[:, 1:]"), "utf-8"
    )
    text = changed('over = ["unlabelled"]', 'over = ["unlabelled"]\n    version = 2')
    label_by_worker(tiny_job(folder, text), "teacher")
    assert student_digest(folder, text) != grown


def test_a_student_pins_something_else_than_labels_and_rows(folder):
    job = tiny_job(folder, JOB)
    pins = student_pins(job, job.students["small"])
    assert pins.keys() == {"labels.teacher over unlabelled", "pools.unlabelled", "pools.labelled"}
    labels = label_set(job, "teacher", "unlabelled")
    assert isinstance(labels, LabelSet)
    assert pins["labels.teacher over unlabelled"] == labels.label_hash
    assert len(labels.entries) == 3


def test_an_unfinished_model_is_used(folder):
    job = tiny_job(folder, JOB)
    with pytest.raises(ContractError, match=r"fit\.large is not fitted yet.*distill fit"):
        find_fit(job, "large")
    with pytest.raises(ContractError, match=r"students\.small is not trained yet.*distill train"):
        find_student(job, job.variants[0])
    record, _ = keep_network(fit_folder(job, "large").uri, {"main": job_outputs(job)}, 4)
    assert find_fit(job, "large")[1] == record


def job_outputs(job):
    from tests.resolved import pool_outputs

    return pool_outputs(job, "labelled")


def test_an_option_that_came_later_teaches_finished_students_again():
    learned, term = (
        _learned(Training()),
        _plain_term(Term(learns="labels.x", loss=CrossEntropy(kind="cross_entropy"))),
    )
    assert sorted(learned) == [
        "batch_rows",
        "epochs",
        "lanes",
        "learning_rate",
        "optimizer",
        "schedule",
        "weight_decay",
    ]
    assert sorted(term) == ["head", "learns", "loss", "weight"]
    assert sorted(term["loss"]) == ["kind", "temperature"]
    assert _learned(Training(gradients="lanes"))["gradients"] == "lanes"


OWN = """
from torch import nn


class Trunk(nn.Linear):
    revision = "1"

    def __init__(self, in_features, hidden=3):
        super().__init__(in_features, hidden)
"""


def own_digests(folder, text=OWN, model='{ kind = "custom", file = "own.py" }', file="own.py"):
    """Of the fit and of the student."""
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text(text, "utf-8")
    job = JOB.replace('{ kind = "linear" }', model)
    return fit_digest(folder, job), student_digest(folder, job)


def test_a_comment_or_another_place_of_the_users_file_trains_anew(folder):
    first = own_digests(folder)
    assert own_digests(folder, OWN + "# a comment\n") == first
    assert (
        own_digests(folder, OWN, '{ kind = "custom", file = "nets/own.py" }', "nets/own.py")
        == first
    )


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (OWN.replace('"1"', '"2"'), '{ kind = "custom", file = "own.py" }'),
        (OWN, '{ kind = "custom", file = "own.py", options = { hidden = 3 } }'),
        (
            OWN + "class Other(Trunk): pass\n",
            '{ kind = "custom", file = "own.py", name = "Other" }',
        ),
    ],
)
def test_another_revision_class_or_option_finds_the_old_model(folder, text, model):
    assert not set(own_digests(folder)) & set(own_digests(folder, text, model))


def test_networks_of_ones_own_and_widths_teach_older_students_again(folder):
    heads = 'heads = { main = { classes = ["a", "b", "c"], model = { kind = "linear" } } }'
    job = tiny_job(folder, JOB.replace("    training = {", f"    {heads}\n    training = {{"))
    plain = _plain_student(Workspace(job), job.students["small"], "students.small")
    assert sorted(plain) == ["heads", "model", "on", "seed", "terms"]
    assert plain["model"] == {"kind": "linear"}
    assert plain["heads"] == {"main": {"classes": ["a", "b", "c"], "model": {"kind": "linear"}}}


TEXTS = """
    root = "root"
    [pools.labelled]
    path = "texts"
    features = { kind = "text", column = "text" }
    target = "kind"
    classes = ["a", "b"]
    [fit.large]
    model = { kind = "ngram_bag", hidden = 4 }
    on = "labelled"
    [students.small]
    model = { kind = "ngram_bag", hidden = 4 }
    heads = { main = { model = { kind = "ngram_bag", hidden = 2 } } }
    [[students.small.terms]]
    learns = "pools.labelled"
    loss = { kind = "cross_entropy" }
"""


@pytest.mark.parametrize("folder_of", [fit_digest, student_digest])
def test_what_learned_other_words_is_trained_again_or_taken_for_what_is_asked(tmp_path, folder_of):
    (tmp_path / "texts").mkdir()
    rows = pa.table({"text": ["a b", "c"], "kind": ["a", "b"]})
    pq.write_table(rows, tmp_path / "texts" / "part.parquet")
    letters = TEXTS.replace("hidden", 'words = "letters", hidden')
    said = TEXTS.replace("hidden", 'words = "unicode", hidden')
    new, old = folder_of(tmp_path, TEXTS), folder_of(tmp_path, letters)
    assert new != old
    outputs = {"main": Outputs("logits", ("a", "b"))}
    keep_network(Path(old), outputs, 4)
    assert folder_of(tmp_path, TEXTS) == old, "what was trained before stays"
    assert folder_of(tmp_path, said) == new, "but not where the job says what a word is"
    keep_network(Path(new), outputs, 4)
    assert folder_of(tmp_path, TEXTS) == new


def test_a_key_of_timms_networks_that_comes_later_teaches_those_of_drawn_weights_again(folder):
    text = changed(
        '[students.small]\n    model = { kind = "linear" }',
        '[students.small]\n    model = { kind = "timm", name = "test_vit", shape = [1, 8, 8] }',
    )
    workspace = Workspace(tiny_job(folder, text))
    plain = _plain_student(workspace, workspace.tables.students["small"], "students.small")
    assert plain["model"] == {"kind": "timm", "name": "test_vit", "shape": [1, 8, 8]}
