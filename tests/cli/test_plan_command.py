"""`distill plan` prints what it found, and the same as JSON alone."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from distill.core.amounts import amount, duration, money, size
from distill.core.costs import CostPlan, Range
from tests.command import distill, environment
from tests.tiny import DOUBLING, write_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 2, batch_rows = 64 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl" }
"""
PRICES = """
    [prices]
    on = 2026-11-29
    requests = { read = 0.0004, write = 0.005 }
    [[prices.instances]]
    instance = "m7"
    market = "spot"
    dollars = 0.2
    cpus = 4
"""


@pytest.fixture
def job(tmp_path):
    write_pool(tmp_path / "rows", [640])
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    return tmp_path


def test_teacher_and_student_do_not_stand_beside_each_other(job):
    ended = distill("plan", write_job(job, JOB + PRICES), "--local", "--workers", "4")
    assert ended.code == 0, ended.output
    lines = ended.output.splitlines()
    (million,) = [number for number, line in enumerate(lines) if "A million rows" in line]
    head = next(line for line in lines[million:] if "worker time" in line)
    assert head.count("m7 spot") == 1
    assert "m7 spot" in head
    teacher, student = lines[million + 4 : million + 6]
    assert "labels.teacher" in teacher
    assert "students.small" in student
    assert "$" in teacher
    assert "$" in student
    labels = next(line for line in lines if line.lstrip().startswith("labels.teacher "))
    assert "512" in labels  # of 640 rows two fragments are labelled
    assert " on 4 " in ended.output
    assert "pilot of 2 fragments, 2 of them labelled now" in ended.output
    assert "Prices of 2026-11-29" in ended.output


def test_money_is_said_without_prices_or_nobody_says_how_to_give_them(job):
    ended = distill("plan", write_job(job, JOB), "--local", "--no-pilot")
    assert ended.code == 0, ended.output
    assert "$" not in ended.output
    assert "give `on = 2026-11-29` and [[prices.instances]]" in ended.output
    assert "a pilot says what it takes" in ended.output


def test_json_is_mixed_with_lines_for_people(job):
    file = write_job(job, JOB + PRICES)
    command = [sys.executable, "-m", "distill", "plan", file, "--local", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    plan = CostPlan.from_plain(json.loads(ended.stdout))
    assert "pilot of 2 fragments" in ended.stderr
    assert plan.pilot == 2
    assert {step.step for step in plan.steps} == {"labels.teacher", "students.small"}


def test_an_amount_is_read_wrongly():
    assert duration(0.5) == "30 min"
    assert duration(1 / 3600 / 10) == "0.1 s"
    assert duration(100) == "100 h"
    assert size(37e9) == "37 GB"
    assert money(0.0123) == "$0.012"
    assert money(1234.5) == "$1,234.50"
    assert amount(Range(1.0, 2.0), duration) == "1 h – 2 h"
    assert amount(Range(1.0, None), duration) == "≥ 1 h"
    assert amount(None, duration) == "–"
