"""What travels to a Ray worker, together with the plugin files whose classes it names.

A plugin's class pickles by the name of its module, which no worker can import: the file has to be
run there first (`distill.core.plugins`). So a shipment holds the files' source and the pickled
value. Without plugins there is no shipment, and the value travels as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from distill.core.plugins import load_plugins, loaded_plugins
from distill.core.source import PythonFile


@dataclass(frozen=True)
class Shipment:
    """A pickled value, and the source files to run before it is unpickled."""

    plugins: tuple[PythonFile, ...]
    pickled: bytes


def ship(value: Any) -> Any:
    """Return what to hand to Ray in place of a value; `unpack` takes it on the worker."""
    plugins = loaded_plugins()
    if not plugins:
        return value
    from ray import cloudpickle

    # as bytes: Ray Train's controller unpickles what it hands on, and has not run the files
    pickled = cloudpickle.dumps(value)
    return Shipment(plugins, pickled)


def unpack(shipped: Any) -> Any:
    """Return the value that was given to `ship`. Raises JobError where a plugin file raises."""
    if not isinstance(shipped, Shipment):
        return shipped
    from ray import cloudpickle

    load_plugins(shipped.plugins)
    return cloudpickle.loads(shipped.pickled)
