"""The only part of distill that imports Ray. What is above it knows functions: map fragments, fold, train workers."""

from __future__ import annotations

from distill.engine.fold import call_remotely, fold
from distill.engine.fragments import finish_and_stop, map_fragments
from distill.engine.session import connect, disconnect, require_ray, start_ray_by
from distill.engine.stream import Stream, stream, stream_here
from distill.engine.workers import WorkerContext, train_workers

__all__ = [
    "Stream",
    "WorkerContext",
    "call_remotely",
    "connect",
    "disconnect",
    "finish_and_stop",
    "fold",
    "map_fragments",
    "require_ray",
    "start_ray_by",
    "stream",
    "stream_here",
    "train_workers",
]
