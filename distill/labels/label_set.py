"""One label set: what one labeler wrote over one pool under one contract.

    labels/<name>/v<N>/<pool>/contract.json  data/  rejects/  commits/  manifest/<n>.arrow

(DESIGN §3 draws `labels/<name>/v<N>/`; a labeler over two pools writes two label sets, so the pool is one folder more.)

Readers know commits and manifests, never a listing of data. The manifest rolls commits up in immutable numbered segments, so that
a reader of a large set makes a handful of requests. State is O(fragments).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import groupby
from typing import Any

import pyarrow as pa

from distill.errors import ContractError, StorageError
from distill.labels.commit import Claim, Commit, Line, commit_key, read_labels
from distill.labels.contract import Contract
from distill.pool import Fragment, Inventory
from distill.schema import MANIFEST, bytes_table, digest, table_bytes, unseal
from distill.storage import Storage

log = logging.getLogger(__name__)

_READ_THREADS = 32
SEGMENT_COMMITS = 1_000
"""A manifest segment is written at the latest after so many commits, and has no more: it must be small enough for a conditional put."""


def label_set_folder(root: Storage, name: str, version: int, pool: str) -> Storage:
    """Where a label set lies."""
    return root.folder("labels", name, f"v{version}", pool)


class LabelSet:
    """Commits of one label set, the highest generation of each fragment."""

    def __init__(self, folder: Storage, name: str, version: int) -> None:
        self.folder = folder
        self.name = name
        self.version = version
        self._lines: dict[str, Line] = {}
        self._in_manifest: set[tuple[str, int]] = set()
        self._fresh = 0
        self._rolled_at = time.monotonic()

    @cached_property
    def lines(self) -> Sequence[Line]:
        """Committed fragments in (shard, row) order."""
        return sorted(self._lines.values(), key=lambda line: (line.shard, line.start))

    def lines_of(self, shard: int) -> Sequence[Line]:
        """The committed fragments of one shard, in row order."""
        return self._by_shard.get(shard, ())

    @cached_property
    def _by_shard(self) -> dict[int, list[Line]]:
        return {shard: list(lines) for shard, lines in groupby(self.lines, key=lambda line: line.shard)}

    @cached_property
    def label_hash(self) -> str:
        """Digest of the decoded columns in (shard, row) order.

        A student pins it, and not the manifest's own digest: a mended fragment has the same columns, so it retrains nobody.
        """
        return digest([[line.shard, line.start, line.rows, line.columns_sha256] for line in self.lines])

    def line(self, fragment: str) -> Line | None:
        """The commit of one fragment, if there is one."""
        return self._lines.get(fragment)

    def read_contract(self) -> Contract | None:
        """The stored contract; None before the set was begun."""
        body = self._read_body()
        return Contract.from_body(body, self.folder) if body else None

    def begin(self, contract: Contract, inventory: Inventory, fragment_rows: int) -> str:
        """Store the contract, or refuse another one. Returns the label-set digest. Raises ContractError."""
        mine = label_set_digest(contract, inventory, fragment_rows)
        if self._lines and self._read_body() is None:
            raise ContractError(
                f"{self.folder.url('contract.json')} is gone, so nobody knows what the {len(self._lines)} commits beside it mean. "
                f"Restore it from a copy, or set labels.{self.name}.version = {self.version + 1} to label anew."
            )
        if contract.put(self.folder, fragment_rows=fragment_rows, label_set=mine):
            return mine
        self.require(contract, inventory, fragment_rows)
        return mine

    def require(self, contract: Contract, inventory: Inventory, fragment_rows: int) -> None:
        """Refuse a set that was begun under another contract, pool or cut. Raises ContractError."""
        body = self._read_body()
        if body is None:
            raise ContractError(
                f"labels.{self.name}: nothing is labelled yet under {self.folder.uri}. Run `distill label`."
            )
        contract.require(Contract.from_body(body, self.folder), self.name, self.version)
        if body["fragment_rows"] != fragment_rows:
            raise ContractError(
                f"labels.{self.name}: stored with fragment_rows = {body['fragment_rows']}, now {fragment_rows}. "
                f"Set it back, or set labels.{self.name}.version = {self.version + 1} to label anew."
            )
        if body["label_set"] != label_set_digest(contract, inventory, fragment_rows):
            raise ContractError(
                f"labels.{self.name}: stored for another inventory of pools.{inventory.pool}. "
                f"Restore the inventory under the root, or set labels.{self.name}.version = {self.version + 1} to label anew."
            )

    def refresh(self) -> LabelSet:
        """Read manifest segments, then the commits that none of them has. Raises ContractError for commits of another label set."""
        body = self._read_body()
        for entry in self.folder.folder("manifest").list_objects():
            for line in self._read_segment(f"manifest/{entry.key}"):
                self._take(line)
                self._in_manifest.add((line.fragment, line.generation))
        listed = [_parsed(entry.key) for entry in self.folder.folder("commits").list_objects()]
        missing = [each for each in listed if each not in self._in_manifest]
        with ThreadPoolExecutor(_READ_THREADS) as threads:
            for commit in threads.map(self._read_commit, missing):
                if body is not None and commit.label_set != body["label_set"]:
                    raise ContractError(
                        f"{self.folder.url(commit.key)} belongs to another label set. Move it away, or use another root."
                    )
                self.add(commit)
        return self

    def _read_segment(self, key: str) -> list[Line]:
        """A manifest segment; a damaged one is as good as none, since the commits say the same."""
        try:
            rows = bytes_table(self.folder.read(key), MANIFEST, self.folder.url(key)).to_pylist()
        except StorageError as error:
            log.warning("%s The commits are read instead; delete the segment, and it is written anew.", error)
            return []
        return [Line(**row) for row in rows]

    def add(self, commit: Commit) -> None:
        """Take a commit that was just made."""
        self._take(commit.line)
        self._fresh += 1

    @property
    def unrolled(self) -> tuple[int, float]:
        """Commits that no segment has, and since when (monotonic seconds)."""
        return self._fresh, self._rolled_at

    def write_manifest(self) -> None:
        """Roll the commits up that no segment has yet; another driver's segment is never overwritten."""
        fresh = [line for line in self.lines if (line.fragment, line.generation) not in self._in_manifest]
        for start in range(0, len(fresh), SEGMENT_COMMITS):
            self._write_segment(fresh[start : start + SEGMENT_COMMITS])
        if fresh:
            self._fresh, self._rolled_at = 0, time.monotonic()

    def lost(self) -> list[Line]:
        """Committed fragments of which an object is gone, or the data has another size: one LIST each held against the lines."""
        data = {f"data/{entry.key}": entry.size_bytes for entry in self.folder.folder("data").list_objects()}
        rejects = {f"rejects/{entry.key}" for entry in self.folder.folder("rejects").list_objects()}
        commits = {f"commits/{entry.key}" for entry in self.folder.folder("commits").list_objects()}

        def is_whole(line: Line) -> bool:
            committed = commit_key(line.fragment, line.generation) in commits
            return committed and data.get(line.data) == line.bytes and (line.rejects is None or line.rejects in rejects)

        return [line for line in self.lines if not is_whole(line)]

    def claims(self, fragments: Iterable[Fragment], lost: Sequence[Line]) -> list[Claim]:
        """What is left to label: fragments without a commit, and lost ones in their next generation."""
        gone = {line.fragment: line for line in lost}
        wanted = []
        for fragment in fragments:
            where = (fragment.id, fragment.shard.number, fragment.shard.id, fragment.start, fragment.rows)
            if fragment.id in gone:
                line = gone[fragment.id]
                wanted.append(Claim(*where, generation=line.generation + 1, replaces=line.sha256))
            elif fragment.id not in self._lines:
                wanted.append(Claim(*where))
        return wanted

    def read(self, line: Line) -> pa.Table:
        """One fragment's label columns. Raises StorageError."""
        return read_labels(self.folder, line.data, line.xxh3, self._contract)

    @cached_property
    def _contract(self) -> Contract:
        contract = self.read_contract()
        if contract is None:
            raise ContractError(
                f"{self.folder.url('contract.json')} is gone, so nobody knows what the data beside it mean. Restore it."
            )
        return contract

    def require_complete(self, inventory: Inventory) -> None:
        """Refuse a set that does not cover each row of each of the pool's shards exactly once. Raises ContractError."""
        have = 0
        for shard in inventory.shards:
            stop = 0
            for line in self.lines_of(shard.number):
                if line.start < stop or line.start + line.rows > shard.rows or line.shard_id != shard.id:
                    raise ContractError(
                        f"labels.{self.name}: fragment {line.fragment} under {self.folder.uri} is of other rows than pools.{inventory.pool} "
                        f"lists. Restore the inventory, or set labels.{self.name}.version = {self.version + 1} to label anew."
                    )
                stop, have = line.start + line.rows, have + line.rows
        if have != inventory.rows:
            raise ContractError(
                f"labels.{self.name}: {have:,} of {inventory.rows:,} rows of pools.{inventory.pool} are labelled "
                f"under {self.folder.uri}. Run `distill label` again; it labels only what is missing."
            )

    def _write_segment(self, lines: Sequence[Line]) -> None:
        content = table_bytes(pa.Table.from_pylist([vars(line) for line in lines], MANIFEST))
        number = len(self.folder.folder("manifest").list_objects())
        while not self.folder.put_if_absent(f"manifest/{number:06d}.arrow", content):
            number += 1
        self._in_manifest |= {(line.fragment, line.generation) for line in lines}

    def _read_body(self) -> dict[str, Any] | None:
        content = self.folder.read_or_none("contract.json")
        return unseal(content, self.folder.url("contract.json")) if content is not None else None

    def _take(self, line: Line) -> None:
        known = self._lines.get(line.fragment)
        if known is None or line.generation >= known.generation:
            self._lines[line.fragment] = line
            for derived in ("lines", "label_hash", "_by_shard"):
                self.__dict__.pop(derived, None)

    def _read_commit(self, where: tuple[str, int]) -> Commit:
        key = commit_key(*where)
        content = self.folder.read_or_none(key)
        if content is None:
            raise StorageError(
                f"{self.folder.url(key)} was listed and is gone. Nobody but gc may delete; restore it from a copy."
            )
        return Commit.from_bytes(content, self.folder.url(key))


def _parsed(key: str) -> tuple[str, int]:
    fragment, generation, _ = key.rsplit(".", 2)
    return fragment, int(generation)


def label_set_digest(contract: Contract, inventory: Inventory, fragment_rows: int) -> str:
    """Identity of a label set: contract, inventory and fragment_rows, and nothing else."""
    return digest([contract.digest, inventory.digest, fragment_rows])
