"""Seconds of all fragments of a worker add up to the time in which it was at work."""

from __future__ import annotations

import contextlib

import pytest

from distill.stages.label import work_clock
from distill.stages.label.work_clock import WorkClock


@pytest.fixture
def now(monkeypatch):
    """A clock that the test moves."""
    seconds = [0.0]
    monkeypatch.setattr(work_clock, "monotonic", lambda: seconds[0])
    return seconds


def test_two_fragments_at_once_count_twice(now):
    clock = WorkClock()
    with clock.working() as first:
        now[0] = 2.0
        with clock.working() as second:
            now[0] = 6.0
            assert first.take()["seconds"] == 4.0
            now[0] = 8.0
            assert second.take()["seconds"] == 3.0
        now[0] = 9.0
    now[0] = 20.0  # nothing is in work
    with clock.working() as third:
        now[0] = 21.0
        # what came behind the two commits, and its own second
        assert third.take()["seconds"] == pytest.approx(9.0 - 7.0 + 1.0)


def test_the_start_is_lost_or_counted_twice(now):
    clock = WorkClock()
    with clock.building():
        now[0] = 5.0
    with clock.working() as first:
        now[0] = 6.0
        work = first.take()
    assert (work["startup_seconds"], work["seconds"]) == (5.0, 1.0)
    assert work["memory_bytes"] > 1e6
    with clock.working() as second:
        assert "startup_seconds" not in second.take()


def test_a_fragment_that_another_began_takes_the_start_with_it(now):
    clock = WorkClock()
    with clock.building():
        now[0] = 3.0
    with clock.working() as fragment:
        now[0] = 5.0
        assert fragment.drop() == {}
    with clock.working() as fragment:
        now[0] = 6.0
        work = fragment.take()
    assert (work["seconds"], work["startup_seconds"]) == (1.0, 3.0)


def test_a_fragment_that_fails_is_free(now):
    clock = WorkClock()
    with contextlib.suppress(KeyError), clock.working():
        now[0] = 3.0
        raise KeyError
    with clock.working() as next_one:
        now[0] = 4.0
        assert next_one.take()["seconds"] == 4.0


def test_what_is_done_once_counts_for_every_fragment(now):
    clock = WorkClock()
    with clock.working() as first:
        now[0] = 2.0
        with clock.once():
            now[0] = 5.0
        now[0] = 6.0
        work = first.take()
    assert (work["startup_seconds"], work["seconds"]) == (3.0, 3.0)
