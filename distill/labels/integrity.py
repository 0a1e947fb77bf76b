"""Whether one committed fragment is whole: its commit, its data and its rejects, read and compared
with each other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from distill.core.errors import StorageError
from distill.labels.columns import label_validity
from distill.labels.columns_digest import columns_digest
from distill.labels.commit import Commit, read_rejects
from distill.labels.contract import Contract
from distill.labels.files import read_data
from distill.labels.manifest import ManifestEntry, commit_key
from distill.storage.base import HasSha256, ObjectMissingError, Storage


def integrity_problem(folder: Storage, contract: Contract, entry: ManifestEntry) -> str | None:
    """Find what is wrong with a committed fragment of a label set; None where it is whole."""
    try:
        return _problem(folder, contract, entry)
    except ObjectMissingError as error:
        return f"{error.url} is gone."
    except StorageError as error:
        return str(error)


def _problem(folder: Storage, contract: Contract, entry: ManifestEntry) -> str | None:
    key = commit_key(entry.fragment, entry.generation)
    data = entry.data
    where = folder.url(data)
    commit_url = folder.url(key)
    commit = Commit.from_bytes(folder.read(key), commit_url)
    is_committed = HasSha256(entry.sha256)
    content = folder.read(data, is_committed)
    rejects = 0
    if entry.rejects:
        rejected = read_rejects(folder, entry.rejects)
        rejects = len(rejected)
    if commit.entry != entry:
        return f"{commit_url} and the manifest do not say the same."
    # Readers check the fast digest alone, which somebody who means harm could meet.
    if not is_committed(content):
        return f"{where} is damaged."
    table = read_data(content, contract, where)
    if len(table) != entry.rows:
        return f"{where} has {len(table)} rows, where {entry.rows} were committed."
    if rejects != entry.rejected or not _as_committed(table, contract, entry):
        return f"{where}: its labels and rejects are not those that were committed."
    return None


def _as_committed(table: pa.Table, contract: Contract, entry: ManifestEntry) -> bool:
    is_labelled = label_validity(table, contract)
    labelled = np.count_nonzero(is_labelled)
    rows = len(table)
    rejected = rows - labelled
    if rejected != entry.rejected:
        return False
    return columns_digest(table, contract) == entry.columns_sha256
