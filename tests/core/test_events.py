"""Who watches a run is told of it, and nobody else pays for that."""

from __future__ import annotations

import pytest

from distill.core import events, progress
from distill.core.events import forget, name_job, observe, tell


@pytest.fixture
def seen(monkeypatch):
    """All events of a test."""
    monkeypatch.setattr(events, "_observers", ())
    monkeypatch.setattr(events, "_job", "")
    told = []
    observe(told.append)
    return told


def test_an_event_lacks_its_job_or_reaches_who_has_left(seen):
    name_job("digits")
    tell("committed", step="labels.large", fragment="rows/a", worker="host:1", rows=64)
    forget(seen.append)
    tell("committed", step="labels.large")
    (event,) = seen
    assert (event.job, event.step, event.fragment) == ("digits", "labels.large", "rows/a")
    assert event.worker == "host:1"
    assert event.figures == {"rows": 64}


def test_forgetting_twice_fails(seen):
    forget(seen.append)
    forget(seen.append)
    assert not events.is_observed()


def test_work_with_a_bar_is_not_told_or_its_end_is_lost_where_it_fails(seen, monkeypatch):
    monkeypatch.setattr(progress, "_EVENT_EVERY_SECONDS", 0.0)

    def fail():
        with progress.track("train small", 100) as bar:
            bar.advance(30, "fast")
            bar.waits("a GPU")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError):
        fail()
    assert [(each.name, each.step) for each in seen] == [
        ("begins", "train small"),
        ("progress", "train small"),
        ("progress", "train small"),
        ("ends", "train small"),
    ]
    assert [each.figures["done"] for each in seen] == [0, 30, 30, 30]
    assert [each.figures["note"] for each in seen] == ["", "fast", "waits for a GPU", ""]


def test_a_bar_that_nobody_watches_is_wrapped(monkeypatch):
    monkeypatch.setattr(events, "_observers", ())
    with progress.track("train small", 100) as bar:
        assert isinstance(bar, progress.LineBar)


def test_a_watcher_that_fails_ends_the_run(seen, caplog):
    def fail(_event):
        raise KeyError("rows")

    observe(fail)
    tell("committed", rows=64)
    tell("committed", rows=64)
    assert len(seen) == 2
    assert caplog.text.count("watches no more") == 1
