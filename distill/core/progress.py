"""How far work is. The process edge chooses how that is shown; without a choice it is a log line a
minute.

Nobody but `cli` installs a display; a stage says only `with track(...) as bar: bar.advance(rows)`.
Where a run is watched (`distill.core.events`), bars are told as events too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from distill.core.events import is_observed, tell

log = logging.getLogger(__name__)

# below a minute: a line is due within it, and whoever waits looks at the time now and then
LINE_EVERY_SECONDS = 55.0
_EVENT_EVERY_SECONDS = 5.0
# the unit of looking at what is there: what is found wrong by it was wrong before any work
FILES = "files"


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
        self.note = ""  # the latest note: why the work ends, where it ends before its total
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
        text = line.rstrip()
        self._say(text)

    def waits(self, what: str) -> None:
        if self._line_is_due():
            line = f"waits for {what}"
            self._say(line)

    def _line_is_due(self) -> bool:
        return time.monotonic() - self._last_line >= LINE_EVERY_SECONDS

    def _say(self, line: str) -> None:
        self._last_line = time.monotonic()
        self.say(self.title, line)


class WaitLine:
    """Says what is waited for outside a piece of work: at once, and then once a minute."""

    def __init__(self) -> None:
        self._last = -LINE_EVERY_SECONDS

    def tell(self, what: str) -> None:
        """Log `what`, unless a line was logged within the minute."""
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_SECONDS:
            log.info("%s", what)
            self._last = now


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


class _WatchedBar:
    """A bar that is told as events too."""

    def __init__(self, bar: Bar, title: str, total: float, unit: str) -> None:
        self.bar = bar
        self.title = title
        self.total = total
        self.unit = unit
        self.done = 0.0
        self._told = time.monotonic()
        self._tell("begins")

    def advance(self, amount: float, note: str = "") -> None:
        self.bar.advance(amount, note)
        self.done += amount
        if self._is_due():
            self._tell("progress", note)

    def waits(self, what: str) -> None:
        self.bar.waits(what)
        if self._is_due():
            line = f"waits for {what}"
            self._tell("progress", line)

    def end(self) -> None:
        """Tell how far the work came."""
        self._tell("ends")

    def _is_due(self) -> bool:
        return time.monotonic() - self._told >= _EVENT_EVERY_SECONDS

    def _tell(self, name: str, note: str = "") -> None:
        self._told = time.monotonic()
        tell(name, step=self.title, done=self.done, total=self.total, unit=self.unit, note=note)


@contextmanager
def track(title: str, total: float, unit: str = "rows") -> Iterator[Bar]:
    """Show a bar for work of `total` units."""
    bar = _display.begin(title, total, unit)
    watched = _WatchedBar(bar, title, total, unit) if is_observed() else None
    try:
        yield watched or bar
    finally:
        if watched:
            watched.end()
        _display.end(bar)
