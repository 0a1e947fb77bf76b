"""`--log-format json`: a JSON object a line on standard error, for machines that read logs. What a
person reads stays on standard output.

    {"time": "2026-03-01T12:00:00.250Z", "level": "info", "event": "committed", "job": "digits",
     "step": "labels.large", "fragment": "unlabelled/…", "worker": "host:71", "rows": 64, …}

An event (`distill.core.events`) has its figures beside these keys; a line of a library or of ours
has `message`, and `error` where something was raised.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from datetime import datetime, timezone
from typing import Any

from distill.core.events import Event, current_job

_LEVELS = {
    "error": "error",
    "failed": "error",
    "worker_restarted": "warning",
    "workers_lost": "warning",
    "node_drains": "warning",
    "node_lost": "warning",
    "head_silent": "warning",
}


class JsonFormatter(logging.Formatter):
    """A log record as a line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": _when(record.created),
            "level": record.levelname.lower(),
            "event": "log",
            "job": current_job(),
            "message": record.getMessage(),
            "logger": record.name,
        }
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return _line(line)


def write_event(event: Event) -> None:
    """Write an event to standard error; an observer of events."""
    line = {
        "time": _when(event.time),
        "level": _LEVELS.get(event.name, "info"),
        "event": event.name,
        "job": event.job,
        "step": event.step,
        "fragment": event.fragment,
        "worker": event.worker,
        **event.figures,
    }
    # a run goes on where nobody reads its log any more
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(f"{_line(line)}\n")
        sys.stderr.flush()


def _when(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    text = moment.isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _line(fields: dict[str, Any]) -> str:
    """Return what is known of `fields` as one line of letters that every log takes."""
    known = {key: value for key, value in fields.items() if value != ""}
    return json.dumps(known, default=str)
