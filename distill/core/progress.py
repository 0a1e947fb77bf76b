"""How far work is. The process edge chooses how that is shown; without a choice it is a log line a
minute.

Nobody but `cli` installs a display; a stage says only `with track(...) as bar: bar.advance(rows)`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

log = logging.getLogger(__name__)

# below a minute: a line is due within the minute, and whoever waits looks at the time only now and
# then
LINE_EVERY_SECONDS = 55.0
FILES = "files"
"""The unit of looking at what is there: what is found wrong by it was wrong before any work."""


class Bar(Protocol):
    """One piece of work under way."""

    def advance(self, amount: float, note: str = "") -> None:
        """Count `amount` more units as done; `note` is what a person may want to know now."""

    def waits(self, what: str) -> None:
        """Say that nothing moves, and what it waits for."""


class Display(Protocol):
    """Shows bars."""

    def begin(self, title: str, total: float, unit: str) -> Bar:
        """Show that work of `total` units starts."""

    def end(self, bar: Bar) -> None:
        """Show that the work is over, well or not."""


class LineBar:
    """Says how far it is in a line a minute; `say` takes the title and the rest of the line."""

    def __init__(
        self, title: str, total: float, unit: str, say: Callable[[str, str], None]
    ) -> None:
        self.title = title
        self.total = total
        self.unit = unit
        self.say = say
        self.done = 0.0
        self.note = ""
        """The latest note: why the work ends, where it ends before its total."""
        self._began = time.monotonic()
        self._last_line = self._began

    def advance(self, amount: float, note: str = "") -> None:
        self.done += amount
        self.note = note
        if not self._line_is_due():
            return
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = self.done / seconds
        seconds_left = (self.total - self.done) / rate if rate else float("inf")
        line = (
            f"{self.done:,.0f} of {self.total:,.0f} {self.unit},"
            f" {rate:,.0f} {self.unit}/s, {seconds_left:,.0f} s left {note}"
        )
        self._say(line.rstrip())

    def waits(self, what: str) -> None:
        if self._line_is_due():
            self._say(f"waits for {what}")

    def _line_is_due(self) -> bool:
        return time.monotonic() - self._last_line >= LINE_EVERY_SECONDS

    def _say(self, line: str) -> None:
        self._last_line = time.monotonic()
        self.say(self.title, line)


class _LogDisplay:
    def begin(self, title: str, total: float, unit: str) -> Bar:
        return LineBar(title, total, unit, self._log)

    def end(self, bar: Bar) -> None:
        pass

    @staticmethod
    def _log(title: str, line: str) -> None:
        log.info("%s: %s", title, line)


_display: Display = _LogDisplay()


def show_on(display: Display) -> None:
    """Show progress on `display` from now on; for the process edge."""
    global _display  # noqa: PLW0603  the one setting of a process
    _display = display


@contextmanager
def track(title: str, total: float, unit: str = "rows") -> Iterator[Bar]:
    """Show a bar for work of `total` units."""
    bar = _display.begin(title, total, unit)
    try:
        yield bar
    finally:
        _display.end(bar)
