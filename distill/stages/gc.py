"""`distill gc`: what may go, and on request goes. The one place where labels, or what tells of
them, are ever deleted.

Garbage is what no reader can see: data and rejects that an attempt wrote for a fragment which is
committed under another attempt, and manifest segments that others stand for. Labels of retired
shards and of older versions are not garbage: somebody may go back to them. The set's lease is held
meanwhile, so that no driver is mending the fragments that are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from distill.core.progress import track
from distill.job.job import Job
from distill.labels.identity import label_set_folder
from distill.labels.label_set import LabelSet
from distill.labels.lease import hold_lease
from distill.storage.base import Storage
from distill.storage.open import open_storage

_THREADS = 16


@dataclass(frozen=True)
class Garbage:
    """What may go of one label set."""

    name: str
    pool: str
    folder: Storage
    keys: tuple[str, ...]
    bytes: int


def find_garbage(job: Job, name: str) -> list[Garbage]:
    """What may go of `labels.<name>`, by pool. Raises BusyError where somebody is at work on it."""
    return [_looked(job, name, pool, delete=False) for pool in job.labels[name].over]


def delete_garbage(job: Job, name: str) -> list[Garbage]:
    """Delete what `find_garbage` finds; returns what went. Raises BusyError where somebody is at
    work on it."""
    return [_looked(job, name, pool, delete=True) for pool in job.labels[name].over]


def _looked(job: Job, name: str, pool: str, *, delete: bool) -> Garbage:
    version = job.labels[name].version
    folder = label_set_folder(open_storage(job.root_uri), name, version, pool)
    labels = LabelSet(folder, name, version)
    if labels.read_contract() is None:  # nobody knows what lies there, so nothing may go
        return Garbage(name, pool, folder, (), 0)
    with hold_lease(folder, f"labels.{name} over {pool}"):
        # else a reader of the manifest would miss what a mend stands for
        labels.refresh().write_manifest()
        found = list(_garbage(labels))
        if delete:
            with (
                track(f"gc {name} over {pool}", len(found), "objects") as bar,
                ThreadPoolExecutor(_THREADS) as threads,
            ):
                for _ in threads.map(folder.delete, [key for key, _ in found]):
                    bar.advance(1)
    return Garbage(
        name, pool, folder, tuple(key for key, _ in found), sum(size for _, size in found)
    )


def _garbage(labels: LabelSet) -> Iterator[tuple[str, int]]:
    """Key and size of each object that may go."""
    yield from labels.other_attempts()
    yield from labels.superseded_segments()
