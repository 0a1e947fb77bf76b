"""One fragment's labels come to exist: data under a key of the attempt's own, then one small object
by conditional put.

    data/<fragment>/<attempt>.arrow (or .parquet)
    rejects/<fragment>/<attempt>.arrow
    commits/<fragment>.<generation>.json

The first commit of a generation wins; a loser's data is garbage that no reader sees, a zombie's
write included. The highest generation is the one that counts.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash

from distill.core.errors import StorageError
from distill.core.failpoints import reach
from distill.core.schema import (
    MANIFEST,
    REJECTS,
    bytes_table,
    seal,
    table_bytes,
    unseal,
)
from distill.labels.columns import label_schema
from distill.labels.columns_digest import columns_digest
from distill.labels.contract import Contract
from distill.labels.encoding import best_class
from distill.labels.encryption import is_encrypted, read_encrypted
from distill.labels.files import data_bytes, parquet_bytes, read_data
from distill.labels.manifest import ManifestEntry, commit_key, data_key, rejects_key
from distill.pools.fragments import fragment_id
from distill.storage.base import Storage

# Sets of more classes have commits without a histogram: it would be most of the object.
_HISTOGRAM_CLASSES = 4_096
# The built-in: in `Commit`, `bytes` is a field.
Content = bytes


@dataclass(frozen=True, kw_only=True)
class Commit(ManifestEntry):
    """What makes one fragment's labels exist: its entry, and what readers of labels do not need."""

    label_set: str  # label-set digest
    # rows by number of the class with the largest logit; empty for values and many classes
    histogram: dict[str, int]
    device: str
    versions: dict[str, str] = field(default_factory=dict)
    # mending never overwrites: a commit of the next generation stands beside what it replaces
    replaces: str | None = None  # sha256 of the data of an earlier generation
    # commits from before it was written down have none
    work: dict[str, float] = field(default_factory=dict)  # what it took, by `distill.core.work`

    @property
    def entry(self) -> ManifestEntry:
        """What the manifest says of it."""
        return ManifestEntry(**{name: getattr(self, name) for name in MANIFEST.names})

    @property
    def key(self) -> str:
        """Key of the commit itself."""
        return commit_key(self.fragment, self.generation)

    def to_bytes(self) -> Content:
        """Seal it into one object."""
        return seal(asdict(self))

    @classmethod
    def from_bytes(cls, content: Content, where: str) -> Commit:
        """Read a sealed commit. Raises StorageError where the object is damaged."""
        body = unseal(content, where)
        try:
            return cls(**body)
        except TypeError as error:
            raise StorageError(f"{where} is no commit: {error}. Restore it from a copy.") from None


@dataclass(frozen=True)
class WriteIntent:
    """A fragment that one attempt is about to label."""

    shard: int
    number: int
    shard_id: str
    start: int
    rows: int
    generation: int = 0
    replaces: str | None = None

    @property
    def fragment(self) -> str:
        """The fragment's id."""
        return fragment_id(self.shard, self.number)

    @property
    def key(self) -> str:
        """Key of the commit that it will have."""
        return commit_key(self.fragment, self.generation)


@dataclass(frozen=True)
class Provenance:
    """Under what the labels are written: recorded in each commit."""

    label_set: str
    device: str
    versions: dict[str, str]

    @property
    def made_on(self) -> str:
        """Device and library versions in one word."""
        versions = [f"{library}={version}" for library, version in sorted(self.versions.items())]
        return " ".join([self.device, *versions])


@dataclass(frozen=True)
class AttemptNote:
    """What a commit needs beside the data file, kept in its metadata: so a killed run's data can be
    committed by the next one (`distill.labels.written`). It names no attempt, since the same labels
    made on the same device are the same bytes."""

    intent: WriteIntent  # where rows are written ahead of the others: of these alone
    provenance: Provenance
    rejected: int
    columns_sha256: str

    def to_bytes(self) -> Content:
        """Seal it."""
        return seal(asdict(self))

    @classmethod
    def from_bytes(cls, content: Content, where: str) -> AttemptNote:
        """Read a sealed note. Raises StorageError where it is damaged."""
        body = unseal(content, where)
        try:
            intent_fields = body.pop("intent")
            intent = WriteIntent(**intent_fields)
            provenance_fields = body.pop("provenance")
            provenance = Provenance(**provenance_fields)
            return cls(intent, provenance, **body)
        except (KeyError, TypeError) as error:
            raise StorageError(f"{where} has another note than distill writes: {error}.") from None


def empty_file_bytes(contract: Contract, like: Commit) -> int:
    """Return the bytes of a data file without a row, but for its keys: what each has beside its
    rows, made on the device and libraries of one that is there."""
    digits = "0" * 64
    intent = WriteIntent(0, 0, digits[:32], 0, 0)
    note = AttemptNote(intent, Provenance(digits, like.device, like.versions), 0, digits)
    schema = label_schema(contract)
    empty = schema.empty_table()
    return len(data_bytes(empty, contract, note.to_bytes()))


@dataclass(frozen=True)
class Attempt:
    """What is written of a fragment, or of some of its rows, and not committed."""

    id: str  # 32 hex digits
    note: AttemptNote
    content: Content  # of the data file


