"""How long work says how far it is. The process edge chooses how that is shown; without a choice it
is a log line a minute.

Nobody but `cli` installs a display; a stage says only `with track(...) as bar: bar.advance(rows)`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

log = logging.getLogger(__name__)

LINE_EVERY_SECONDS = 55.0
"""So that a line is out within the minute, though who looks for its time does so only now and then.
"""
FILES = "files"
"""The unit of looking at what is there: what is found wrong by it was wrong before any work."""


class Bar(Protocol):
    """One piece of work under way."""

    def advance(self, amount: float, note: str = "") -> None:
        """So much more is done; `note` says what a person may want to know now."""

    def waits(self, what: str) -> None:
        """Nothing moves, and this is what it waits for."""


class Display(Protocol):
    """Shows bars."""

    def begin(self, title: str, total: float, unit: str) -> Bar:
        """Work of `total` units starts."""

    def end(self, bar: Bar) -> None:
        """That work is over, well or not."""


class LineBar:
    """Says how far it is in a line a minute; `say` takes the title and the rest of the line."""

    def __init__(
        self, title: str, total: float, unit: str, say: Callable[[str, str], None]
    ) -> None:
        self.title, self.total, self.unit, self.say = title, total, unit, say
        self.done, self.began, self.said = 0.0, time.monotonic(), time.monotonic()
        self.note = ""
        """What was said last: why it ends, where it ends before its total."""

    def advance(self, amount: float, note: str = "") -> None:
        self.done, self.note = self.done + amount, note
        if time.monotonic() - self.said >= LINE_EVERY_SECONDS:
            rate = self.done / max(time.monotonic() - self.began, 1e-9)
            left = (self.total - self.done) / rate if rate else float("inf")
            self._say(
                f"{self.done:,.0f} of {self.total:,.0f} {self.unit}, {rate:,.0f} {self.unit}/s,"
                f" {left:,.0f} s left {note}".rstrip()
            )

    def waits(self, what: str) -> None:
        if time.monotonic() - self.said >= LINE_EVERY_SECONDS:
            self._say(f"waits for {what}")

    def _say(self, what: str) -> None:
        self.said = time.monotonic()
        self.say(self.title, what)


class _LogDisplay:
    def begin(self, title: str, total: float, unit: str) -> Bar:
        return LineBar(title, total, unit, lambda name, said: log.info("%s: %s", name, said))

    def end(self, bar: Bar) -> None:
        pass


_display: Display = _LogDisplay()


def show_on(display: Display) -> None:
    """Show progress on `display` from now on; for the process edge."""
    global _display  # noqa: PLW0603  the one setting of a process
    _display = display


@contextmanager
def track(title: str, total: float, unit: str = "rows") -> Iterator[Bar]:
    """A bar for work of `total` units."""
    bar = _display.begin(title, total, unit)
    try:
        yield bar
    finally:
        _display.end(bar)
