"""Labels that a killed run wrote and did not commit: committed by the next one in place of being
computed, and paid for, again.

An attempt writes its rejects, then its data, then the commit. Where a process dies before the last,
a whole data object lies there that no reader sees. Its metadata has all that the commit would have
said (`AttemptNote`), so it is committed as its own process would have done: by conditional put, the
first wins. If that process still lives after all, both name the same attempt, and either may win.

Nothing is taken on trust: the file is read whole, under the label set's contract, and its columns
must have the digest that its note says. Data of another label set, of other rows, of an earlier
version of the shard or of another generation is left alone, and so is what has no note, as all of
before they were written.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from distill.core.errors import StorageError
from distill.labels.columns import label_validity
from distill.labels.columns_digest import columns_digest
from distill.labels.commit import (
    AttemptNote,
    Commit,
    Provenance,
    WriteIntent,
    commit_attempt,
    read_rejects,
)
from distill.labels.contract import Contract
from distill.labels.files import read_data, read_note
from distill.labels.manifest import data_key, rejects_key
from distill.storage.base import ObjectMissingError, Storage


def commit_written(
    folder: Storage,
    intent: WriteIntent,
    contract: Contract,
    provenance: Provenance,
    *,
    same_origin: bool,
) -> Commit | None:
    """Commit what an earlier attempt wrote of a fragment, if it is whole: one LIST and one GET.

    With `same_origin` only what was made on the same device and libraries. Returns the commit that
    won; None where nothing fits. Raises StorageError where the store fails."""
    for attempt in _attempts(folder, intent, contract):
        key = data_key(intent.fragment, attempt, contract.format)
        content = folder.read_or_none(key)
        if content is None:  # gc's, or another driver's mend
            continue
        try:
            labels = read_data(content, contract, folder.url(key))
            note = _note(content, contract, folder.url(key))
            if note is None or note.intent != intent:
                continue
            if note.provenance.label_set != provenance.label_set:
                continue
            if same_origin and note.provenance.made_on != provenance.made_on:
                continue
            if not _is_whole(folder, attempt, note, labels, contract):
                continue
        except StorageError:  # damaged, so it is as if it were not there
            continue
        return commit_attempt(
            folder, attempt, note, content=content, labels=labels, contract=contract
        )
    return None


def _attempts(folder: Storage, intent: WriteIntent, contract: Contract) -> Iterator[str]:
    """The attempts at a fragment of which data lies there."""
    ending = f".{contract.format}"
    for listed in folder.folder("data", intent.fragment).list_objects():
        if listed.key.endswith(ending):
            yield listed.key.removesuffix(ending)


def _note(content: bytes, contract: Contract, where: str) -> AttemptNote | None:
    sealed = read_note(content, contract)
    return None if sealed is None else AttemptNote.from_bytes(sealed, where)


def _is_whole(
    folder: Storage, attempt: str, note: AttemptNote, labels: pa.Table, contract: Contract
) -> bool:
    """Whether labels and rejects are those of the note."""
    if len(labels) != note.intent.rows:
        return False
    if columns_digest(labels, contract) != note.columns_sha256:
        return False
    validity = label_validity(labels, contract)
    labelled = np.count_nonzero(validity)
    if len(labels) - labelled != note.rejected:
        return False
    if not note.rejected:
        return True
    try:
        rejects = read_rejects(folder, rejects_key(note.intent.fragment, attempt))
    except ObjectMissingError:
        return False
    return len(rejects) == note.rejected
