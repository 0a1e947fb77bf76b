"""Files of kinds that a job brings itself: a loss, a pool format, a labeler or a network in a
Python file beside the job.

A file is loaded by path, once a process; the classes in it register themselves. Workers are given
the same files as source before anything else reaches them (`distill.engine`), so that what a worker
unpickles finds its class. Nothing is ever loaded from storage.
"""

from __future__ import annotations

from collections.abc import Iterable

from distill.core.source import PythonFile

_loaded: dict[str, PythonFile] = {}


def load_plugins(files: Iterable[PythonFile]) -> None:
    """Run each file once in this process. Raises JobError where a file raises."""
    for file in files:
        if file.sha256 not in _loaded:
            file.run("plugins")
            _loaded[file.sha256] = file


def loaded_plugins() -> tuple[PythonFile, ...]:
    """What this process has loaded: what its workers need too."""
    return tuple(_loaded.values())
