"""Prices are said whole, of a day, once each; from the job or from a file of their own."""

from __future__ import annotations

import pytest

from distill.core.errors import JobError
from tests.tiny import tiny_job

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    compute = { gpus = 1 }
"""
PRICES = """
    on = 2026-11-29
    [[INSTANCES]]
    instance = "g6"
    market = "spot"
    dollars = 0.4
    cpus = 4
    gpus = 1
"""
INSIDE = "    [prices]" + PRICES.replace("INSTANCES", "prices.instances")
LABELER = """
class Labeler:
    revision = "1"
    classes = ("a", "b")

    def label(self, features):
        return features
"""


@pytest.fixture(autouse=True)
def labeler(tmp_path):
    (tmp_path / "mine.py").write_text(LABELER, "utf-8")


def refused(folder, text: str) -> str:
    with pytest.raises(JobError) as told:
        tiny_job(folder, JOB + text)
    return str(told.value)


def test_a_file_of_prices_is_another_than_the_job_would_have(tmp_path):
    inside = tiny_job(tmp_path, JOB + INSIDE).prices
    lines = PRICES.replace("INSTANCES", "instances").replace("    ", "")
    (tmp_path / "prices.toml").write_text(lines, "utf-8")
    assert tiny_job(tmp_path, JOB + '    [prices]\n    file = "prices.toml"\n').prices == inside


def test_a_wrong_price_is_taken(tmp_path):
    assert "must be a day without quotes, such as 2026-11-29" in refused(
        tmp_path, INSIDE.replace("2026-11-29", '"soon"')
    )
    assert "lacks the day of the prices" in refused(tmp_path, "    [prices]\n")
    assert "say one of them" in refused(tmp_path, INSIDE.replace("on =", 'file = "x"\n    on ='))
    assert "No such file" in refused(tmp_path, '    [prices]\n    file = "gone.toml"\n')
    twice = INSIDE + PRICES.replace("    on = 2026-11-29\n", "").replace(
        "INSTANCES", "prices.instances"
    )
    assert "two prices of ['g6 spot']" in refused(tmp_path, twice)
    assert "prices.instances.0.dollars" in refused(tmp_path, INSIDE.replace("0.4", "-1"))
    (tmp_path / "other.toml").write_text('file = "again.toml"', "utf-8")
    assert "names another file" in refused(tmp_path, '    [prices]\n    file = "other.toml"\n')
    (tmp_path / "wrong.toml").write_text("on = 2026-11-29\ninstance = 3", "utf-8")
    said = refused(tmp_path, '    [prices]\n    file = "wrong.toml"\n')
    assert "wrong.toml: instance: unknown key" in said


def test_a_budget_of_money_is_begun_without_the_price_of_a_gpu(tmp_path):
    budget = "    [budget]\n    money = 5\n"
    tiny_job(tmp_path, JOB + INSIDE + budget)
    said = refused(tmp_path, INSIDE.replace("    gpus = 1\n", "") + budget)
    assert "labels.teacher.compute wants 1 CPUs and 1 GPUs a worker" in said
    assert "sets no limit" in refused(tmp_path, "    [budget]\n")
    assert "budget.hours" in refused(tmp_path, "    [budget]\n    hours = 0\n")
