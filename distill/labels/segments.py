"""The manifest in storage: immutable numbered segments of lines, each claimed by a conditional put.

    manifest/000007.arrow                     the eighth segment
    manifest/000031.000000-000024.arrow       the thirty-second; with it, segments 0 to 24 need not be read

A long job writes a segment a minute, so a finished one would be read in many small pieces; `replace` then writes its lines in few.
What was written stays (only gc deletes), and a reader passes over what another segment stands for. The segment that stands for others
is written last, and it never speaks for one that its writer had not read: so a kill between two writes, or a second driver, loses
nothing. A damaged segment is as good as none, since the commits say the same; `replace` stands in for it too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from distill.errors import StorageError
from distill.schema import MANIFEST, bytes_table, table_bytes
from distill.storage import ObjectMissingError, Storage

log = logging.getLogger(__name__)

SEGMENT_LINES = 1_000
"""While labelling, a segment is written at the latest after so many commits."""
_MOST_LINES = 6_000
"""About 130 bytes a line; a segment must stay under the 1 MiB of a conditional put."""
_MANY = 4
_TRIES = 3
_KEY = re.compile(r"(\d{6,})(?:\.(\d{6,})-(\d{6,}))?\.arrow")


@dataclass(frozen=True)
class _Segment:
    key: str
    size_bytes: int
    number: int
    instead_of: range


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

    def _read_listed(self) -> pa.Table:
        self._known, self.damaged = sorted(self._listed(), key=lambda each: each.number), []
        tables = [MANIFEST.empty_table()]
        spoken_for: set[int] = set()
        for segment in reversed(self._known):
            table = self._read(segment) if segment.number not in spoken_for else None
            if table is not None:
                tables.append(table)
                spoken_for.update(segment.instead_of)
        self._spoken_for = spoken_for
        return pa.concat_tables(tables)

    def append(self, lines: pa.Table) -> None:
        """Write one more segment, under a number that nobody has."""
        self._write(lines, range(0))

    def are_many(self, lines: int) -> bool:
        """Whether far fewer segments could hold so many lines, or one is damaged."""
        return bool(self.damaged) or len(self._current()) > _MANY + lines // _MOST_LINES

    def replace(self, lines: pa.Table) -> None:
        """Write `lines`, which are all that was read or written here, in as few segments as hold them."""
        numbers = {each.number for each in self._known}
        first_gap = next(number for number in range(len(numbers) + 1) if number not in numbers)
        starts = list(range(0, len(lines), _MOST_LINES)) or [0]
        for start in starts:
            self._write(lines.slice(start, _MOST_LINES), range(first_gap) if start == starts[-1] else range(0))

    def superseded(self) -> list[tuple[str, int]]:
        """Key and size of segments that others stand for: garbage."""
        kept = {each.key for each in self._current()}
        return [(each.key, each.size_bytes) for each in self._known if each.key not in kept]

    def _listed(self) -> Iterator[_Segment]:
        for entry in self.folder.walk():
            found = _KEY.fullmatch(entry.key)
            if found:
                first, last = found[2], found[3]
                yield _Segment(
                    entry.key, entry.size_bytes, int(found[1]), range(int(first), int(last) + 1) if first else range(0)
                )

    def _current(self) -> list[_Segment]:
        return [each for each in self._known if each.number not in self._spoken_for]

    def _read(self, segment: _Segment) -> pa.Table | None:
        where = self.folder.url(segment.key)
        try:
            return bytes_table(self.folder.read(segment.key), MANIFEST, where)
        except ObjectMissingError:
            raise
        except StorageError as error:
            log.warning("%s Its commits are read instead; the next `distill label` writes it anew.", error)
            self.damaged.append(where)
            return None

    def _write(self, lines: pa.Table, instead_of: range) -> None:
        content = table_bytes(lines)
        said = f".{instead_of[0]:06d}-{instead_of[-1]:06d}" if instead_of else ""
        number = max((each.number for each in self._known), default=-1) + 1
        while not self.folder.put_if_absent(f"{number:06d}{said}.arrow", content):
            number += 1
        self._spoken_for.update(instead_of)
        self._known.append(_Segment(f"{number:06d}{said}.arrow", len(content), number, instead_of))
