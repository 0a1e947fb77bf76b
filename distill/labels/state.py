"""What is stored of a label set, read from its folder.

Commits decide; the manifest says again what they say, in few objects (`segments`). Data is never
listed. State is O(fragments), in columns (`manifest`).
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from distill.core.errors import ContractError, StorageError
from distill.core.plain_arrow import to_numbers
from distill.labels.commit import Commit, read_commit
from distill.labels.contract import StoredContract, read_contract
from distill.labels.label_set import LabelSet
from distill.labels.manifest import (
    Integers,
    Manifest,
    ManifestEntry,
    entries_table,
    join_entries,
    parsed_code,
)
from distill.labels.objects import newer_commits
from distill.labels.pending import Replaced, covered_rows
from distill.labels.segments import StoredSegments, read_segments
from distill.pools.inventory import Inventory
from distill.storage.base import Storage

# Commits are small objects, so reading many is all waiting.
_READ_THREADS = 32


@dataclass(frozen=True)
class LabelSetState:
    """A label set, and what a writer or a repair must know of its folder beyond it."""

    labels: LabelSet
    mending: bool  # whether damaged commits are about to be mended, and so no error
    segments: StoredSegments  # the manifest as it was read, of all shards
    live: Integers | None = None  # shards whose entries `labels` has; all where that is None
    # whether commits were looked for; they are not where the manifest covers the pool
    commits_listed: bool = False
    unrolled: tuple[ManifestEntry, ...] = ()  # entries of commits that no segment has
    # damaged commits that no other stands for, by fragment code
    unreadable: Mapping[int, Replaced] = field(default_factory=dict)
    # codes of fragments of which data lies there that no entry names: what a killed run wrote and
    # did not commit, beside garbage. Known once the data was listed (`repair.find_lost`).
    written: frozenset[int] = frozenset()


def read_label_set(
    folder: Storage, name: str, version: int, inventory: Inventory | None = None
) -> LabelSet:
    """Read a label set, of the live shards of `inventory` alone where that is given.

    Raises ContractError for commits of another label set, StorageError for damaged ones."""
    return read_state(folder, name, version, inventory).labels


def read_state(
    folder: Storage,
    name: str,
    version: int,
    inventory: Inventory | None = None,
    *,
    mending: bool = False,
) -> LabelSetState:
    """Read the manifest, then the commits that it lacks, if it does not cover the `inventory`.

    With `mending`, damaged commits are `unreadable`; without, they raise StorageError. Raises
    ContractError for commits of another label set."""
    manifest = folder.folder("manifest")
    segments = read_segments(manifest)
    # Not the shards that another driver has listed since: the caller knows nothing of their rows.
    live = None if inventory is None else inventory.live
    entries = visible_entries(segments.table, live)
    labels = LabelSet(folder, name, version, read_contract(folder), entries)
    state = LabelSetState(labels, mending, segments, live)
    # A finished set is read with a request for some thousand fragments. A mend that no segment has
    # is then not seen, until `repair.find_lost` misses what it replaced.
    if inventory is not None and covered_rows(entries, inventory) == inventory.rows:
        return state
    return list_commits(state)


def list_commits(state: LabelSetState) -> LabelSetState:
    """Read the commits that the manifest lacks too: one LIST. Raises as `read_state` does."""
    folder = state.labels.folder
    table = state.segments.table
    rolled = Manifest(table)
    found = _read_newer(folder, rolled)
    stored = state.labels.stored
    if stored is None and found.keys:
        stored = read_contract(folder)  # it was begun since
    if stored is not None:
        _require_own(folder, found.keys, stored)
    newer = entries_table(found.entries)
    joined = join_entries([table, newer])
    unreadable = _unreadable(found.damaged, joined)
    if unreadable and not state.mending:
        first = next(iter(unreadable.values()))
        error = first.error
        message = f"{error} Without a copy: `distill label --mend` labels its fragment anew."
        raise StorageError(message)
    entries = visible_entries(joined, state.live)
    return replace(
        state,
        labels=replace(state.labels, stored=stored, entries=entries),
        commits_listed=True,
        unrolled=tuple(found.entries),
        unreadable={code: (each.generation, None) for code, each in unreadable.items()},
    )


def visible_entries(table: pa.Table, live: Integers | None) -> Manifest:
    """Return the entries of `live` shards; of all where that is None."""
    if live is None:
        return Manifest(table)
    shards = to_numbers(table["shard"])
    visible = np.isin(shards, live)
    if visible.all():
        return Manifest(table)
    mask = pa.array(visible)
    chosen = table.filter(mask)
    return Manifest(chosen)


@dataclass(frozen=True)
class _DamagedCommit:
    fragment: str
    generation: int
    error: StorageError


@dataclass
class _NewerCommits:
    entries: list[ManifestEntry] = field(default_factory=list)
    # the key of one commit, by the digest of the label set that it belongs to
    keys: dict[str, str] = field(default_factory=dict)
    damaged: list[_DamagedCommit] = field(default_factory=list)


def _read_newer(folder: Storage, rolled: Manifest) -> _NewerCommits:
    found = _NewerCommits()

    def read(where: tuple[str, int]) -> Commit | _DamagedCommit:
        fragment, generation = where
        try:
            return read_commit(folder, fragment, generation)
        except StorageError as error:
            return _DamagedCommit(fragment, generation, error)

    with ThreadPoolExecutor(_READ_THREADS) as threads:
        commits = folder.folder("commits")
        newer = newer_commits(commits, rolled)
        for commit in threads.map(read, newer):
            if isinstance(commit, _DamagedCommit):
                found.damaged.append(commit)
            else:
                entry = commit.entry
                found.entries.append(entry)
                found.keys.setdefault(commit.label_set, commit.key)
    return found


def _require_own(folder: Storage, keys: Mapping[str, str], stored: StoredContract) -> None:
    for label_set, key in keys.items():
        if label_set != stored.label_set:
            raise ContractError(
                f"{folder.url(key)} belongs to another label set. Move it away, or use another"
                " root."
            )


def _unreadable(damaged: list[_DamagedCommit], table: pa.Table) -> dict[int, _DamagedCommit]:
    """The damaged commit of the highest generation of each fragment, by fragment code; none where a
    readable one of a higher generation counts."""
    if not damaged:
        return {}
    entries = Manifest(table)
    found = {}
    for commit in sorted(damaged, key=lambda each: each.generation):
        fragment = commit.fragment
        entry = entries.find(fragment)
        if entry is None or entry.generation < commit.generation:
            code = parsed_code(fragment)
            found[code] = commit
    return found
