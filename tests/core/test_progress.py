"""How far work is: one line a minute without a display, and a display that always hears of the end."""

import logging

import pytest

from distill.core import progress


@pytest.fixture
def shown(monkeypatch):
    """What a display is told."""
    told = []

    class Bar:
        def advance(self, amount, note=""):
            told.append(("advance", amount, note))

        def waits(self, what):
            told.append(("waits", what))

    class Display:
        def begin(self, title, total, unit):
            told.append(("begin", title, total, unit))
            return Bar()

        def end(self, bar):
            told.append(("end", type(bar)))

    monkeypatch.setattr(
        progress, "_display", progress._display
    )  # put back afterwards what show_on replaces
    progress.show_on(Display())
    return told


def test_a_display_hears_of_the_end_although_the_work_failed(shown):
    def fail():
        with progress.track("labels.large", 10) as bar:
            bar.advance(3, "fast")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert shown[:2] == [("begin", "labels.large", 10, "rows"), ("advance", 3, "fast")]
    assert shown[2][0] == "end"


def test_without_a_display_a_line_says_how_far_the_work_is(monkeypatch, caplog):
    monkeypatch.setattr(progress, "LINE_EVERY_SECONDS", 0.0)
    with (
        caplog.at_level(logging.INFO, "distill.core.progress"),
        progress.track("labels.large", 2000, "rows") as bar,
    ):
        bar.advance(500, "2 actors")
        bar.waits("a GPU")
    first, second = caplog.messages
    assert first.startswith("labels.large: 500 of 2,000 rows")
    assert first.endswith("2 actors")
    assert second == "labels.large: waits for a GPU"


def test_a_wait_without_any_progress_is_no_division_by_zero(monkeypatch, caplog):
    monkeypatch.setattr(progress, "LINE_EVERY_SECONDS", 0.0)
    with (
        caplog.at_level(logging.INFO, "distill.core.progress"),
        progress.track("labels.large", 0) as bar,
    ):
        bar.advance(0)
    assert caplog.messages[0].startswith("labels.large: 0 of 0 rows")


def test_a_line_is_not_said_for_every_row(caplog):
    with (
        caplog.at_level(logging.INFO, "distill.core.progress"),
        progress.track("labels.large", 1000) as bar,
    ):
        for _ in range(1000):
            bar.advance(1)
    assert caplog.messages == []
