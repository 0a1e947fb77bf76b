"""The run's figures for Prometheus, by `ray.util.metrics`: each node of a Ray with `ray[default]`
offers them at its metrics port, as `ray_distill_…`.

They are kept in the driver, from what it is told of (`distill.core.events`), and cost nothing where
nobody asks the port. All have the tags `job_name` and `step`.

| metric | kind | what it is |
|---|---|---|
| `distill_rows` | counter | rows committed by this run |
| `distill_fragments` | counter | fragments committed by this run |
| `distill_fragments_left`, `distill_rows_left` | gauge | what is not committed yet |
| `distill_rejected_rows` | gauge | rows without labels, those of earlier runs too |
| `distill_rejected_rows_allowed` | gauge | above it the job stops |
| `distill_failed_fragments` | counter | fragments whose labeler or file raised |
| `distill_busy_seconds` | counter | in which labelers were at work, summed over workers |
| `distill_workers` | gauge | workers that there are: labelling, or training |
| `distill_worker_hours` | gauge | how long workers were there in this run, summed over them |
| `distill_gpu_hours` | gauge | that, times the GPUs of each |
| `distill_cost_dollars` | gauge | what that costs, where the job says what an hour does |
| `distill_retries` | counter | workers and worker groups that were begun again, by `kind` |
| `distill_nodes_lost` | counter | nodes that nobody sent away, by `market` and `why` |
| `distill_last_commit_seconds` | gauge | when the last commit was, in seconds since 1970 |
| `distill_work_done`, `distill_work_total` | gauge | of each piece of work that has a bar, by `unit` |
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from distill.core.events import Event

_Tags = tuple[tuple[str, str], ...]
_Key = tuple[str, _Tags]


class RayMetrics:
    """An observer of events. What it is told before there is a Ray, as that labelling begins, waits
    for one."""

    def __init__(self, is_connected: Callable[[], bool]) -> None:
        self._is_connected = is_connected
        self._metrics: dict[str, Any] = {}
        self._amounts: dict[_Key, float] = {}
        """Of counters, and values of gauges, that Ray was not given yet."""
        self._values: dict[_Key, float] = {}
        self._left: dict[str, float] = {}
        """Of the label set in work: fragments, rows; and how many are rejected."""
        self._step = ""
        """What workers are counted for."""
        self._lock = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Count an event."""
        count = getattr(self, f"_{event.name}", None)
        if count is not None:
            # the engine's own threads tell of lost nodes
            with self._lock:
                count(event)
                if self._is_connected():
                    self._deliver()

    def _labelling(self, event: Event) -> None:
        for name in ("fragments_left", "rows_left", "rejected"):
            self._left[name] = float(event.figures[name])
        self._step = event.step
        allowed = float(event.figures["rejects_allowed"])
        self._set("distill_rejected_rows_allowed", allowed, event)
        # a run that never commits is late from its start
        self._set("distill_last_commit_seconds", event.time, event)
        self._show_left(event)

    def _committed(self, event: Event) -> None:
        self._add("distill_rows", float(event.figures["rows"]), event)
        self._add("distill_fragments", 1, event)
        self._add("distill_busy_seconds", float(event.figures["busy_seconds"]), event)
        self._set("distill_last_commit_seconds", event.time, event)
        self._found(event)

    def _found(self, event: Event) -> None:
        # no row of this run's: drivers of parts would count some of each other's
        if self._left:
            self._left["fragments_left"] -= 1
            self._left["rows_left"] -= float(event.figures["rows"])
            self._left["rejected"] += float(event.figures["rejected"])
            self._show_left(event)

    def _labelled(self, event: Event) -> None:
        # nothing is waited for any more, whether all is done or the run was stopped
        self._left.clear()
        self._set("distill_fragments_left", 0, event)
        self._set("distill_rows_left", 0, event)
        self._set("distill_workers", 0, event)

    def _workers(self, event: Event) -> None:
        counted = replace(event, step=self._step)
        self._set("distill_workers", float(event.figures["workers"]), counted)

    def _cost(self, event: Event) -> None:
        self._set("distill_worker_hours", float(event.figures["worker_hours"]), event)
        self._set("distill_gpu_hours", float(event.figures["gpu_hours"]), event)
        if event.figures["dollars"] != "":
            self._set("distill_cost_dollars", float(event.figures["dollars"]), event)

    def _failed(self, event: Event) -> None:
        self._add("distill_failed_fragments", 1, event)

    def _worker_restarted(self, event: Event) -> None:
        self._add("distill_retries", 1, event, kind="worker")

    def _workers_lost(self, event: Event) -> None:
        self._add("distill_retries", 1, event, kind="training group")

    def _node_lost(self, event: Event) -> None:
        tags = {key: str(event.figures[key]) for key in ("market", "why")}
        self._add("distill_nodes_lost", 1, event, **tags)

    def _begins(self, event: Event) -> None:
        if not self._left:
            self._step = event.step
        unit = str(event.figures["unit"])
        self._set("distill_work_done", float(event.figures["done"]), event, unit=unit)
        self._set("distill_work_total", float(event.figures["total"]), event, unit=unit)

    _progress = _begins
    _ends = _begins

    def _show_left(self, event: Event) -> None:
        self._set("distill_fragments_left", self._left["fragments_left"], event)
        self._set("distill_rows_left", self._left["rows_left"], event)
        self._set("distill_rejected_rows", self._left["rejected"], event)

    def _add(self, name: str, amount: float, event: Event, **tags: str) -> None:
        key = _key(name, event, tags)
        self._amounts[key] = self._amounts.get(key, 0.0) + amount

    def _set(self, name: str, value: float, event: Event, **tags: str) -> None:
        self._values[_key(name, event, tags)] = value

    def _deliver(self) -> None:
        from ray.util.metrics import Counter, Gauge

        for (name, tags), amount in self._amounts.items():
            if amount > 0:
                self._metric(Counter, name, tags).inc(amount, dict(tags))
        for (name, tags), value in self._values.items():
            self._metric(Gauge, name, tags).set(value, dict(tags))
        self._amounts.clear()
        self._values.clear()

    def _metric(self, kind: Any, name: str, tags: _Tags) -> Any:
        if name not in self._metrics:
            description = f"See distill.engine.ray.metrics: {name}"
            keys = tuple(key for key, _ in tags)
            self._metrics[name] = kind(name, description, tag_keys=keys)
        return self._metrics[name]


def _key(name: str, event: Event, tags: dict[str, str]) -> _Key:
    # not `job`: Prometheus has a label of that name, and would rename ours
    usual = {"job_name": event.job, "step": event.step}
    return name, tuple({**usual, **tags}.items())
