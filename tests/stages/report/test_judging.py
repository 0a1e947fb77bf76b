"""What the page says of gate, slices and intervals, of an evaluation made by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from distill.core.judgement import (
    FAILED,
    INCONCLUSIVE,
    PASSED,
    Comparison,
    Example,
    GateResult,
    PoweredResult,
    RuleResult,
    SliceResult,
    gate_sentences,
    worst_first,
)
from distill.core.results import FORM
from distill.stages.report.write_report import write_report
from distill.storage.open import open_storage
from tests.core.evaluations import TEACHER, evaluation, method

KEY = "students.small.main"
HOSTILE = "<script>alert(1)</script>"


def rule(state, value="", rows=400, distance=0.0, why=""):
    return RuleResult(
        rule="accuracy at least 0.9",
        student=KEY,
        name="small",
        measure="accuracy",
        slicing="class" if value else "",
        value=value,
        rows=rows,
        found=0.8,
        low=0.75,
        high=0.85,
        limit=0.9,
        state=state,
        why=why,
        distance=distance,
    )


def judged(*rules):
    student = replace(
        method("small", accuracy=0.8, f1_macro=0.7),
        key=KEY,
        intervals={"accuracy": [0.77, 0.83], "f1_macro": [0.6, 0.8]},
        errors={"roc_auc": 0.001},
    )
    teacher = replace(TEACHER, key="labels.large", intervals={"accuracy": [0.98, 1.0]})
    measures = {key: {"accuracy": [0.5, 0.4, 0.6]} for key in (KEY, "labels.large")}
    example = Example(shard="part-0", row=7, truth=HOSTILE, said="b (90%)", text="some text")
    slices = (
        SliceResult(
            slicing="class",
            value=HOSTILE,
            rows=80,
            few=False,
            measures=measures,
            examples=(example,),
        ),
        SliceResult(slicing="class", value="b", rows=9, few=True, measures=measures),
    )
    beside = Comparison(
        first=KEY,
        second="labels.large",
        measure="accuracy",
        difference=-0.19,
        low=-0.22,
        high=-0.16,
        gained=3,
        lost=200,
        p_value=1e-30,
    )
    powered = PoweredResult(
        method=KEY,
        measure="accuracy",
        pool="held_out",
        value=0.8,
        low=0.78,
        high=0.82,
        people_value=0.81,
        people_low=0.76,
        people_high=0.86,
        people_rows=200,
        teacher_rows=5_000,
        strata=4,
    )
    return replace(
        evaluation(student, teacher),
        form=FORM,
        slices=slices,
        comparisons=(beside,),
        powered=(powered,),
        gate=GateResult(confidence=0.95, results=tuple(worst_first(rules))) if rules else None,
    )


@pytest.fixture
def page(tmp_path):
    def written(found):
        write_report(open_storage(str(tmp_path)), found)
        return (tmp_path / "report.html").read_text("utf-8")

    return written


def test_the_first_screen_hides_that_the_gate_is_closed(page):
    found = judged(rule(PASSED), rule(FAILED, "b", distance=3), rule(INCONCLUSIVE, "a", rows=9))
    html = page(found)
    first_screen = html[: html.index("<h2>Comparison")]
    assert "closed" in first_screen
    assert "1 of 3 rules and slices passed" in first_screen
    assert "95% interval 77.0 to 83.0" in first_screen
    assert "taught by labels.large" in first_screen
    assert "Gate: failed" in html


@pytest.mark.parametrize(
    ("states", "shown"), [([PASSED], "open"), ([INCONCLUSIVE], "inconclusive")]
)
def test_a_gate_is_called_open_that_is_not(page, states, shown):
    html = page(judged(*map(rule, states)))
    assert f'<div class="head">Gate</div><div class="value">{shown}</div>' in html


def test_a_page_without_a_gate_has_one(page):
    assert "Gate" not in page(judged())


def test_values_of_slices_become_markup(page):
    html = page(judged(rule(FAILED, HOSTILE)))
    assert HOSTILE not in html
    assert "&lt;script&gt;" in html


def test_few_rows_are_not_said_to_be_few(page):
    html = page(judged())
    assert "too few rows to say much" in html
    assert "“some text”" in html
    assert "below 0.0001" in html
    assert "0.40×" in html  # of people's interval
    assert "roc_auc by at most 0.001" in html


def test_the_worst_is_not_told_first_or_all_of_many_are_told():
    many = [rule(FAILED, f"v{number}", distance=number) for number in range(15)]
    gate = GateResult(
        confidence=0.95, results=tuple(worst_first([rule(INCONCLUSIVE, "x"), *many, rule(PASSED)]))
    )
    sentences = gate_sentences(gate)
    assert "'v14'" in sentences[0]
    assert len(sentences) == 11
    assert sentences[-1] == "gate: and 6 more that did not pass."
