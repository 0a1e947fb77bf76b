"""One label set as a reader sees it: what one labeler wrote over one pool under one contract.

    labels/<name>/v<N>/<pool>/contract.json  data/  rejects/  commits/  manifest/  lease.json

(DESIGN §3 draws `labels/<name>/v<N>/`; a labeler over two pools writes two label sets, so the pool
is one folder more.)

A `LabelSet` is a snapshot: it never changes, and it is small enough to be sent to every worker.
`state.read_label_set` reads one, `writer.LabelWriter` adds to what is stored, `repair` finds what
must be labelled again and what may be deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from distill.core.errors import ContractError
from distill.labels.commit import read_labels
from distill.labels.contract import CONTRACT, Contract, StoredContract
from distill.labels.identity import label_set_digest
from distill.labels.manifest import Manifest, ManifestEntry
from distill.labels.pending import covered_rows
from distill.pools.inventory import Inventory
from distill.storage.base import Storage


@dataclass(frozen=True)
class LabelSet:
    """The committed fragments of one label set, as they were when it was read."""

    folder: Storage
    name: str
    version: int
    stored: StoredContract | None  # None before the set was begun
    # committed fragments in (shard, row) order; of live shards alone where the inventory was
    # known to the one who read them
    entries: Manifest

    @property
    def label_hash(self) -> str:
        """Digest of the decoded columns in (shard, row) order."""
        # a student pins this and not the manifest's own digest: a mended fragment has the same
        # columns, so it retrains nobody
        return self.entries.label_hash

    @property
    def contract(self) -> Contract:
        """What the labels mean. Raises ContractError where nothing says so."""
        if self.stored is None:
            raise ContractError(
                f"{self.folder.url(CONTRACT)} is gone, so nobody knows what the data beside it"
                " mean. Restore it."
            )
        return self.stored.contract

    def read(self, entry: ManifestEntry) -> pa.Table:
        """Read one fragment's label columns. Raises StorageError."""
        return read_labels(self.folder, entry.data, entry.xxh3, self.contract)

    def require(self, contract: Contract, inventory: Inventory, fragment_rows: int) -> None:
        """Refuse a set that was begun under another contract, pool or cut. Raises ContractError."""
        stored = self.stored
        if stored is None:
            raise ContractError(
                f"labels.{self.name}: nothing is labelled yet under {self.folder.uri}. Run `distill"
                " label`."
            )
        contract.require(stored.contract, self.name, self.version)
        if stored.fragment_rows != fragment_rows:
            raise ContractError(
                f"labels.{self.name}: stored with fragment_rows = {stored.fragment_rows}, now"
                f" {fragment_rows}. Set it back, or set {self._next_version} to label anew."
            )
        if stored.label_set != label_set_digest(contract, inventory, fragment_rows):
            raise ContractError(
                f"labels.{self.name}: stored for another inventory of pools.{inventory.pool}."
                f" Restore the inventory under the root, or set {self._next_version} to label anew."
            )

    def require_width(self, in_features: int) -> None:
        """Refuse rows of another width than those that were labelled. Raises ContractError."""
        stored = self.contract.in_features
        if stored and stored != in_features:
            raise ContractError(
                f"labels.{self.name}: stored for rows of {stored} numbers, now they have"
                f" {in_features}. Restore the pool's first file, or set {self._next_version} to"
                " label anew."
            )

    def require_one_origin(self) -> None:
        """Refuse labels made on more than one kind of device or libraries.

        This is what `deterministic = "strict"` asks for. Raises ContractError."""
        made_on = self.entries.made_on
        if len(made_on) > 1:
            raise ContractError(
                f'labels.{self.name}: labelled on {made_on}, which deterministic = "strict"'
                " refuses. Label all of it on one kind of device with the same libraries (version"
                f" = {self.version + 1}), or leave `deterministic` out."
            )

    def require_complete(self, inventory: Inventory) -> None:
        """Refuse a set that does not cover each row of the pool exactly once.

        Raises ContractError."""
        covered = covered_rows(self.entries, inventory)
        if covered < 0:
            raise ContractError(
                f"labels.{self.name}: commits under {self.folder.uri} are of other rows than"
                f" pools.{inventory.pool} lists. Restore the inventory, or set"
                f" {self._next_version} to label anew."
            )
        if covered != inventory.rows:
            raise ContractError(
                f"labels.{self.name}: {covered:,} of {inventory.rows:,} rows of"
                f" pools.{inventory.pool} are labelled under {self.folder.uri}. Run `distill label`"
                " again; it labels only what is missing."
            )

    @property
    def _next_version(self) -> str:
        """What a user writes to begin a new set beside this one."""
        return f"labels.{self.name}.version = {self.version + 1}"
