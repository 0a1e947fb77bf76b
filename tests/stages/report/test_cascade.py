"""What the report says of cascades is what was stored of them."""

from __future__ import annotations

from dataclasses import replace

from distill.core.cascades import CascadeCost, CascadeResult, Threshold, Trial
from distill.stages.report.cascade import cascade_lines
from distill.stages.report.write_report import write_report
from distill.storage.open import open_storage

RESULT = CascadeResult(
    name="sure",
    pool="rows",
    student="small, head <main>",
    student_labels="applied-small",
    to="labels.teacher",
    on="people",
    at_least=0.95,
    confidence=0.9,
    threshold=Threshold(
        by="confidence",
        threshold=0.81234,
        bin=7,
        labelled=400,
        answered=300,
        right=294,
        bound=0.9612,
        trials=(Trial(0.5, 9, 200, 199, passed=True),),
    ),
    rows=10_000,
    unreadable=3,
    sent=2_500,
)
COST = CascadeCost(RESULT, student_seconds=2.0, teacher_seconds=40.0)


def test_the_students_own_time_is_left_out():
    assert COST.share == 2 / 40 + 0.25
    priced = replace(COST, student_dollars=3.0, teacher_dollars=30.0)
    assert (priced.share, priced.is_money) == (3 / 30 + 0.25, True)
    # one without a price is not held against money
    assert replace(COST, teacher_dollars=30.0).share == COST.share
    assert replace(COST, teacher_seconds=None).share is None


def test_a_line_says_who_answers_what_and_what_proves_it():
    (line,) = cascade_lines([COST])
    assert (line.rows, line.sent, line.to) == ("10,000", "25.0%", "labels.teacher")
    assert line.promised == "0.95 at confidence 0.9"
    assert line.found.startswith("294 of 300 labelled rows right: 0.9612 is proven")
    assert line.cost == "30% of its worker time"


def test_the_page_lacks_a_cascade_or_keeps_an_older_one(digits, tmp_path):
    folder = open_storage(str(tmp_path))
    write_report(folder, digits)
    assert "Cascades" not in folder.read("report.html").decode()
    write_report(folder, digits, cascades=[COST])
    page = folder.read("report.html").decode()
    assert "<h2>Cascades</h2>" in page
    assert "small, head &lt;main&gt;, over rows" in page
    assert "294 of 300 labelled rows right" in page
