"""Folders that a job fills itself, with shards (`pools.NAME.made_by`) or with models.

A folder is claimed before the first file is written to it: `MAKING_MARKER` says that what lies
there began as ours. A folder that holds files and no such marker is somebody else's, and is refused
before anything in it is written over. A making that was cut off is known by the same marker and
begun again; what it left beside the new files is deleted at the end.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from distill.core.errors import JobError
from distill.core.schema import seal
from distill.core.source import read_source
from distill.pools.listing import MAKING_MARKER
from distill.storage.base import Storage, is_hidden


def maker(folder: Path, made_by: str, where: str) -> Any:
    """Load the function that `FILE.py:FUNCTION` names, relative to `folder`; `where` is the key
    that says so. Raises JobError."""
    path, _, function = made_by.partition(":")
    return read_source(folder / path, where).load(function, where)


def claim_folder(files: Storage, where: str, made_by: str, what: str = "pool") -> None:
    """Mark a folder as one that `made_by` fills, unless it is marked so.

    Raises JobError for one that holds files which no making of ours began to write."""
    if files.read_or_none(MAKING_MARKER) is not None:
        return
    others = _visible_keys(files)
    if others:
        found = f"{len(others)} files ({others[0]}…)"
        raise JobError(
            f"{where} = {made_by!r}: {files.uri} already holds {found} that were not made so."
            f" Take `made_by` out to use them, or give the {what} an empty folder."
        )
    files.put(MAKING_MARKER, seal({"made_by": made_by}))


def delete_stale(files: Storage, kept: Collection[str]) -> None:
    """Delete what an earlier making that was cut off left beside the keys `kept`."""
    for key in _visible_keys(files):
        if key not in kept:
            files.delete(key)


def _visible_keys(files: Storage) -> list[str]:
    return [entry.key for entry in files.list_objects() if not is_hidden(entry.key)]
