"""What a killed run wrote of a fragment and did not commit, found by the next one, which labels, and
pays for, only the rest.

An attempt writes its rejects, then its data, then the commit. Where a process dies before the last,
a whole data object lies there that no reader sees. Its metadata has all that the commit would have
said (`AttemptNote`), so it is committed as its own process would have done: by conditional put, the
first wins. If that process still lives after all, both name the same attempt, and either may win.

Where rows are dear, some are written ahead of the others (`stages.label.fragment_rows`): an attempt
too, whose note names these rows alone, so it is not committed unless they are all of the fragment.
`gc` deletes it as any other when its fragment is committed.

Nothing is taken on trust: the file is read whole, under the label set's contract, and its columns
must have the digest that its note says. Data of another label set, of other rows, of an earlier
version of the shard or of another generation is left alone, and so is what has no note, as all of
before they were written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.schema import REJECTS
from distill.labels.columns import label_validity
from distill.labels.columns_digest import columns_digest
from distill.labels.commit import (
    Attempt,
    AttemptNote,
    Commit,
    WriteIntent,
    commit_attempt,
    read_rejects,
)
from distill.labels.contract import Contract
from distill.labels.files import read_data, read_note
from distill.labels.manifest import data_key, rejects_key
from distill.pools.formats.base import Rejected
from distill.storage.base import Storage

_READ_THREADS = 8


@dataclass(frozen=True)
class WrittenRows:
    """Rows of a fragment that an attempt wrote: all of them, or some ahead of the others."""

    attempt: Attempt
    labels: pa.Table
    rejects: pa.Table

    @property
    def rows(self) -> range:
        """Their numbers in the shard."""
        intent = self.attempt.note.intent
        return range(intent.start, intent.start + intent.rows)

    @property
    def made_on(self) -> str:
        """Device and library versions."""
        return self.attempt.note.provenance.made_on


def find_written(
    folder: Storage,
    intent: WriteIntent,
    contract: Contract,
    label_set: str,
    *,
    made_on: str | None = None,
) -> list[WrittenRows]:
    """Find what earlier attempts at a fragment wrote, as far as it is sound and of this label set:
    one that wrote the whole fragment alone, else all that wrote some rows. `made_on` says the one
    device and libraries that labels may be made on. One LIST, and a GET an attempt, two of one with
    rejects. Raises StorageError where the store fails."""

    def read(attempt: str) -> WrittenRows | None:
        written = _read_attempt(folder, intent, attempt, contract)
        if written is None or written.attempt.note.provenance.label_set != label_set:
            return None
        return written if made_on in {None, written.made_on} else None

    found = []
    attempts = _attempts(folder, intent, contract)
    with ThreadPoolExecutor(_READ_THREADS) as threads:
        # some at a time: what is read behind a whole one is for nothing
        while part := list(islice(attempts, _READ_THREADS)):
            for written in filter(None, threads.map(read, part)):
                if written.attempt.note.intent == intent:
                    return [written]
                if _is_within(written.attempt.note.intent, intent):
                    found.append(written)
    return found


def commit_written(
    folder: Storage, intent: WriteIntent, contract: Contract, found: Sequence[WrittenRows]
) -> Commit | None:
    """Commit what one attempt wrote of the whole fragment. Returns the commit that won; None where
    there is no such attempt. Raises StorageError."""
    for written in found:
        if written.attempt.note.intent == intent:
            return commit_attempt(folder, written.attempt, written.labels, contract)
    return None


def first_rows(
    found: Sequence[WrittenRows], intent: WriteIntent, made_on: str
) -> tuple[list[pa.Table], Rejected]:
    """Put together the first rows of a fragment from what attempts wrote ahead; return them, and
    which of them have no label. A commit names one origin of all its rows, so they are of that."""
    tables: list[pa.Table] = []
    rejected: Rejected = {}
    row = intent.start
    for written in sorted(found, key=lambda each: each.rows.start):
        if row not in written.rows or written.made_on != made_on:
            continue
        tables.append(written.labels.slice(row - written.rows.start))
        for line in written.rejects.to_pylist():
            if line["row"] >= row:
                rejected[line["row"] - intent.start] = (line["reason"], line["message"])
        row = written.rows.stop
    return tables, rejected


def _attempts(folder: Storage, intent: WriteIntent, contract: Contract) -> Iterator[str]:
    """The attempts at a fragment of which data lies there, the largest first: the whole ones."""
    ending = f".{contract.format}"
    all_listed = folder.folder("data", intent.fragment).list_objects()
    for listed in sorted(all_listed, key=lambda each: -each.size_bytes):
        if listed.key.endswith(ending):
            yield listed.key.removesuffix(ending)


def _read_attempt(
    folder: Storage, intent: WriteIntent, attempt: str, contract: Contract
) -> WrittenRows | None:
    """What one attempt wrote, where it is sound."""
    key = data_key(intent.fragment, attempt, contract.format)
    content = folder.read_or_none(key)
    if content is None:  # gc's, or another driver's mend
        return None
    try:
        return _sound_rows(folder, attempt, content, contract, folder.url(key))
    except StorageError:  # damaged, so it is as if it were not there
        return None


def _sound_rows(
    folder: Storage, attempt: str, content: bytes, contract: Contract, where: str
) -> WrittenRows | None:
    """Rows and rejects, where they are those of the note. Raises StorageError for damage, and where
    rejects are gone."""
    labels = read_data(content, contract, where)
    sealed = read_note(content, contract)
    note = None if sealed is None else AttemptNote.from_bytes(sealed, where)
    if note is None or not _is_noted(labels, note, contract):
        return None
    rejects = REJECTS.empty_table()
    if note.rejected:
        rejects = read_rejects(folder, rejects_key(note.intent.fragment, attempt))
    if len(rejects) != note.rejected:
        return None
    return WrittenRows(Attempt(attempt, note, content), labels, rejects)


def _is_noted(labels: pa.Table, note: AttemptNote, contract: Contract) -> bool:
    """Whether labels are those of the note."""
    if len(labels) != note.intent.rows:
        return False
    if columns_digest(labels, contract) != note.columns_sha256:
        return False
    labelled = np.count_nonzero(label_validity(labels, contract))
    return bool(len(labels) - labelled == note.rejected)


def _is_within(part: WriteIntent, whole: WriteIntent) -> bool:
    """Whether rows are some of a fragment's, or all, to be written in the same generation."""
    stop = part.start + part.rows
    if not whole.start <= part.start < stop <= whole.start + whole.rows:
        return False
    return replace(part, start=whole.start, rows=whole.rows) == whole
