"""The manifest in storage: immutable numbered segments of entries, each claimed by a conditional
put.

A long job writes a segment a minute, so a finished one would be read in many small pieces;
`SegmentWriter.replace` then writes its entries in few, and the last of these says instead of which
earlier ones they stand. What was written stays (only gc deletes), and a reader, who begins with the
newest, passes over what a later segment stands for: a kill between two writes, or a second driver,
loses nothing.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.schema import MANIFEST, bytes_table, table_bytes, table_note
from distill.labels.manifest import Manifest, join_entries
from distill.storage.base import ObjectMissingError, Storage

log = logging.getLogger(__name__)

SEGMENT_ENTRIES = 1_000  # while labelling, a segment is written at the latest after so many commits
# About 130 bytes an entry; a segment must stay under the 1 MiB of a conditional put.
_MOST_ENTRIES = 6_000
_MANY = 4  # segments more than are needed, from which on they are written anew
# Readings of a folder from which gc may delete meanwhile.
_TRIES = 3
_KEY = re.compile(r"(\d{6,})\.arrow")
_RANGE = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class Segment:
    """One segment as it was listed."""

    number: int
    size_bytes: int

    @property
    def key(self) -> str:
        """Key in the folder of segments."""
        return _segment_key(self.number)


@dataclass(frozen=True)
class StoredSegments:
    """What the segments in one folder say."""

    folder: Storage
    table: pa.Table  # all entries, generations of a fragment side by side
    listed: tuple[Segment, ...]  # by number
    superseded_numbers: frozenset[int]  # of segments that others stand for; some may be gone
    damaged: tuple[str, ...]  # URLs of segments that could not be read

    @property
    def superseded(self) -> list[Segment]:
        """Segments that others stand for, and that are still there: garbage."""
        return [each for each in self.listed if each.number in self.superseded_numbers]


def read_segments(folder: Storage) -> StoredSegments:
    """Read all segments that no other stands for. A damaged one is passed over with a warning."""
    for _ in range(_TRIES):
        try:
            return _read_listed(folder)
        except ObjectMissingError:  # gc took a segment between the listing and the reading
            continue
    return _read_listed(folder)


class SegmentWriter:
    """Writes more segments beside those that were read."""

    def __init__(self, stored: StoredSegments) -> None:
        self._folder = stored.folder
        self._present = {segment.number for segment in stored.listed}
        self._superseded = set(stored.superseded_numbers)
        self._damaged = bool(stored.damaged)

    def append(self, entries: pa.Table) -> None:
        """Write one more segment, under a number that nobody has."""
        self._write(entries, "")

    def are_many(self, entries: int) -> bool:
        """Whether far fewer segments could hold so many entries, or one is damaged."""
        needed = entries // _MOST_ENTRIES
        current = self._present - self._superseded
        return self._damaged or len(current) > _MANY + needed

    def replace(self, entries: Manifest) -> None:
        """Write `entries`, all that was read or written here, in as few segments as hold them."""
        known = self._present | self._superseded
        # A number that is missing may be another driver's segment, which was not read, so that
        # these must not stand for it.
        first_gap = 0
        while first_gap in known:
            first_gap += 1
        note = f"0-{first_gap - 1}" if first_gap else ""
        last = max(0, len(entries) - 1) // _MOST_ENTRIES
        for part in range(last + 1):
            start = part * _MOST_ENTRIES
            table = entries.table(start, start + _MOST_ENTRIES)
            # Until the last one is there, a reader goes on reading what it replaces.
            is_last = part == last
            part_note = note if is_last else ""
            self._write(table, part_note)
        replaced = range(first_gap)
        self._superseded.update(replaced)
        self._damaged = False

    def _write(self, entries: pa.Table, note: str) -> None:
        content = table_bytes(entries, note)
        # beyond those that gc took, too: readers pass over a segment of such a number
        number = max(self._present | self._superseded, default=-1) + 1
        while not self._folder.put_if_absent(_segment_key(number), content):
            # not one by one: other drivers may have written thousands since this one read them
            numbers = (segment.number for segment in _list_segments(self._folder))
            newest = max(numbers, default=number)
            number = newest + 1
        self._present.add(number)


def _read_listed(folder: Storage) -> StoredSegments:
    listed = sorted(_list_segments(folder), key=lambda each: each.number)
    superseded: set[int] = set()
    damaged: list[str] = []
    # Nobody else holds the pieces, so they go while they are joined.
    table = join_entries(_newest_first(folder, listed, superseded, damaged))
    pa.default_memory_pool().release_unused()
    return StoredSegments(folder, table, tuple(listed), frozenset(superseded), tuple(damaged))


def _newest_first(
    folder: Storage, listed: Sequence[Segment], superseded: set[int], damaged: list[str]
) -> Iterator[pa.Table]:
    """Read segments that none read before stands for, and fill the two collections meanwhile."""
    for segment in reversed(listed):
        if segment.number in superseded:
            continue
        key = segment.key
        where = folder.url(key)
        try:
            content = folder.read(key)
            table = bytes_table(content, MANIFEST, where)
        except ObjectMissingError:
            raise
        except StorageError as error:
            damaged.append(where)
            # as good as none, since the commits say the same
            log.warning(
                "%s Its commits are read instead; the next `distill label` writes it anew.", error
            )
            continue
        note = table_note(table)
        replaced = _stands_for(note)
        superseded.update(replaced)
        plain = table.replace_schema_metadata(None)
        yield join_entries([plain])


def _list_segments(folder: Storage) -> Iterator[Segment]:
    for meta in folder.walk():
        match = _KEY.fullmatch(meta.key)
        if match:
            digits = match[1]
            number = int(digits)
            yield Segment(number, meta.size_bytes)


def _stands_for(note: str) -> range:
    match = _RANGE.fullmatch(note)
    if match is None:
        return range(0)
    return range(int(match[1]), int(match[2]) + 1)


def _segment_key(number: int) -> str:
    return f"{number:06d}.arrow"
