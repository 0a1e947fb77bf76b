from __future__ import annotations

import re

import pytest

from distill.core.fleet import fleets
from distill.stages.report.timeline import draw_timeline, run_section
from distill.stages.report.write_report import write_report
from distill.storage.open import open_storage
from tests.core.runs import commit, lost_node, record, workers


def long_run(**more):
    commits = [commit(at) for at in range(10, 600, 10)]
    return record(workers(0, 2), lost_node(5), *commits, workers(600, 0), until=600, **more)


@pytest.fixture
def page(tmp_path, digits):
    """`page(runs)`: the page of an evaluation that those runs made."""
    folder = open_storage(str(tmp_path))

    def write(*runs):
        write_report(folder, digits, runs)
        return folder.read("report.html").decode()

    return write


def test_a_root_from_before_runs_were_recorded_has_another_page(page):
    before = page()
    assert "The runs" not in before
    mark = re.search(r'name="distill-evaluation" content="(\w+)"', before)[1]
    assert mark in page()
    assert mark not in page(long_run())


def test_the_page_does_not_say_what_was_lost(page):
    text = page(long_run())
    assert "1 node (1 preempted, spot)" in text
    assert "3,776 rows in 10 minutes by up to 2 workers, 20 minutes of workers" in text
    assert "Workers and rows a second" in text


def test_a_run_without_labels_is_drawn_or_its_line_is_missing():
    section = run_section([record(workers(0, 1), until=60)])
    assert section.charts == []
    (line,) = section.lines
    assert line.cells[-1] == "nothing"


def test_money_is_told_that_nobody_priced_or_is_not_where_somebody_did():
    assert "dollars" not in run_section([long_run()]).heads
    priced = record(workers(0, 2), until=3_600, dollars=6.0)
    section = run_section([long_run(), priced])
    cells = [line.cells[section.heads.index("dollars")] for line in section.lines]
    assert cells == ["–", "12.00"]


def test_time_of_gpus_is_told_of_runs_that_had_none():
    assert "GPUs' time" not in run_section([long_run()]).heads
    section = run_section([long_run(), record(workers(0, 2, gpus=1.0), until=3_600)])
    cells = [line.cells[section.heads.index("GPUs' time")] for line in section.lines]
    assert cells == ["–", "2 hours"]


def test_old_runs_push_the_last_one_off_the_page():
    runs = [record(workers(0, 1), until=60, run=str(number)) for number in range(20)]
    section = run_section(runs)
    assert len(section.lines) == 8
    assert section.note.startswith("The newest 8 runs; 12 before.")


def test_a_chart_of_parts_is_one_a_driver():
    (fleet,) = fleets([long_run(part="0/2", run="a"), long_run(part="1/2", run="b")])
    chart = draw_timeline(fleet)
    assert chart.caption.startswith("2 drivers together: 7,552 rows in 10 minutes by up to 4")
    assert [mark.name for mark in chart.legend][-1] == "something was lost"
