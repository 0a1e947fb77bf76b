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


def integrity_problem(folder: Storage, contract: Contract, line: ManifestEntry) -> str | None:
    """What is wrong with a committed fragment of the label set in `folder`; None where it is whole."""
    key = commit_key(line.fragment, line.generation)
    try:
        commit = Commit.from_bytes(folder.read(key), folder.url(key))
        content = folder.read(line.data)
        rejects = len(read_rejects(folder, line.rejects)) if line.rejects else 0
        if commit.line != line:
            return f"{folder.url(key)} and the manifest do not say the same."
        if hashlib.sha256(content).hexdigest() != line.sha256:
            return f"{folder.url(line.data)} is damaged."
        return _misfit(
            read_data(content, contract, folder.url(line.data)),
            contract,
            line,
            rejects,
            folder.url(line.data),
        )
    except ObjectMissingError as error:
        return f"{error.url} is gone."
    except StorageError as error:
        return str(error)


def _misfit(
    table: pa.Table, contract: Contract, line: ManifestEntry, rejects: int, where: str
) -> str | None:
    """Where whole bytes still are not what the contract and the commit say."""
    if len(table) != line.rows:
        return f"{where} has {len(table)} rows, where {line.rows} were committed."
    said = (columns_sha256(table), int((~label_validity(table, contract)).sum()), rejects)
    if said != (line.columns_sha256, line.rejected, line.rejected):
        return f"{where}: its labels and rejects are not those that were committed."
    return None
