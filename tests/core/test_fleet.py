from __future__ import annotations

from itertools import pairwise

import pytest

from distill.core.fleet import fleets, in_words
from tests.core.runs import BEGAN, commit, lost_node, record, workers


def part(number, begins, ends, rows=64, losses=()):
    """A driver with two workers that commits each ten seconds."""
    commits = [commit(at, rows) for at in range(begins + 10, ends, 10)]
    seen = sorted([workers(begins, 2), *commits, *losses], key=lambda each: each.time)
    return record(*seen, workers(ends, 0), until=ends, part=f"{number}/3", run=f"run{number}")


def test_drivers_of_parts_are_shown_each_alone_or_lose_rows_together():
    drivers = [part(0, 0, 600), part(1, 100, 500, losses=[lost_node(300)]), part(2, 50, 1000)]
    (fleet,) = fleets(drivers)
    assert fleet.seconds == 1_000
    assert fleet.rows == sum(each.last.rows for each in drivers)
    assert fleet.points[-1].rows == pytest.approx(fleet.rows)
    assert fleet.most_workers == 6
    by_rate = sum(
        rate * (seconds - before)
        for (before, _), (seconds, rate) in pairwise([(0.0, 0.0), *fleet.rates()])
    )
    assert by_rate == pytest.approx(fleet.rows)
    assert [mark.seconds for mark in fleet.marks] == [300.0]
    assert fleet.losses == "1 node (1 preempted, spot)"


def test_a_driver_that_is_over_counts_as_workers():
    (fleet,) = fleets([part(0, 0, 600), part(1, 0, 100)])
    late = [point.workers for point in fleet.points if 150 < point.seconds < 590]
    assert set(late) == {2}


def test_runs_one_after_another_are_shown_as_one():
    first = record(workers(0, 1), commit(5), until=10)
    second = record(workers(20, 1), commit(25), until=30)
    assert [fleet.rows for fleet in fleets([first, second])] == [64, 64]


def test_a_part_of_yesterday_is_of_todays_fleet():
    assert len(fleets([part(0, 0, 600), part(0, 90_000, 90_600)])) == 2


def test_a_killed_driver_is_at_work_for_ever():
    killed = record(workers(0, 1), commit(5), until=60, is_over=False)
    (fleet,) = fleets([killed])
    assert fleet.state(now=BEGAN + 100) == "at work"
    assert fleet.state(now=BEGAN + 1_000) == "ended from outside"
    assert fleets([record(workers(0, 1), until=60)])[0].state() == "over"


def test_a_price_of_some_drivers_is_the_price_of_all():
    priced = record(workers(0, 1), until=3_600, part="0/2", dollars=1.0)
    (both,) = fleets([priced, record(workers(0, 1), until=3_600, part="1/2")])
    assert both.dollars is None
    assert fleets([priced])[0].dollars == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.25, "0.25 seconds"), (300, "5 minutes"), (9_000, "2.5 hours"), (259_200, "3 days")],
)
def test_a_time_is_read_badly(seconds, words):
    assert in_words(seconds) == words
