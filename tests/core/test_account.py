"""What workers hold is counted once, by step and kind, whatever becomes of the step."""

from __future__ import annotations

import pytest

from distill.core import events
from distill.core.account import Account, Held, RunSpent, add_up
from tests.core.runs import commit, event, workers

BEGAN = 1_000_000.0


@pytest.fixture
def at(monkeypatch):
    """`at(seconds)`: let it be so long after the begin."""

    def move(seconds):
        monkeypatch.setattr(events, "now", lambda: BEGAN + seconds)

    move(0)
    return move


@pytest.fixture
def account(at):
    """Of workers that cost a dollar an hour, and three with a GPU."""
    return Account("run", "job", lambda _cpus, gpus: 1.0 + 2.0 * gpus)


def test_a_worker_that_waits_or_starts_is_free(account, at):
    account.begin("labels.teacher")
    account(workers(0, 2, gpus=1.0))
    account(commit(10))
    account(workers(3600, 1, gpus=1.0))
    at(7200)
    account.end()
    spent = account.spent()
    assert spent.steps["labels.teacher"].held == (Held(1.0, 1.0, 3 * 3600.0),)
    assert spent.steps["labels.teacher"].rows == 64
    totals = account.totals()
    assert (totals.worker_hours, totals.gpu_hours, totals.dollars) == (3.0, 3.0, 9.0)


def test_a_step_without_an_engine_is_free_or_the_driver_counts_beside_its_workers(account, at):
    account.begin("select.few")
    at(3600)
    account.end()
    account.begin("labels.teacher")
    account(workers(3600, 0))
    account(workers(5400, 4))
    at(7200)
    account.end()
    steps = account.spent().steps
    assert steps["select.few"].hours == 1.0
    assert steps["labels.teacher"].hours == 2.0


def test_time_between_steps_or_after_them_costs_something(account, at):
    account.begin("fit.large")
    at(60)
    account.end()
    account(workers(100, 50))
    account(commit(120))
    at(3600)
    assert account.spent().steps["fit.large"].hours == pytest.approx(60 / 3600)
    assert account.spent().ended == BEGAN + 60


def test_events_out_of_order_are_counted_twice(account, at):
    account.begin("labels.teacher")
    for each in (workers(0, 1), commit(10), workers(8, 1), workers(12, 0)):
        account(each)
    at(20)
    account.end()
    assert account.spent().steps["labels.teacher"].held == (Held(1.0, 0.0, 12.0),)


def test_a_commit_of_another_step_counts(account, at):
    account.begin("labels.other")
    account(commit(10))
    account(event("labelled", 10))
    account.end()
    assert account.spent().steps.get("labels.other") is None


def test_trainings_of_one_group_of_workers_are_one_step_or_cost_more_together(account, at):
    account.begin("training")
    account(workers(0, 2))
    account(workers(60, 0))
    account.divide({"students.small": 10.0, "students.large": 30.0})
    account.end()
    steps = account.spent().steps
    assert set(steps) == {"students.small", "students.large"}
    assert steps["students.small"].hours == pytest.approx(30 / 3600)
    assert steps["students.large"].hours == pytest.approx(90 / 3600)


def test_a_kind_without_a_price_costs_nothing(at):
    account = Account("run", "job", lambda _cpus, gpus: None if gpus else 1.0)
    account.begin("labels.teacher")
    account(workers(0, 1))
    at(3600)
    assert account.totals().dollars == 1.0
    account(workers(3600, 1, gpus=1.0))
    assert account.totals(BEGAN + 3601).dollars is None
    assert add_up([], None).dollars is None


def test_a_run_is_another_after_json(account, at):
    account.begin("labels.teacher")
    account(workers(0, 2, gpus=0.5))
    at(60)
    account.end()
    from dataclasses import asdict

    assert RunSpent.from_plain(asdict(account.spent())) == account.spent()
