"""What is stored of a selection: files of addresses, and a record a round that says which of them
count.

    selections/<name>/v1/rows/<round>-<part>-<content>.selection     (`pools.formats.selection`)
    selections/<name>/v1/rounds/<round>.json
    selections/<name>/v1/measures/<round>.json                       where a job measures rounds

The files of a round are written first, each under its content's own key by conditional put; the
record, put last where none is, makes the round exist. So a killed choice leaves files that nobody
reads, and is made again. No round ever changes, and a later one adds files: what was chosen keeps
its place in the selection, and so its labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from distill.core.errors import StorageError
from distill.core.failpoints import reach
from distill.core.schema import seal, unseal
from distill.pools.formats.selection import ADDRESSES, BasePool, address_files, read_addresses
from distill.storage.base import Storage

ROWS = "rows"
_ROUNDS = "rounds"
_MEASURES = "measures"


@dataclass(frozen=True, kw_only=True)
class ChosenRound:
    """The record of one round."""

    number: int
    asked: str  # digest of what the job says of it: another one is another selection
    method: Mapping[str, Any]  # `by`, as the job says it
    seed: int
    rows: int
    files: tuple[str, ...]  # keys under `rows`, in order
    # what it was chosen from, by digest: the pool's content, the structure's weights, labels
    pins: Mapping[str, str]
    counts: Mapping[str, int]  # rows that were seen, left out as duplicates, and so on

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> ChosenRound:
        """Return the record of which an unsealed body was made."""
        return cls(**{**body, "files": tuple(body["files"])})


@dataclass(frozen=True, kw_only=True)
class RoundMeasure:
    """What the students were worth that learned from all rows up to a round."""

    number: int
    rows: int  # of all rounds up to this one
    student: str
    pool: str  # that it was judged on
    score: float  # its accuracy there, the mean over its seeds
    error: float  # standard error of the score
    next_rows: int  # rows of the next round
    # what the learning curve promises of these; None before it has points enough
    points: float | None
    margin: float | None  # half of the interval about it

    def promises_less(self, points: float | None) -> bool:
        """Whether the next round is not worth so many points."""
        return points is not None and self.points is not None and self.points < points


def selection_folder(root: Storage, name: str) -> Storage:
    """Return where `select.<name>` lies."""
    path = _path(name)
    return root.folder(*path)


def rows_path(name: str) -> str:
    """Return where the files of `select.<name>` lie, below the root."""
    return "/".join((*_path(name), ROWS))


def _path(name: str) -> tuple[str, ...]:
    return ("selections", name, "v1")


def read_rounds(folder: Storage) -> list[ChosenRound]:
    """Read the rounds of a selection that are done, in order. Raises StorageError where one is
    damaged or missing."""
    return [ChosenRound.from_body(body) for body in _read_records(folder.folder(_ROUNDS))]


def read_measures(folder: Storage) -> list[RoundMeasure]:
    """Read what the rounds of a selection were measured at, in order. Raises StorageError where one
    is damaged or missing."""
    return [RoundMeasure(**body) for body in _read_records(folder.folder(_MEASURES))]


def write_measure(folder: Storage, measure: RoundMeasure) -> RoundMeasure:
    """Store what a round was measured at; return it, or what another driver stored first."""
    records = folder.folder(_MEASURES)
    return RoundMeasure(**_put_record(records, measure.number, asdict(measure)))


def _read_records(records: Storage) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    # from the thousandth round on, names are longer, and no longer sorted by number
    for entry in sorted(records.list_objects(), key=lambda entry: (len(entry.key), entry.key)):
        number = len(found)
        key = _round_key(number)
        if entry.key != key:
            raise StorageError(
                f"{records.url(key)} is missing, but later rounds are there. Restore it from a"
                " copy."
            )
        found.append(unseal(records.read(key), records.url(key)))
    return found


def _put_record(records: Storage, number: int, body: dict[str, Any]) -> dict[str, Any]:
    key = _round_key(number)
    content = seal(body)
    records.put_if_absent(key, content)
    # whoever was first, it is read back: what is stored decides
    return unseal(records.read(key), records.url(key))


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
    return put_round(folder, replace(record, files=tuple(files), rows=len(addresses)))


def put_round(folder: Storage, record: ChosenRound) -> ChosenRound:
    """Store the record of a round whose files are there; return it, or another driver's."""
    body = {**asdict(record), "files": list(record.files)}
    return ChosenRound.from_body(_put_record(folder.folder(_ROUNDS), record.number, body))


def chosen_addresses(folder: Storage, rounds: list[ChosenRound]) -> pa.Table:
    """Read the addresses of some rounds. Raises StorageError where a file is lost or damaged."""
    rows = folder.folder(ROWS)
    tables = [read_addresses(rows, key) for each in rounds for key in each.files]
    plain = [table.replace_schema_metadata(None) for table in tables]
    return pa.concat_tables([ADDRESSES.empty_table(), *plain])


def _round_key(number: int) -> str:
    return f"{number:03d}.json"
