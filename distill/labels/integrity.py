"""Whether one committed fragment is whole: its commit, its data and its rejects, read and held
against each other."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.schema import columns_sha256
from distill.labels.commit import Commit, read_rejects
from distill.labels.contract import Contract
from distill.labels.encoding import label_validity
from distill.labels.files import read_data
from distill.labels.manifest import ManifestEntry, commit_key
from distill.storage.base import ObjectMissingError, Storage


def integrity_problem(folder: Storage, contract: Contract, entry: ManifestEntry) -> str | None:
    """What is wrong with a committed fragment of the label set in `folder`; None where it is whole."""
    key = commit_key(entry.fragment, entry.generation)
    try:
        commit = Commit.from_bytes(folder.read(key), folder.url(key))
        content = folder.read(entry.data)
        rejects = len(read_rejects(folder, entry.rejects)) if entry.rejects else 0
        if commit.entry != entry:
            return f"{folder.url(key)} and the manifest do not say the same."
        if hashlib.sha256(content).hexdigest() != entry.sha256:
            return f"{folder.url(entry.data)} is damaged."
        return _misfit(
            read_data(content, contract, folder.url(entry.data)),
            contract,
            entry,
            rejects,
            folder.url(entry.data),
        )
    except ObjectMissingError as error:
        return f"{error.url} is gone."
    except StorageError as error:
        return str(error)


def _misfit(
    table: pa.Table, contract: Contract, entry: ManifestEntry, rejects: int, where: str
) -> str | None:
    """Where whole bytes still are not what the contract and the commit say."""
    if len(table) != entry.rows:
        return f"{where} has {len(table)} rows, where {entry.rows} were committed."
    said = (columns_sha256(table), int((~label_validity(table, contract)).sum()), rejects)
    if said != (entry.columns_sha256, entry.rejected, entry.rejected):
        return f"{where}: its labels and rejects are not those that were committed."
    return None
