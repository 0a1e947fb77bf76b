from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from distill.core.results import Evaluation, MethodResult
from distill.core.schema import unseal
from distill.core.verdict import verdict
from tests.core.evaluations import TEACHER, evaluation, method

STORED = Path(__file__).parents[1] / "fixtures" / "root_before" / "runs" / "reports" / "job"


def test_a_stored_evaluation_reads_back_otherwise():
    mine = evaluation(TEACHER, method("small", accuracy=0.9, nll=0.3))
    read = Evaluation.from_plain(json.loads(json.dumps(mine.to_plain())))
    assert json.dumps(read.to_plain()) == json.dumps(mine.to_plain())
    assert read.methods[1].measures == {"accuracy": 0.9, "nll": 0.3}
    assert read.label_sets == mine.label_sets
    assert verdict(read) == verdict(mine)


def test_seeds_of_one_student_compete_with_each_other():
    seeds = [
        method(f"small[seed={seed}]", group="small", accuracy=value)
        for seed, value in enumerate((0.8, 0.9, 0.95))
    ]
    other = method("lucky", accuracy=0.89)
    mine = evaluation(*seeds, other)
    assert [group.name for group in mine.groups] == ["small", "lucky"]
    assert mine.groups[0].mean("accuracy") == pytest.approx(statistics.fmean([0.8, 0.9, 0.95]))
    assert mine.groups[0].spread("accuracy") == pytest.approx(statistics.stdev([0.8, 0.9, 0.95]))
    assert mine.groups[1].spread("accuracy") is None
    assert mine.groups[0].mean("mse") is None
    assert "lucky is the best student" in verdict(mine)
    assert "88.3 ± 7.6% for small" in verdict(mine)


def test_a_measure_that_nobody_has_is_shown():
    assert evaluation(method("one", nll=0.1), method("two", accuracy=0.5)).shown == [
        "accuracy",
        "nll",
    ]


def test_an_evaluation_stored_before_students_were_named_is_refused_or_names_others():
    (file,) = STORED.glob("*/evaluation.json")
    plain = unseal(file.read_bytes(), str(file))
    assert "student" not in plain["methods"][0]
    read = Evaluation.from_plain(plain)
    assert [(each.name, each.student, each.head) for each in read.methods] == [
        ("large", "", ""),
        ("zero", "", ""),
        ("combined · main", "combined", "main"),
        ("combined · zero", "combined", "zero"),
        ("trusting[terms.0.weight=0.5]", "trusting[terms.0.weight=0.5]", ""),
        ("trusting[terms.0.weight=1.0]", "trusting[terms.0.weight=1.0]", ""),
    ]
    assert read.methods[2].measures == plain["methods"][2]["measures"]
    assert Evaluation.from_plain(read.to_plain()) == read


@pytest.mark.parametrize(
    ("name", "student", "head"),
    [
        ("small[terms.0.loss=a · b]", "small[terms.0.loss=a · b]", ""),
        ("small[terms.0.loss=a · b] · main", "small[terms.0.loss=a · b]", "main"),
        ("small[x=[1]\n] · the-head", "small[x=[1]\n]", "the-head"),
    ],
)
def test_a_swept_value_is_taken_for_a_head(name, student, head):
    plain = vars(method(name))
    before = {key: value for key, value in plain.items() if key not in ("student", "head")}
    read = MethodResult.from_plain(before)
    assert (read.student, read.head) == (student, head)


def test_a_student_named_like_its_labels_is_one_method_with_them():
    mine = evaluation(TEACHER, method(TEACHER.name, accuracy=0.5))
    assert [(group.role, group.name) for group in mine.groups] == [
        ("teacher", TEACHER.name),
        ("student", TEACHER.name),
    ]
    assert len({group.key for group in mine.groups}) == 2
    assert TEACHER.name in verdict(mine)
