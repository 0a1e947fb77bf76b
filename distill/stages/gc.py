"""`distill gc`: what may go, and on request goes. The one place where labels, or what tells of
them, are ever deleted.

Garbage is what no reader can see: data and rejects that an attempt wrote for a fragment which is
committed under another attempt, and manifest segments that others stand for. Labels of retired
shards and of older versions are not garbage: somebody may go back to them. The set's lease is held
meanwhile, so that no driver is mending the fragments that are looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from distill.core.progress import track
from distill.labels.contract import CONTRACT
from distill.labels.part_leases import hold_label_set
from distill.labels.repair import other_attempts, superseded_segments
from distill.labels.state import LabelSetState, read_state
from distill.labels.writer import LabelWriter
from distill.plan.steps import StoredLabelsStep
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


def collect_garbage(step: StoredLabelsStep, *, delete: bool) -> Garbage:
    """Find what may go of one label set, and delete it where asked to. Raises BusyError where
    somebody is at work on it."""
    folder = open_storage(step.folder)
    if folder.read_or_none(CONTRACT) is None:  # nobody knows what lies there, so nothing may go
        return Garbage(step.name, step.pool, folder, (), 0)
    where = f"{step.name} over {step.pool}"
    with hold_label_set(folder, f"labels.{where}"):
        # else a reader of the manifest would miss what a mend stands for
        state = read_state(folder, step.name, step.version)
        LabelWriter(state).write_manifest()
        found = list(_garbage(state))
        keys = tuple(key for key, _ in found)
        if delete:
            _delete(folder, keys, f"gc {where}")
    return Garbage(step.name, step.pool, folder, keys, sum(size for _, size in found))


def _delete(folder: Storage, keys: Sequence[str], title: str) -> None:
    with track(title, len(keys), "objects") as bar, ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(folder.delete, keys):
            bar.advance(1)


def _garbage(state: LabelSetState) -> Iterator[tuple[str, int]]:
    """Key and size of each object that may go."""
    yield from other_attempts(state.labels)
    yield from superseded_segments(state)
