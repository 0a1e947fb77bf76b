"""The course of a driver's run, written under the job's root while it works: an object a minute, and
one whenever a piece of work is over.

A run of hours writes more rarely, each time that it has grown by a sixtieth, so that a day is some
250 objects of a few KB. Nothing is written by a run that finds everything done. A record that
cannot be written is told once, and the run goes on without.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

from distill.core import events
from distill.core.account import Account, Price
from distill.core.errors import StorageError
from distill.core.events import Event, forget, observe
from distill.core.timeline import Timeline
from distill.labels.parts import Part
from distill.plan.timelines import new_run, write_record
from distill.storage.base import Storage

log = logging.getLogger(__name__)

WRITE_SECONDS = 60.0
_GROWTH = 1 / 60


class Recorder:
    """Keeps the account and the timeline of one driver's run; an observer of events while it is
    `recording`."""

    def __init__(
        self,
        root: Callable[[], Storage],
        job_name: str,
        part: Part | None,
        price: Price | None = None,
    ) -> None:
        self._root = root
        began = events.now()
        run = new_run(job_name, part, began)
        self.account = Account(run, job_name, price)
        """What the run costs."""
        self._timeline = Timeline(self.account, "" if part is None else str(part), began)
        self._lock = threading.Lock()
        self._has_work = False
        self._can_write = True
        self._due = began + WRITE_SECONDS
        self._number = 0

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Record what happens inside the block."""
        observe(self)
        try:
            yield
        except StorageError:
            self._can_write = False  # else it is asked again, for as long as it is patient
            raise
        finally:
            forget(self)
            self._write(is_over=True)

    def __call__(self, event: Event) -> None:
        """Note an event; write where it is time. Events wake it, as bars tell one every few seconds
        that work is under way, and no thread stands beside the user's code."""
        self._timeline(event)
        if event.name == "workers":
            self._has_work = True
        if event.time >= self._due:
            self._write(is_over=False)

    def _write(self, *, is_over: bool) -> None:
        with self._lock:
            if not (self._has_work and self._can_write):
                return
            record = self._timeline.record(is_over=is_over)
            self._due = record.end + max(WRITE_SECONDS, _GROWTH * record.last.seconds)
            try:
                write_record(self._root(), record, self._number)
            except StorageError as error:
                self._can_write = False
                log.warning("the run's timeline is kept no further: %s", error)
            self._number += 1
