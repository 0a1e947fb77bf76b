"""What a pool's files are now, held against what its inventory says of them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.core.errors import PoolError
from distill.pools.shard_id import shard_id
from distill.spec.pools import Pool
from distill.storage.base import ObjectMeta, Storage

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Changes:
    """What a listing has and the inventory does not say."""

    new: list[ObjectMeta]
    changed: list[ObjectMeta]
    vanished: list[str]

    @property
    def unlisted(self) -> list[ObjectMeta]:
        """The files that the inventory does not have as they are now."""
        return [*self.new, *self.changed]

    def __bool__(self) -> bool:
        return bool(self.new or self.changed or self.vanished)


def find_changes(known: Mapping[str, tuple[int, str]], found: Sequence[ObjectMeta]) -> Changes:
    """Compare a listing with the number and id of each known shard by key."""
    new = []
    changed = []
    for entry in found:
        if entry.key not in known:
            new.append(entry)
        elif known[entry.key][1] != shard_id(entry):
            changed.append(entry)
    there = {entry.key for entry in found}
    return Changes(new, changed, sorted(known.keys() - there))


def refuse_changes(pool: str, files: Storage, spec: Pool, changes: Changes) -> None:
    """Refuse files that changed or vanished, or warn where the job says what becomes of them.

    Raises PoolError."""
    by_event = {"changed": [entry.key for entry in changes.changed], "vanished": changes.vanished}
    for event, keys in by_event.items():
        if not keys:
            continue
        first = keys[:3]
        named = ", ".join(first)
        more = "…" if len(keys) > 3 else ""
        count = f"{len(keys)} files under {files.uri}"
        what = f"{count} {event} since they were listed ({named}{more})"
        if spec.on_change == "refuse":
            raise PoolError(
                f"pools.{pool}: {what}. Labels are addressed by file and row:"
                " restore the files, use another root for the new pool,"
                f' or set pools.{pool}.on_change = "relabel" to retire what is labelled of them.'
            )
        log.warning('pools.%s: %s; on_change = "relabel" retires their labels', pool, what)
