"""The time in which a labeler is at work, counted once however many threads are inside."""

from __future__ import annotations

import pytest

from distill.stages.label import busy_clock
from distill.stages.label.busy_clock import BusyClock


@pytest.fixture
def now(monkeypatch):
    """A clock that the test moves."""
    seconds = [0.0]
    monkeypatch.setattr(busy_clock.time, "monotonic", lambda: seconds[0])
    return seconds


def test_two_fragments_at_once_count_twice(now):
    clock = BusyClock()
    with clock.running():
        now[0] = 1.0
        with clock.running():
            now[0] = 3.0
        now[0] = 4.0
    now[0] = 10.0
    assert clock.take_seconds() == 4.0
    assert clock.take_seconds() == 0.0


def test_what_is_under_way_is_lost_or_counted_again(now):
    clock = BusyClock()
    with clock.running():
        now[0] = 2.0
        assert clock.take_seconds() == 2.0
        now[0] = 5.0
    assert clock.take_seconds() == 3.0
