"""What of a label set must be labelled again, and what in its folder no reader sees.

A fragment is labelled again, in the next generation, where its data or rejects are gone or of
another size (`find_lost`), where reading them shows damage (`find_problems`), and where its commit
cannot be read (`LabelSetState.unreadable`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from distill.labels.integrity import integrity_problem
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry, fragment_code
from distill.labels.objects import found_attempts, list_other_attempts
from distill.labels.pending import PendingFragments, Replaced, find_pending
from distill.labels.state import LabelSetState, list_commits
from distill.pools.inventory import Inventory

_READ_THREADS = 32
_CHECKED_AT_ONCE = 1_000


def find_lost(state: LabelSetState) -> tuple[LabelSetState, list[ManifestEntry]]:
    """Find committed fragments whose data or rejects are gone or of another size.

    Returns them and the state in which they are lost, which also knows of which fragments other
    data is `written`. One LIST of data; where any are lost and commits were not looked for, one of
    these too."""
    lost, written = _held_against_listing(state.labels)
    if lost and not state.commits_listed:
        # a mend may be committed that no segment has
        state = list_commits(state)
        lost, written = _held_against_listing(state.labels)
    known = replace(state, written=written)
    return known, lost


def lost_entries(labels: LabelSet) -> list[ManifestEntry]:
    """Find entries whose data or rejects do not lie in the folder in the committed size."""
    lost, _ = _held_against_listing(labels)
    return lost


def _held_against_listing(labels: LabelSet) -> tuple[list[ManifestEntry], frozenset[int]]:
    """Return the lost entries, and the codes of fragments with data that no entry names."""
    folder = labels.folder
    entries = labels.entries
    data = folder.folder("data")
    listed = found_attempts(data, entries, entries.column("bytes"))
    found = listed.found
    counts = entries.column("rejected")
    rejected = counts > 0
    if rejected.any():  # a set without any needs no second LIST
        rejects = folder.folder("rejects")
        rejects_listed = found_attempts(rejects, entries)
        sound = ~rejected
        found &= sound | rejects_listed.found
    lost = [entries[int(position)] for position in np.flatnonzero(~found)]
    return lost, listed.others


def find_problems(labels: LabelSet) -> Iterator[tuple[ManifestEntry, str | None]]:
    """Read every committed fragment whole, and say what is wrong with it; None where nothing is."""
    contract = labels.contract

    def problem(entry: ManifestEntry) -> str | None:
        return integrity_problem(labels.folder, contract, entry)

    # Some at a time: a pool of threads would take all entries at once, as objects.
    entries = iter(labels.entries)
    with ThreadPoolExecutor(_READ_THREADS) as threads:
        while part := list(itertools.islice(entries, _CHECKED_AT_ONCE)):
            yield from zip(part, threads.map(problem, part), strict=True)


def pending_fragments(
    state: LabelSetState,
    inventory: Inventory,
    fragment_rows: int,
    damaged: Iterable[ManifestEntry] = (),
) -> PendingFragments:
    """Find fragments without a readable commit, together with the lost or `damaged` ones."""
    replaced: dict[int, Replaced] = dict(state.unreadable)
    for entry in damaged:
        code = fragment_code(entry.shard, entry.number)
        # An unreadable commit is of a higher generation than the entry of its fragment.
        replaced.setdefault(code, (entry.generation, entry.sha256))
    return find_pending(state.labels.entries, inventory, fragment_rows, replaced)


def other_attempts(labels: LabelSet) -> Iterator[tuple[str, int]]:
    """Find data and rejects of attempts that lost, or that were mended: keys and sizes in bytes.

    `labels` must have been read with all commits. Of a lost fragment nothing is found: what lies
    there may be the data of a mend that is not committed yet."""
    lost = {entry.fragment for entry in lost_entries(labels)}
    for kind in ("data", "rejects"):
        for attempt in list_other_attempts(labels.folder.folder(kind), labels.entries):
            fragment = attempt.key.partition("/")[0]
            if fragment not in lost:
                yield f"{kind}/{attempt.key}", attempt.size_bytes


def superseded_segments(state: LabelSetState) -> list[tuple[str, int]]:
    """Find manifest segments that others stand for: keys and sizes in bytes."""
    superseded = state.segments.superseded
    return [(f"manifest/{segment.key}", segment.size_bytes) for segment in superseded]
