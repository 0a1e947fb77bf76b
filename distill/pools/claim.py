"""Folders that a job fills itself: claimed first, so that files of somebody else's are never
written over."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from distill.core.errors import JobError
from distill.core.schema import seal
from distill.core.source import read_source
from distill.pools.scan import MAKING_MARKER
from distill.storage.base import Storage, is_hidden


def maker(folder: Path, made_by: str, where: str) -> Any:
    """The function that `FILE.py:FUNCTION` names, relative to `folder`; `where` is the key that
    says so. Raises JobError."""
    path, _, function = made_by.partition(":")
    return read_source(folder / path, where).load(function, where)


def delete_stale(files: Storage, kept: Collection[str]) -> None:
    """Delete what an earlier making that was cut off left beside `kept`."""
    for key in [entry.key for entry in files.list_objects() if not is_hidden(entry.key)]:
        if key not in kept:
            files.delete(key)


def claim_folder(files: Storage, where: str, made_by: str, what: str = "pool") -> None:
    """Refuse a folder that holds files which no making of ours began to write. Raises JobError."""
    if files.read_or_none(MAKING_MARKER) is not None:
        return
    others = [entry.key for entry in files.list_objects() if not is_hidden(entry.key)]
    if others:
        raise JobError(
            f"{where} = {made_by!r}: {files.uri} already holds {len(others)} files ({others[0]}…)"
            f" that were not made so. Take `made_by` out to use them, or give the {what} an empty"
            " folder."
        )
    files.put(MAKING_MARKER, seal({"made_by": made_by}))
