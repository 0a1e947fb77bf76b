"""What is left to label: fragments without a commit, and fragments whose committed data was lost.

In columns, as the inventory's cut is: objects are made of a fragment only while it is handed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.labels.commit import WriteIntent
from distill.labels.manifest import Integers, Manifest, ManifestEntry, fragment_code, fragment_codes
from distill.pools.fragments import WHOLE, FragmentTable
from distill.pools.inventory import Inventory, Shard

_FRAGMENTS_AT_ONCE = 4_096
_NO_FILE = "0" * 32  # no shard has this id

# generation of the commit that counts no more, and the sha256 of its data where that is known
Replaced = tuple[int, str | None]
_NOTHING: Replaced = (-1, None)


@dataclass(frozen=True, eq=False)
class PendingFragments:
    """Some fragments of a pool, and the intent that each is labelled under."""

    inventory: Inventory
    cut: FragmentTable
    positions: Integers  # in `cut`, in the order of work: ascending, unless somebody chose another
    replaced: Mapping[int, Replaced]  # commits of fragments that are labelled again, by code

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def rows(self) -> int:
        """Of all those fragments."""
        rows = self.cut.rows[self.positions]
        return int(rows.sum())

    def generation(self, code: int) -> int:
        """Return the generation in which a fragment is labelled."""
        before, _ = self.replaced.get(code, _NOTHING)
        return before + 1

    def __iter__(self) -> Iterator[tuple[Shard, WriteIntent, int | None]]:
        """Return shard, intent and large row group of each, in the order of `positions`; those
        labelled again in the next generation."""
        shard: Shard | None = None
        for shard_number, number, start, rows, group in self._cut_rows():
            # A shard has many fragments in a row, and looking one up takes a slice of the table.
            if shard is None or shard.number != shard_number:
                shard = self.inventory.shard(shard_number)
            is_whole = group == WHOLE
            large_group = None if is_whole else group
            yield shard, self._intent(shard, number, start, rows), large_group

    def _cut_rows(self) -> Iterator[tuple[int, int, int, int, int]]:
        cut = self.cut
        for first in range(0, len(self), _FRAGMENTS_AT_ONCE):
            part = self.positions[first : first + _FRAGMENTS_AT_ONCE]
            yield from zip(
                cut.shard[part].tolist(),
                cut.number[part].tolist(),
                cut.start[part].tolist(),
                cut.rows[part].tolist(),
                cut.group[part].tolist(),
                strict=True,
            )

    def _intent(self, shard: Shard, number: int, start: int, rows: int) -> WriteIntent:
        code = fragment_code(shard.number, number)
        _, sha256 = self.replaced.get(code, _NOTHING)
        generation = self.generation(code)
        return WriteIntent(shard.number, number, shard.id, start, rows, generation, sha256)


def find_pending(
    entries: Manifest, inventory: Inventory, fragment_rows: int, replaced: Mapping[int, Replaced]
) -> PendingFragments:
    """Find the fragments of `inventory` that have no entry, or whose commit is `replaced`."""
    cut = inventory.fragment_table(fragment_rows)
    codes = fragment_codes(cut.shard, cut.number)
    missing = entries.positions(codes) < 0
    replaced_codes = list(replaced)
    again = np.isin(codes, replaced_codes)
    pending = missing | again
    positions = np.flatnonzero(pending)
    return PendingFragments(inventory, cut, positions, replaced)


def find_misplaced(
    entries: Manifest, inventory: Inventory, fragment_rows: int
) -> Iterator[ManifestEntry]:
    """Find entries of other rows than their fragment's, or of another file than its shard."""
    cut = inventory.fragment_table(fragment_rows)
    codes = fragment_codes(cut.shard, cut.number)
    same = np.zeros(len(entries), np.bool_)
    if len(codes):  # an empty pool may have had rows
        position = np.searchsorted(codes, entries.codes)
        position = np.minimum(position, len(codes) - 1)
        expected = codes[position]
        same = expected == entries.codes
        same &= cut.start[position] == entries.column("start")
        same &= cut.rows[position] == entries.column("rows")
    same &= _of_listed_files(entries, inventory)
    return (entries[int(position)] for position in np.flatnonzero(~same))


def covered_rows(entries: Manifest, inventory: Inventory) -> int:
    """Count the rows that entries cover, each once.

    −1 where an entry is of rows that the inventory does not list, or two overlap."""
    shard = entries.column("shard")
    start = entries.column("start")
    rows = entries.column("rows")
    stop = start + rows
    if (stop > _shard_limits(inventory, shard)).any():
        return -1
    if not _of_listed_files(entries, inventory).all():
        return -1
    # Entries are in order, so one can only overlap the next.
    same_shard = shard[1:] == shard[:-1]
    overlapping = start[1:] < stop[:-1]
    if (same_shard & overlapping).any():
        return -1
    return entries.rows


def _shard_limits(inventory: Inventory, shard: Integers) -> Integers:
    """Rows of each shard; 0 of one that is retired or not listed."""
    limits = np.append(inventory.shard_rows, 0)
    numbers = np.minimum(shard, len(limits) - 1)
    return limits[numbers]


def _of_listed_files(entries: Manifest, inventory: Inventory) -> npt.NDArray[np.bool_]:
    """Which entries are of the file that the inventory lists under their shard's number."""
    # a retired shard has no id: its entries are of no file that is listed
    ids = [id or _NO_FILE for id in inventory.table["id"].to_pylist()]
    ids.append(_NO_FILE)  # of shards that are not listed
    digits = "".join(ids)
    packed = bytes.fromhex(digits)
    listed = np.frombuffer(packed, np.uint8).reshape(len(ids), -1)
    shard = np.minimum(entries.column("shard"), len(ids) - 1)
    equal = listed[shard] == entries.digests("shard_id")
    same: npt.NDArray[np.bool_] = equal.all(axis=1)
    return same
