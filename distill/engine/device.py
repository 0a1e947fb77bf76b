"""Where the numbers of a fold are computed: an engine that gives its tasks GPUs says so here, and a
partial that can use one asks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_device: ContextVar[str] = ContextVar("device", default="cpu")


def current_device() -> str:
    """Return the device that the task in work was given, by torch's name for it: `cuda` or
    `cpu`."""
    return _device.get()


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Have the work within compute there."""
    token = _device.set(device)
    try:
        yield
    finally:
        _device.reset(token)
