"""What happens in a run, told to whoever watches it: metrics, structured logs.

A stage or an engine says `tell("committed", step=…, fragment=…, rows=…)` and knows none of its
observers; without any it costs a look at an empty tuple. Observers are of the driver's process,
where everything that workers do arrives as results.

    labelling        a label set begins: what is left, and how many rows may be rejected
    committed        a fragment's labels exist
    found            they did before: another part's driver made them, or a worker that died then
    failed           a fragment could not be labelled
    labelled         a label set's work is over, well or not
    begins, ends     a piece of work that has a bar
    progress         how far it is, every few seconds
    workers          so many there are now, of a labelling, training or pass; what each holds
    cost             what the run has cost so far (`distill.core.account`), every few seconds
    worker_restarted a labelling worker's process died, and another is in its place
    workers_lost     a training has lost its group of workers
    node_drains      a node will be taken away in some seconds
    training_resumed and goes on with another
    node_lost        a node is gone that nobody sent away
    head_silent      Ray's head node does not answer
    head_back        it answers again
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

log = logging.getLogger(__name__)

Figure = float | str


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    name: str
    time: float  # seconds since 1970
    job: str = ""  # the job file's name without its ending
    step: str = ""  # `labels.NAME`, or the title of the work
    fragment: str = ""  # pool and id
    worker: str = ""  # host and process id
    figures: dict[str, Figure] = field(default_factory=dict)


Observer = Callable[[Event], None]


def now() -> float:
    """Return the seconds since 1970 by which events happen and what is held is counted."""
    return time.time()


_observers: tuple[Observer, ...] = ()
_job = ""


def observe(observer: Observer) -> None:
    """Call `observer` with every event from now on."""
    global _observers  # noqa: PLW0603  whoever watches this process
    _observers = (*_observers, observer)


def forget(observer: Observer) -> None:
    """Call it no more; it may have been forgotten before."""
    global _observers  # noqa: PLW0603  whoever watches this process
    _observers = tuple(each for each in _observers if each != observer)


def is_observed() -> bool:
    """Return whether anybody watches."""
    return bool(_observers)


def name_job(name: str) -> None:
    """Let all events from now on be of this job; for the process edge."""
    global _job  # noqa: PLW0603  a process works on one job
    _job = name


def current_job() -> str:
    """Return the job's name; "" before it is known."""
    return _job


def tell(
    name: str, *, step: str = "", fragment: str = "", worker: str = "", **figures: Figure
) -> None:
    """Tell all observers that something happened now."""
    if not _observers:
        return
    event = Event(name, now(), _job, step, fragment, worker, figures)
    for observer in _observers:
        try:
            observer(event)
        except Exception:
            forget(observer)
            log.warning("what watches this run failed, and watches no more", exc_info=True)


def this_worker() -> str:
    """Return host and process id of this process."""
    return f"{socket.gethostname()}:{os.getpid()}"
