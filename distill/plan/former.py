"""Objects that a newer one of the same folder stands for, where each says all that those before it
said: of a run's course, and of a job's plans of costs."""

from __future__ import annotations

from distill.storage.base import Storage


def former_objects(root: Storage, folder: str) -> list[tuple[str, int]]:
    """Return keys and sizes of all but the newest object of each folder in `folder`."""
    newest: dict[str, tuple[str, int]] = {}
    former = []
    for meta in root.folder(folder).list_objects():
        whose = meta.key.rpartition("/")[0]
        if whose in newest:
            former.append(newest[whose])
        newest[whose] = (f"{folder}/{meta.key}", meta.size_bytes)
    return former