def commit_fragment(
    folder: Storage,
    write: Callable[[], Attempt],
    labels: pa.Table,
    contract: Contract,
    *,
    work: Callable[[], dict[str, float]] = dict,
) -> Commit:
    """Let the labels of one fragment be written, and commit them. Returns the commit that won,
    which may be another attempt's.

    `work` is asked what it took when the data is written. Raises StorageError."""
    reach("label.before_data")
    attempt = write()
    reach("label.after_data")
    spent = work()
    return commit_attempt(folder, attempt, labels, contract, work=spent)


def write_attempt(
    folder: Storage,
    intent: WriteIntent,
    labels: pa.Table,
    *,
    rejects: list[dict[str, Any]],
    contract: Contract,
    provenance: Provenance,
) -> Attempt:
    """Write rejects and data of some rows, which no reader sees.

    `labels` has `intent.rows` rows under `label_schema(contract)`. Raises StorageError."""
    # A key of its own, so that an attempt which was given up and still runs overwrites nothing.
    attempt = uuid.uuid4().hex
    note = AttemptNote(intent, provenance, len(rejects), columns_digest(labels, contract))
    content = data_bytes(labels, contract, note.to_bytes())
    if contract.encrypted and not is_encrypted(content):
        raise StorageError(
            f"{folder.uri}: labels that are to be encrypted are plain. This is a mistake of"
            " distill's own; please report it."
        )
    # Before the data, so that whoever finds data without a commit finds its rejects too.
    if rejects:
        table = pa.Table.from_pylist(rejects, REJECTS)
        folder.put(rejects_key(intent.fragment, attempt), _rejects_bytes(table, contract))
    # Before the commit, which never names what is not there.
    folder.put(data_key(intent.fragment, attempt, contract.format), content)
    return Attempt(attempt, note, content)


def commit_attempt(
    folder: Storage,
    attempt: Attempt,
    labels: pa.Table,
    contract: Contract,
    *,
    work: dict[str, float] | None = None,
) -> Commit:
    """Commit what an attempt has written of a fragment: these `labels`. `work` is what it took,
    where the process that labelled still knows. Returns the commit that won, which may be another
    attempt's. Raises StorageError."""
    note = attempt.note
    content = attempt.content
    commit = Commit(
        **asdict(note.intent),
        **asdict(note.provenance),
        attempt=attempt.id,
        made_on=note.provenance.made_on,
        format=contract.format,
        rejected=note.rejected,
        bytes=len(content),
        # for `verify`; readers check xxh3 (`read_labels`)
        sha256=hashlib.sha256(content).hexdigest(),
        xxh3=xxhash.xxh3_128_hexdigest(content),
        columns_sha256=note.columns_sha256,
        histogram=_histogram(labels, contract),
        work=work or {},
    )
    won = folder.put_if_absent(commit.key, commit.to_bytes())
    reach("label.after_commit")
    if won:
        return commit
    # not an error: of two attempts at the same rows one is enough, and it may even be this
    # attempt's own put, tried again when the line broke
    key = commit.key
    winner = folder.read(key)
    return Commit.from_bytes(winner, folder.url(key))


def read_commit(folder: Storage, fragment: str, generation: int = 0) -> Commit:
    """Read one listed commit. Raises StorageError where it is gone or damaged."""
    key = commit_key(fragment, generation)
    content = folder.read_or_none(key)
    if content is None:
        raise StorageError(
            f"{folder.url(key)} was listed and is gone. Nobody but gc may delete; restore it from a"
            " copy."
        )
    where = folder.url(key)
    return Commit.from_bytes(content, where)


def read_labels(folder: Storage, data: str, xxh3: str, contract: Contract) -> pa.Table:
    """Read the label columns of one data object. Raises StorageError where it is gone or its bytes
    are not those that were committed."""
    where = folder.url(data)

    # At each read of each epoch: xxh3 takes 34 GB/s on one core, sha256 1.8.
    def is_committed(found: bytes) -> bool:
        return xxhash.xxh3_128_hexdigest(found) == xxh3

    content = folder.read_or_none(data, is_committed)
    if content is None:
        raise StorageError(
            f"{where} was committed and is gone. Run `distill label` again: only its fragment is"
            " labelled anew."
        )
    if not is_committed(content):
        raise StorageError(
            f"{where} is damaged: its bytes are not those that were committed."
            " `distill label --mend` labels its fragment anew."
        )
    return read_data(content, contract, where)


def read_rejects(folder: Storage, key: str) -> pa.Table:
    """Read shard, row, reason and message of each rejected row. Raises StorageError, and JobError
    where they are encrypted and their key is missing."""
    content = folder.read(key)
    if is_encrypted(content):
        return read_encrypted(content, folder.url(key)).cast(REJECTS)
    where = folder.url(key)
    return bytes_table(content, REJECTS, where)


def _rejects_bytes(rejects: pa.Table, contract: Contract) -> bytes:
    # reasons may quote rows
    if contract.encrypted:
        return parquet_bytes(rejects, contract.key)
    return table_bytes(rejects)


def _histogram(labels: pa.Table, contract: Contract) -> dict[str, int]:
    if contract.kind != "logits" or not contract.exclusive:
        return {}
    if contract.width > _HISTOGRAM_CLASSES:
        return {}
    # commits are plain, and a fragment may be one row, or all of one class
    if contract.encrypted:
        return {}
    best = best_class(labels, contract)
    has_label = best >= 0
    labelled = best[has_label]
    counts = np.bincount(labelled, minlength=contract.width)
    return {str(number): int(rows) for number, rows in enumerate(counts) if rows}
