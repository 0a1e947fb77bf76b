"""What is stored of a selection: files of addresses, and a record a round that says which of them
count.

    selections/<name>/v1/rows/<round>-<part>-<content>.selection     (`pools.formats.selection`)
    selections/<name>/v1/rounds/<round>.json

The files of a round are written first, each under its content's own key by conditional put; the
record, put last where none is, makes the round exist. So a killed choice leaves files that nobody
reads, and is made again. No round ever changes, and a later one adds files: what was chosen keeps
its place in the selection, and so its labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.failpoints import reach
from distill.core.schema import seal, unseal
from distill.pools.formats.selection import ADDRESSES, BasePool, address_files, read_addresses
from distill.storage.base import Storage

ROWS = "rows"
_ROUNDS = "rounds"


@dataclass(frozen=True, kw_only=True)
class ChosenRound:
    """The record of one round."""

    number: int
    asked: str
    """Digest of what the job says of it: another one is another selection."""
    method: Mapping[str, Any]
    """`by`, as the job says it."""
    seed: int
    rows: int
    files: tuple[str, ...]
    """Keys under `rows`, in order."""
    pins: Mapping[str, str]
    """What it was chosen from, by digest: the pool's content, the structure's weights, labels."""
    counts: Mapping[str, int]
    """Rows that were seen, left out as duplicates, and so on."""

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> ChosenRound:
        """Return the record of which an unsealed body was made."""
        return cls(**{**body, "files": tuple(body["files"])})


def selection_folder(root: Storage, name: str) -> Storage:
    """Return where `select.<name>` lies."""
    return root.folder(*_path(name))


def rows_path(name: str) -> str:
    """Return where the files of `select.<name>` lie, below the root."""
    return "/".join((*_path(name), ROWS))


def _path(name: str) -> tuple[str, ...]:
    return ("selections", name, "v1")


def read_rounds(folder: Storage) -> list[ChosenRound]:
    """Read the rounds of a selection that are done, in order. Raises StorageError where one is
    damaged or missing."""
    records = folder.folder(_ROUNDS)
    rounds: list[ChosenRound] = []
    for entry in records.list_objects():
        key = _round_key(len(rounds))
        if entry.key != key:
            raise StorageError(
                f"{records.url(key)} is missing, but later rounds are there. Restore it from a"
                " copy."
            )
        body = unseal(records.read(key), records.url(key))
        rounds.append(ChosenRound.from_body(body))
    return rounds


def write_round(
    folder: Storage, base: BasePool, addresses: pa.Table, record: ChosenRound
) -> ChosenRound:
    """Store one round; return it, or the one that another driver stored first. `addresses` has the
    columns `ADDRESSES`, sorted by shard and row; `record` is filled in with their files."""
    rows = folder.folder(ROWS)
    files = address_files(base, addresses, record.number)
    for key, content in files.items():
        if not rows.put_if_absent(key, content):
            raise StorageError(f"{rows.url(key)} holds something else. Move it away.")
        reach("select.after_file")
    body = {**asdict(record), "files": list(files), "rows": len(addresses)}
    records = folder.folder(_ROUNDS)
    key = _round_key(record.number)
    records.put_if_absent(key, seal(body))
    # whoever was first, it is read back: what is stored decides
    return ChosenRound.from_body(unseal(records.read(key), records.url(key)))


def chosen_addresses(folder: Storage, rounds: list[ChosenRound]) -> pa.Table:
    """Read the addresses of some rounds. Raises StorageError where a file is lost or damaged."""
    rows = folder.folder(ROWS)
    tables = [read_addresses(rows, key) for each in rounds for key in each.files]
    plain = [table.replace_schema_metadata(None) for table in tables]
    return pa.concat_tables([ADDRESSES.empty_table(), *plain])


def _round_key(number: int) -> str:
    return f"{number:03d}.json"
