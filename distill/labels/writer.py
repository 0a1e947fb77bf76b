"""Writing to one label set: begin it, add commits, and roll them up into its manifest.

A writer belongs to one driver and one thread. Others may write to the same set meanwhile: nothing
that is stored is ever overwritten, and a commit or a segment of theirs is found at the next read.
"""

from __future__ import annotations

import time
from dataclasses import replace

from distill.core.errors import ContractError
from distill.labels.columns_digest import new_digest_key
from distill.labels.commit import Commit
from distill.labels.contract import CONTRACT, Contract, read_contract
from distill.labels.identity import label_set_digest
from distill.labels.label_set import LabelSet
from distill.labels.manifest import Manifest, entries_table, join_entries
from distill.labels.segments import SEGMENT_ENTRIES, SegmentWriter
from distill.labels.state import LabelSetState, visible_entries
from distill.pools.inventory import Inventory

# while labelling, a segment is written at the latest after so long, by all drivers together
_SEGMENT_SECONDS = 60.0


class LabelWriter:
    """Adds to what `state` found in a label set's folder, as one of so many drivers."""

    def __init__(self, state: LabelSetState, drivers: int = 1) -> None:
        self.folder = state.labels.folder
        self._drivers = drivers
        self._labels = state.labels
        self._segments = SegmentWriter(state.segments)
        self._live = state.live
        self._rolled = state.segments.table
        self._unrolled = list(state.unrolled)  # a driver that was killed left them
        self._rolled_at = time.monotonic()

    def begin(self, contract: Contract, inventory: Inventory, fragment_rows: int) -> str:
        """Store the contract, or refuse another one. Returns the label-set digest.

        Raises ContractError."""
        digest = label_set_digest(contract, inventory, fragment_rows)
        labels = self._labels
        if labels.stored is None:
            if len(labels.entries):
                raise ContractError(
                    f"{self.folder.url(CONTRACT)} is gone, so nobody knows what the"
                    f" {len(labels.entries)} commits beside it mean. Restore it from a copy, or set"
                    f" labels.{labels.name}.version = {labels.version + 1} to label anew."
                )
            if contract.encrypted:
                contract = replace(contract, digest_key=new_digest_key(contract.key))
            # Whoever was first, it is read back: what is stored decides, not what was put.
            contract.put(self.folder, fragment_rows=fragment_rows, label_set=digest)
            stored = read_contract(self.folder)
            self._labels = replace(labels, stored=stored)
        self._labels.require(contract, inventory, fragment_rows)
        return digest

    @property
    def digest_key(self) -> str:
        """The encrypted key of the digests of a set that was begun; "" where they are plain."""
        stored = self._labels.stored
        return "" if stored is None else stored.contract.digest_key

    def add(self, commit: Commit) -> None:
        """Take a commit that was just made."""
        self._unrolled.append(commit.entry)

    def snapshot(self) -> LabelSet:
        """Return the set as it is with what was added."""
        tables = [self._rolled]
        if self._unrolled:
            unrolled = entries_table(self._unrolled)
            tables.append(unrolled)
        table = join_entries(tables)
        return replace(self._labels, entries=visible_entries(table, self._live))

    @property
    def manifest_due(self) -> bool:
        """Whether commits are many enough, or old enough, to be rolled up."""
        now = time.monotonic()
        seconds = now - self._rolled_at
        waiting = len(self._unrolled)
        wait = self._drivers * _SEGMENT_SECONDS
        is_old = seconds >= wait
        return waiting >= SEGMENT_ENTRIES or (waiting > 0 and is_old)

    def write_manifest(self, fewest: int = 1) -> None:
        """Roll up the commits that no segment has, unless they are fewer than `fewest`; another
        driver's segment is never overwritten."""
        if len(self._unrolled) < fewest:
            return
        for start in range(0, len(self._unrolled), SEGMENT_ENTRIES):
            part = entries_table(self._unrolled[start : start + SEGMENT_ENTRIES])
            self._segments.append(part)
            tables = [self._rolled, part]
            self._rolled = join_entries(tables)
        self._unrolled = []
        self._rolled_at = time.monotonic()

    def tidy_manifest(self) -> None:
        """Write the manifest in few segments where it lies in many, or where one is damaged."""
        if self._segments.are_many(len(self._rolled)):
            entries = Manifest(self._rolled)
            self._segments.replace(entries)
