"""The report says of each step whether it took what was planned."""

from __future__ import annotations

from dataclasses import replace

from distill.core.costs import Range, StepActual
from distill.core.results import Evaluation
from distill.stages.report.estimates import cost_lines
from distill.stages.report.write_report import write_report
from distill.storage.open import open_storage

COSTS = (
    StepActual("labels.teacher", Range(1.0, 2.0), 1.5, Range(1e6, 2e6), 3e6),
    StepActual("students.small", Range(1.0, 2.0), 2.5, None, 0.0, 2.5, 12.0),
    StepActual("evaluate", Range(0.1, None), 0.2, None, 0.0),
)


def test_a_step_is_said_to_be_within_what_it_passed(digits):
    lines = cost_lines(replace(digits, costs=COSTS))
    assert [line.held for line in lines] == ["within", "above", ""]
    assert lines[0].hours == "1 h – 2 h"
    assert (lines[0].bytes, lines[0].stored) == ("1 MB – 2 MB", "3 MB")
    assert (lines[1].bytes, lines[1].stored) == ("", "")
    assert lines[2].hours == "≥ 6 min"
    assert [line.gpu_hours for line in lines] == ["", "2.5 h", ""]
    assert [line.dollars for line in lines] == ["", "$12.00", ""]


def test_costs_are_lost_on_the_way_into_the_page(digits, tmp_path):
    folder = open_storage(str(tmp_path))
    write_report(folder, digits)
    assert "Estimate beside actual" not in (tmp_path / "report.html").read_text("utf-8")
    costly = replace(digits, costs=COSTS)
    assert Evaluation.from_plain(costly.to_plain()) == costly
    write_report(folder, costly)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Estimate beside actual" in page
    assert "labels.teacher" in page
    assert "dollars, spent" in page
    assert "GPU time, spent" in page


def test_an_evaluation_without_a_plan_has_another_page_than_before(digits):
    assert "costs" not in digits.to_plain()
