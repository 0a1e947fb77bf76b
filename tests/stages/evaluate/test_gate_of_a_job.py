"""A whole job whose student was made worse on one rare class: what its gate says of it."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import LimitError
from distill.core.judgement import FAILED, INCONCLUSIVE, PASSED
from distill.plan.load import load_job
from distill.run import evaluate_students, export_students, run_job
from tests.command import distill
from tests.tiny import write_job

CLASSES = ("common", "usual", "rare")
TEACHER = """
class Labeler:
    revision = "1"
    classes = ("common", "usual", "rare")

    def label(self, features):
        return 8 * features[:, :3]
"""
BLIND = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("common", "usual", "rare")

    def label(self, features):
        logits = 8 * features[:, :3]
        logits[:, 2] = -8  # whoever learns from it cannot say the rare class
        return logits
"""
JOB = """
    root = "root"
    [pools.train]
    path = "train"
    features = { kind = "vector", columns = ["x"] }
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["common", "usual", "rare"]
    private = ["email"]
    [labels.teacher]
    labeler = { kind = "custom", file = "teacher.py" }
    over = ["train", "test"]
    [labels.blind]
    labeler = { kind = "custom", file = "blind.py" }
    over = ["train"]
    [students.good]
    model = { kind = "linear" }
    training = { epochs = 12, learning_rate = 0.1, batch_rows = 64 }
    [[students.good.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
    [students.worse]
    model = { kind = "linear" }
    training = { epochs = 12, learning_rate = 0.1, batch_rows = 64 }
    [[students.worse.terms]]
    learns = "labels.blind"
    loss = { kind = "kl" }
    [evaluate]
    on = "test"
    slices = ["class", "columns.source"]
    [gate]
    students = ["worse"]
    rules = [
        { measure = "accuracy", at_least = 0.85 },
        { measure = "accuracy", at_least = 0.8, slices = ["class"] },
        { measure = "accuracy", at_least = 0.5, slices = ["columns.source"] },
    ]
"""


def write_rows(folder, rows, seed, rare):
    """Rows whose class is their largest number; `rare` of them of the rare class."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(2, size=rows)
    kinds[:rare] = 2
    x = draw.normal(0, 0.05, size=(rows, 3)).astype(np.float32)
    x[np.arange(rows), kinds] += 1
    # nine rows come from a source of their own
    source = ["few" if row < rows and row >= rows - 9 else "many" for row in range(rows)]
    table = pa.table(
        {
            "x": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 3),
            "kind": [CLASSES[kind] for kind in kinds],
            "source": source,
            "email": [f"{row}@example.org" for row in range(rows)],
        }
    )
    folder.mkdir()
    pq.write_table(table, folder / "part-0.parquet", row_group_size=128)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    write_rows(folder / "train", 600, 0, 60)
    write_rows(folder / "test", 1_000, 1, 50)
    (folder / "teacher.py").write_text(TEACHER, "utf-8")
    (folder / "blind.py").write_text(BLIND, "utf-8")
    return write_job(folder, JOB)


@pytest.fixture(scope="module")
def finished(file):
    return run_job(load_job(file), lambda _line: None, engine="local")


def test_a_rule_over_all_rows_hides_what_a_student_lost_of_a_rare_class(finished):
    worst, *others = finished.evaluation.gate.results
    assert (worst.slicing, worst.value, worst.state) == ("class", "rare", FAILED)
    assert worst.found == 0
    (overall,) = [each for each in others if not each.slicing]
    assert overall.state == PASSED
    assert overall.low >= 0.85
    assert "'rare'" in finished.beyond[0]
    assert finished.beyond[0].startswith("gate failed: worse")


def test_nine_rows_pass_since_all_of_them_are_right(finished):
    (few,) = [each for each in finished.evaluation.gate.results if each.value == "few"]
    assert (few.rows, few.found, few.state) == (9, 1.0, INCONCLUSIVE)
    assert "9 rows are fewer than least_rows = 30" in few.why


@pytest.mark.usefixtures("finished")
def test_a_command_ends_well_although_the_gate_is_closed(file):
    ended = distill("evaluate", file, "--local")
    assert ended.code == 3
    assert "class 'rare'" in ended.output


def test_a_student_leaves_although_the_gate_is_closed(file, finished):
    job = load_job(file)
    with pytest.raises(LimitError, match="--despite-gate"):
        export_students(job, ["worse"], engine="local")
    (exported,) = export_students(job, ["worse"], despite_gate=True, engine="local")
    card = (file.parent / exported.uri / "README.md").read_text("utf-8")
    assert "**Failed**, exported all the same" in card
    assert "class 'rare'" in card
    assert card.startswith("---\n")
    (good,) = export_students(job, ["good"], engine="local")
    assert "## Gate" not in (file.parent / good.uri / "README.md").read_text("utf-8")


def test_the_worst_slice_stands_below_others_or_has_no_examples(finished):
    by_class = [each for each in finished.evaluation.slices if each.slicing == "class"]
    best = max(finished.evaluation.methods, key=lambda each: each.measures["accuracy"])
    assert best.student == "good" or best.role == "teacher"
    shares = [each.measures["students.good.main"]["accuracy"][0] for each in by_class]
    assert shares == sorted(shares)
    assert sorted(each.rows for each in by_class)[0] == 50
    for each in by_class:
        assert len(each.examples) == 3
        assert all(example.truth == each.value for example in each.examples)


def test_private_columns_are_shown_in_what_is_stored(file, finished):
    evaluation = json.dumps(finished.evaluation.to_plain(), ensure_ascii=False)
    assert "example.org" not in evaluation


def test_a_finished_evaluation_is_read_otherwise_than_it_was_written(file, finished):
    again = evaluate_students(load_job(file), engine="local")
    assert again.to_plain() == finished.evaluation.to_plain()
    assert again.gate.state == FAILED
