"""What there is already of a fragment that a worker is given, and what is to be written of it."""

from __future__ import annotations

from dataclasses import replace

from distill.labels.commit import Commit, WriteIntent
from distill.storage.base import ObjectMissingError, Storage


def unlabelled_intent(folder: Storage, intent: WriteIntent) -> tuple[WriteIntent, Commit | None]:
    """Return what to write, or the commit that there is already: a fragment is given out again
    where its actor died after the commit."""
    while True:
        content = folder.read_or_none(intent.key)
        if content is None:
            return intent, None
        commit = Commit.from_bytes(content, folder.url(intent.key))
        if _data_is_whole(folder, commit):
            return intent, commit
        next_generation = commit.generation + 1
        intent = replace(intent, generation=next_generation, replaces=commit.sha256)


def _data_is_whole(folder: Storage, commit: Commit) -> bool:
    """Whether the data that the commit names is there, in its length."""
    # not its digest: that would read all of it
    try:
        size_bytes = folder.entry(commit.data).size_bytes
    except ObjectMissingError:
        return False
    return size_bytes == commit.bytes
