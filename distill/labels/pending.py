"""What is left to label: fragments without a commit, and fragments whose committed data was lost.

In columns, as the inventory's cut is: objects are made of a fragment only while it is handed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.labels.commit import WriteIntent
from distill.labels.manifest import Manifest, ManifestEntry, fragment_code, fragment_codes
from distill.pools.fragments import WHOLE, FragmentTable
from distill.pools.inventory import Inventory, Shard

_AT_ONCE = 4_096

Replaced = tuple[int, str | None]
"""Generation of the commit that counts no more, and the sha256 of its data where that is known."""


@dataclass(frozen=True, eq=False)
class PendingFragments:
    """Some fragments of a pool, and the claim that each is labelled under."""

    inventory: Inventory
    cut: FragmentTable
    places: npt.NDArray[np.int64]
    """In `cut`, ascending."""
    again: Mapping[int, Replaced]
    """Those that are labelled again, by code."""

    def __len__(self) -> int:
        return len(self.places)

    @property
    def rows(self) -> int:
        """Of all those fragments."""
        return int(self.cut.rows[self.places].sum())

    def __iter__(self) -> Iterator[tuple[Shard, WriteIntent, int | None]]:
        """Shard, claim and large row group of each, in (shard, row) order; those labelled again in
        the next generation."""
        cut, shard = self.cut, None
        for first in range(0, len(self.places), _AT_ONCE):
            part = self.places[first : first + _AT_ONCE]
            columns = (
                column[part].tolist()
                for column in (cut.shard, cut.number, cut.start, cut.rows, cut.group)
            )
            for mine, number, start, rows, group in zip(*columns, strict=True):
                shard = (
                    shard
                    if shard is not None and shard.number == mine
                    else self.inventory.shard(mine)
                )
                yield (
                    shard,
                    self._claim(shard, number, start, rows),
                    None if group == WHOLE else group,
                )

    def _claim(self, shard: Shard, number: int, start: int, rows: int) -> WriteIntent:
        generation, replaces = self.again.get(fragment_code(shard.number, number), (-1, None))
        return WriteIntent(shard.number, number, shard.id, start, rows, generation + 1, replaces)


def find_pending(
    lines: Manifest, inventory: Inventory, fragment_rows: int, again: Mapping[int, Replaced]
) -> PendingFragments:
    """Fragments of `inventory` that have no line, or are labelled `again`."""
    cut = inventory.fragment_table(fragment_rows)
    codes = fragment_codes(cut.shard, cut.number)
    missing = lines.places(codes) < 0
    return PendingFragments(
        inventory, cut, np.flatnonzero(missing | np.isin(codes, list(again))), again
    )


def find_misplaced(
    lines: Manifest, inventory: Inventory, fragment_rows: int
) -> Iterator[ManifestEntry]:
    """Lines of other rows than the fragment that they name, or of another file than its shard."""
    cut = inventory.fragment_table(fragment_rows)
    codes = fragment_codes(cut.shard, cut.number)
    place = np.minimum(np.searchsorted(codes, lines.codes), max(0, len(codes) - 1))
    same = np.zeros(len(lines), np.bool_)
    if len(codes):
        same = (codes[place] == lines.codes) & (cut.start[place] == lines.column("start"))
        same &= cut.rows[place] == lines.column("rows")
    same &= _of_listed_files(lines, inventory)
    return (lines[int(each)] for each in np.flatnonzero(~same))


def covered_rows(lines: Manifest, inventory: Inventory) -> int:
    """Rows that lines cover, each once; −1 where a line is of rows that the inventory does not
    list, or two overlap."""
    limits = np.append(inventory.shard_rows, 0)
    shard = np.minimum(lines.column("shard"), len(limits) - 1)
    start, stop = lines.column("start"), lines.column("start") + lines.column("rows")
    overlapping = ((shard[1:] == shard[:-1]) & (start[1:] < stop[:-1])).any()
    wrong = (
        overlapping or (stop > limits[shard]).any() or not _of_listed_files(lines, inventory).all()
    )
    return -1 if wrong else lines.rows


def _of_listed_files(lines: Manifest, inventory: Inventory) -> npt.NDArray[np.bool_]:
    """Which lines are of the file that the inventory lists under their shard's number."""
    ids = inventory.table["id"].fill_null("0" * 32).to_pylist()
    packed = np.frombuffer(bytes.fromhex("".join([*ids, "0" * 32])), np.uint8).reshape(-1, 16)
    same: npt.NDArray[np.bool_] = (
        packed[np.minimum(lines.column("shard"), len(ids))] == lines.digests("shard_id")
    ).all(axis=1)
    return same
