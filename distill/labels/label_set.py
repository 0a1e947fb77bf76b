"""One label set: what one labeler wrote over one pool under one contract.

    labels/<name>/v<N>/<pool>/contract.json  data/  rejects/  commits/  manifest/  lease.json

(DESIGN §3 draws `labels/<name>/v<N>/`; a labeler over two pools writes two label sets, so the pool
is one folder more.)

Readers know commits and the manifest, never a listing of data. The manifest says again what the
commits say, in few objects (`segments`); commits are listed only as long as it does not cover the
pool. So a finished set is read with a request for some thousand fragments. State is O(fragments),
in columns (`manifest`).
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.errors import ContractError, StorageError
from distill.core.schema import unseal
from distill.labels.commit import Commit, read_labels
from distill.labels.contract import Contract
from distill.labels.identity import label_set_digest
from distill.labels.integrity import integrity_problem
from distill.labels.manifest import (
    Manifest,
    ManifestEntry,
    commit_key,
    entries_table,
    fragment_code,
    join_entries,
    parsed_code,
)
from distill.labels.objects import found_attempts, newer_commits, other_attempts
from distill.labels.pending import (
    PendingFragments,
    Replaced,
    covered_rows,
    find_misplaced,
    find_pending,
)
from distill.labels.segments import SEGMENT_ENTRIES, Segments
from distill.pools.inventory import Inventory
from distill.storage.base import Storage

_READ_THREADS = 32
_CHECKED_AT_ONCE = 1_000
CONTRACT = "contract.json"


class LabelSet:
    """The committed fragments of one label set."""

    def __init__(self, folder: Storage, name: str, version: int) -> None:
        self.folder = folder
        self.name = name
        self.version = version
        self._segments = Segments(folder.folder("manifest"))
        self._rolled = join_entries([])
        self._fresh: list[ManifestEntry] = []
        self._shards: npt.NDArray[np.int64] | None = None
        """Whose lines are seen: the live ones of the inventory, not those that another driver has
        listed since."""
        self._rolled_at = time.monotonic()
        self._mending = False
        self._unreadable: dict[int, Replaced] = {}
        """Damaged commits that nothing stands for yet, by fragment code."""
        self._trusted = False
        """Whether commits were not looked for, since the manifest covers the pool."""

    @cached_property
    def lines(self) -> Manifest:
        """Committed fragments in (shard, row) order, of live shards alone where the inventory is
        known."""
        table = (
            join_entries([self._rolled, entries_table(self._fresh)])
            if self._fresh
            else self._rolled
        )
        seen = None if self._shards is None else np.isin(table["shard"].to_numpy(), self._shards)
        return Manifest(table if seen is None or seen.all() else table.filter(pa.array(seen)))

    @property
    def label_hash(self) -> str:
        """Digest of the decoded columns in (shard, row) order.

        A student pins it, and not the manifest's own digest: a mended fragment has the same
        columns, so it retrains nobody.
        """
        return self.lines.label_hash

    def read_contract(self) -> Contract | None:
        """The stored contract; None before the set was begun."""
        return Contract.from_body(self._body, self.folder) if self._body else None

    def begin(self, contract: Contract, inventory: Inventory, fragment_rows: int) -> str:
        """Store the contract, or refuse another one. Returns the label-set digest. Raises
        ContractError."""
        mine = label_set_digest(contract, inventory, fragment_rows)
        if self._body is None and len(self.lines):
            raise ContractError(
                f"{self.folder.url(CONTRACT)} is gone, so nobody knows what the {len(self.lines)}"
                " commits beside it mean. Restore it from a copy, or set"
                f" labels.{self.name}.version = {self.version + 1} to label anew."
            )
        if self._body is None:
            contract.put(self.folder, fragment_rows=fragment_rows, label_set=mine)
            del self._body
        self.require(contract, inventory, fragment_rows)
        return mine

    def require(self, contract: Contract, inventory: Inventory, fragment_rows: int) -> None:
        """Refuse a set that was begun under another contract, pool or cut. Raises ContractError."""
        body = self._body
        if body is None:
            raise ContractError(
                f"labels.{self.name}: nothing is labelled yet under {self.folder.uri}. Run `distill"
                " label`."
            )
        contract.require(Contract.from_body(body, self.folder), self.name, self.version)
        if body["fragment_rows"] != fragment_rows:
            raise ContractError(
                f"labels.{self.name}: stored with fragment_rows = {body['fragment_rows']}, now"
                f" {fragment_rows}. Set it back, or set labels.{self.name}.version ="
                f" {self.version + 1} to label anew."
            )
        if body["label_set"] != label_set_digest(contract, inventory, fragment_rows):
            raise ContractError(
                f"labels.{self.name}: stored for another inventory of pools.{inventory.pool}."
                f" Restore the inventory under the root, or set labels.{self.name}.version ="
                f" {self.version + 1} to label anew."
            )

    def require_width(self, in_features: int) -> None:
        """Refuse rows of another width than those that were labelled. Raises ContractError."""
        stored = self._contract.in_features
        if stored and stored != in_features:
            raise ContractError(
                f"labels.{self.name}: stored for rows of {stored} numbers, now they have"
                f" {in_features}. Restore the pool's first file, or set labels.{self.name}.version"
                f" = {self.version + 1} to label anew."
            )

    def require_one_origin(self) -> None:
        """Refuse labels made on more than one kind of device or libraries: deterministic =
        "strict". Raises ContractError."""
        made_on = self.lines.made_on
        if len(made_on) > 1:
            raise ContractError(
                f'labels.{self.name}: labelled on {made_on}, which deterministic = "strict"'
                " refuses. Label all of it on one kind of device with the same libraries (version"
                f" = {self.version + 1}), or leave `deterministic` out."
            )

    def refresh(self, inventory: Inventory | None = None, *, mending: bool = False) -> LabelSet:
        """Read the manifest, then the commits that it lacks; none are looked for where it covers
        the whole `inventory`.

        Raises ContractError for commits of another label set, StorageError for damaged ones unless
        `mending`.
        """
        self._mending, self._unreadable = mending, {}
        self._rolled, self._fresh = self._segments.read(), []
        self._shards = None if inventory is None else inventory.live
        self.__dict__.pop("lines", None)
        self._trusted = (
            inventory is not None and covered_rows(self.lines, inventory) == inventory.rows
        )
        return self if self._trusted else self._read_newer()

    def _read_newer(self) -> LabelSet:
        """Read the commits that the manifest lacks: one LIST."""
        self._trusted = False
        damaged: list[tuple[str, int, StorageError]] = []
        with ThreadPoolExecutor(_READ_THREADS) as threads:
            unrolled = newer_commits(self.folder.folder("commits"), Manifest(self._rolled))
            for fragment, generation, read in threads.map(self._tried_commit, unrolled):
                if isinstance(read, StorageError):
                    damaged.append((fragment, generation, read))
                    continue
                if self._body is not None and read.label_set != self._body["label_set"]:
                    raise ContractError(
                        f"{self.folder.url(read.key)} belongs to another label set. Move it away,"
                        " or use another root."
                    )
                self.add(read)
        self._pass_over(damaged)
        return self

    def _pass_over(self, damaged: list[tuple[str, int, StorageError]]) -> None:
        """Damaged commits: those that were mended count no more; others are an error, unless they
        are about to be mended."""
        for fragment, generation, error in damaged:
            line = self.lines.find(fragment)
            if line is None or line.generation < generation:
                if not self._mending:
                    raise StorageError(
                        f"{error} Without a copy: `distill label --mend` labels its fragment anew."
                    )
                self._unreadable[parsed_code(fragment)] = (generation, None)

    def add(self, commit: Commit) -> None:
        """Take a commit that was just made."""
        self._fresh.append(commit.line)
        self.__dict__.pop("lines", None)

    @property
    def unrolled(self) -> tuple[int, float]:
        """Commits that no segment has, and since when (monotonic seconds)."""
        return len(self._fresh), self._rolled_at

    def write_manifest(self) -> None:
        """Roll the commits up that no segment has yet; another driver's segment is never
        overwritten."""
        for start in range(0, len(self._fresh), SEGMENT_ENTRIES):
            part = entries_table(self._fresh[start : start + SEGMENT_ENTRIES])
            self._segments.append(part)
            self._rolled = join_entries([self._rolled, part])
        self._fresh, self._rolled_at = [], time.monotonic()

    def tidy_manifest(self) -> None:
        """Write the manifest in few segments where it lies in many, or where one is damaged."""
        if self._segments.are_many(len(self._rolled)):
            self._segments.replace(Manifest(self._rolled))

    def lost(self) -> list[ManifestEntry]:
        """Committed fragments whose data or rejects are gone or of another size: one LIST held
        against the lines."""
        lost = self._lost()
        if lost and self._trusted:  # a mend may be committed that was not rolled up
            lost = self._read_newer()._lost()
        return lost

    def _lost(self) -> list[ManifestEntry]:
        lines = self.lines
        whole = found_attempts(self.folder.folder("data"), lines, lines.column("bytes"))
        rejected = lines.column("rejected") > 0
        if rejected.any():
            whole &= ~rejected | found_attempts(self.folder.folder("rejects"), lines)
        return [lines[int(place)] for place in np.flatnonzero(~whole)]

    def left(
        self, inventory: Inventory, fragment_rows: int, lost: Iterable[ManifestEntry] = ()
    ) -> PendingFragments:
        """Fragments without a readable commit, and lost ones."""
        again: dict[int, Replaced] = {
            fragment_code(line.shard, line.number): (line.generation, line.sha256) for line in lost
        }
        return find_pending(self.lines, inventory, fragment_rows, self._unreadable | again)

    def damaged(self) -> Iterator[tuple[ManifestEntry, bool]]:
        """Every committed fragment, read whole, and whether anything of it is damaged."""
        lines = iter(self.lines)
        with ThreadPoolExecutor(_READ_THREADS) as threads:
            while part := list(itertools.islice(lines, _CHECKED_AT_ONCE)):
                yield from zip(part, threads.map(self._is_damaged, part), strict=True)

    def _is_damaged(self, line: ManifestEntry) -> bool:
        return integrity_problem(self.folder, self._contract, line) is not None

    def other_attempts(self) -> Iterator[tuple[str, int]]:
        """Key and size of data and rejects which attempts wrote that lost, or that were mended;
        none of a fragment that is to be mended."""
        mended = {line.fragment for line in self.lost()}
        for kind in ("data", "rejects"):
            for entry in other_attempts(self.folder.folder(kind), self.lines):
                if entry.key.partition("/")[0] not in mended:
                    yield f"{kind}/{entry.key}", entry.size_bytes

    def superseded_segments(self) -> Iterator[tuple[str, int]]:
        """Key and size of manifest segments that others stand for."""
        return ((f"manifest/{key}", size) for key, size in self._segments.superseded())

    @property
    def damaged_segments(self) -> list[str]:
        """URLs of manifest segments that could not be read."""
        return self._segments.damaged

    def misplaced(self, inventory: Inventory, fragment_rows: int) -> Iterator[ManifestEntry]:
        """Committed fragments of other rows than the inventory lists."""
        return find_misplaced(self.lines, inventory, fragment_rows)

    def read(self, line: ManifestEntry) -> pa.Table:
        """One fragment's label columns. Raises StorageError."""
        return read_labels(self.folder, line.data, line.xxh3, self._contract)

    @cached_property
    def _contract(self) -> Contract:
        contract = self.read_contract()
        if contract is None:
            raise ContractError(
                f"{self.folder.url('contract.json')} is gone, so nobody knows what the data beside"
                " it mean. Restore it."
            )
        return contract

    def require_complete(self, inventory: Inventory) -> None:
        """Refuse a set that does not cover each row of each of the pool's shards exactly once.
        Raises ContractError."""
        have = covered_rows(self.lines, inventory)
        if have < 0:
            raise ContractError(
                f"labels.{self.name}: commits under {self.folder.uri} are of other rows than"
                f" pools.{inventory.pool} lists. Restore the inventory, or set"
                f" labels.{self.name}.version = {self.version + 1} to label anew."
            )
        if have != inventory.rows:
            raise ContractError(
                f"labels.{self.name}: {have:,} of {inventory.rows:,} rows of pools.{inventory.pool}"
                f" are labelled under {self.folder.uri}. Run `distill label` again; it labels only"
                " what is missing."
            )

    @cached_property
    def _body(self) -> dict[str, Any] | None:
        content = self.folder.read_or_none(CONTRACT)
        return unseal(content, self.folder.url(CONTRACT)) if content is not None else None

    def _tried_commit(self, where: tuple[str, int]) -> tuple[str, int, Commit | StorageError]:
        try:
            return (*where, self.read_commit(*where))
        except StorageError as error:
            return (*where, error)

    def read_commit(self, fragment: str, generation: int = 0) -> Commit:
        """One commit. Raises StorageError where it is gone or damaged."""
        key = commit_key(fragment, generation)
        content = self.folder.read_or_none(key)
        if content is None:
            raise StorageError(
                f"{self.folder.url(key)} was listed and is gone. Nobody but gc may delete; restore"
                " it from a copy."
            )
        return Commit.from_bytes(content, self.folder.url(key))
