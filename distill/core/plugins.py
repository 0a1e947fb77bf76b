"""Plugins: Python files beside a job that bring kinds of their own, such as a loss, a pool format, a
labeler or a network.

A file is run once a process, for the classes in it, which register themselves
(`distill.spec.kinds`). A worker runs the same files before anything else reaches it, from source
text that its engine ships, so that what it unpickles finds its class. Nothing is ever run from
storage.
"""

from __future__ import annotations

from collections.abc import Iterable

from distill.core.source import PythonFile

# by path. Of a file that was edited, as in a notebook, the newest text counts.
_loaded: dict[str, PythonFile] = {}


def load_plugins(files: Iterable[PythonFile]) -> None:
    """Run each file that this process has not run yet. Raises JobError where one raises."""
    for file in files:
        known = {each.sha256 for each in _loaded.values()}
        if file.sha256 in known:
            continue
        before = _loaded.pop(file.path, None)
        if before is not None:
            before.forget()
        file.run("plugins")
        _loaded[file.path] = file


def loaded_plugins() -> tuple[PythonFile, ...]:
    """Return the files that this process has run: those that its workers need too."""
    return tuple(_loaded.values())
