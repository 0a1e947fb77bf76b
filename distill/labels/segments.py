"""The manifest in storage: immutable numbered segments of lines, each claimed by a conditional put.

A long job writes a segment a minute, so a finished one would be read in many small pieces;
`replace` then writes its lines in few, and the last of these says instead of which earlier ones
they stand. What was written stays (only gc deletes), and a reader, who begins with the newest,
passes over what a later segment stands for. That one is written last, and it never speaks for a
segment that its writer had not read: so a kill between two writes, or a second driver, loses
nothing. A damaged segment is as good as none, since the commits say the same; `replace` stands in
for it too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.schema import MANIFEST, bytes_table, table_bytes, table_note
from distill.labels.manifest import Manifest, join_entries
from distill.storage.base import ObjectMissingError, Storage

log = logging.getLogger(__name__)

SEGMENT_ENTRIES = 1_000
"""While labelling, a segment is written at the latest after so many commits."""
_MOST_LINES = 6_000
"""About 130 bytes a line; a segment must stay under the 1 MiB of a conditional put."""
_MANY = 4
_TRIES = 3
_KEY = re.compile(r"(\d{6,})\.arrow")
_RANGE = re.compile(r"(\d+)-(\d+)")


@dataclass(frozen=True)
class _Segment:
    number: int
    size_bytes: int

    @property
    def key(self) -> str:
        return f"{self.number:06d}.arrow"


class Segments:
    """The manifest segments in one folder."""

    def __init__(self, folder: Storage) -> None:
        self.folder = folder
        self.damaged: list[str] = []
        """URLs of segments that could not be read."""
        self._known: list[_Segment] = []
        self._spoken_for: set[int] = set()

    def read(self) -> pa.Table:
        """All lines, generations of a fragment side by side."""
        for _ in range(_TRIES):
            try:
                return self._read_listed()
            except ObjectMissingError:  # gc took a segment between the listing and the reading
                continue
        return self._read_listed()

    def append(self, lines: pa.Table) -> None:
        """Write one more segment, under a number that nobody has."""
        self._write(lines, "")

    def are_many(self, lines: int) -> bool:
        """Whether far fewer segments could hold so many lines, or one is damaged."""
        return bool(self.damaged) or len(self._current()) > _MANY + lines // _MOST_LINES

    def replace(self, lines: Manifest) -> None:
        """Write `lines`, all that was read or written here, in as few segments as hold them."""
        there = {each.number for each in self._known} | self._spoken_for
        first_gap = next(number for number in range(len(there) + 1) if number not in there)
        note = f"0-{first_gap - 1}" if first_gap else ""
        starts = list(range(0, len(lines), _MOST_LINES)) or [0]
        for start in starts:
            self._write(
                lines.table(start, start + _MOST_LINES), note if start == starts[-1] else ""
            )
        self._spoken_for.update(range(first_gap))
        self.damaged = []

    def superseded(self) -> list[tuple[str, int]]:
        """Key and size of segments that others stand for: garbage."""
        return [
            (each.key, each.size_bytes) for each in self._known if each.number in self._spoken_for
        ]

    def _read_listed(self) -> pa.Table:
        self._known, self.damaged, self._spoken_for = (
            sorted(self._listed(), key=lambda each: each.number),
            [],
            set(),
        )
        joined = join_entries(
            self._newest_first()
        )  # nobody else holds the pieces, so they go while they are joined
        pa.default_memory_pool().release_unused()
        return joined

    def _newest_first(self) -> Iterator[pa.Table]:
        for segment in reversed(self._known):
            table = self._read(segment) if segment.number not in self._spoken_for else None
            if table is not None:
                said = _RANGE.fullmatch(table_note(table))
                self._spoken_for.update(range(int(said[1]), int(said[2]) + 1) if said else ())
                yield join_entries([table.replace_schema_metadata(None)])

    def _listed(self) -> Iterator[_Segment]:
        for entry in self.folder.walk():
            found = _KEY.fullmatch(entry.key)
            if found:
                yield _Segment(int(found[1]), entry.size_bytes)

    def _current(self) -> list[_Segment]:
        return [each for each in self._known if each.number not in self._spoken_for]

    def _read(self, segment: _Segment) -> pa.Table | None:
        where = self.folder.url(segment.key)
        try:
            return bytes_table(self.folder.read(segment.key), MANIFEST, where)
        except ObjectMissingError:
            raise
        except StorageError as error:
            log.warning(
                "%s Its commits are read instead; the next `distill label` writes it anew.", error
            )
            self.damaged.append(where)
            return None

    def _write(self, lines: pa.Table, note: str) -> None:
        content = table_bytes(lines, note)
        highest = max([-1, *self._spoken_for, *(each.number for each in self._known)])
        segment = _Segment(highest + 1, len(content))
        while not self.folder.put_if_absent(segment.key, content):
            segment = _Segment(segment.number + 1, len(content))
        self._known.append(segment)
