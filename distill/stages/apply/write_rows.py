"""The last stage of `distill apply`: what was answered, as Parquet files that others read.

    applied/<name>/<pool>/<digest>/part-0000000.parquet    a fragment each, in the pool's order
                                   _manifest.json          every file with its rows and sha256; last
                                   _README.md              what it is, and how to read it
                                   _review/part-….jsonl    rows for people, where a cascade sends there

With a key of `[apply.NAME]` the files are encrypted (`labels.encryption`); the manifest and the
README, which name columns and classes alone, are not.

The folder is named after what decides its content: the labels that are written. Each file is a
function of its fragment's labels and is put whole, so whoever is killed leaves whole files, and
going on writes only those that are missing. The manifest is written when all are there; until
then the folder is not done. Readers skip names that begin with `_`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.core.cascades import CascadeResult
from distill.core.errors import StorageError
from distill.core.failpoints import reach
from distill.core.schema import seal, unseal
from distill.engine.protocol import Engine
from distill.labels.columns import label_schema
from distill.labels.encryption import encryption_of, is_encrypted, read_encrypted
from distill.labels.lease import make_once
from distill.loader.label_rows import read_label_rows
from distill.loader.sampler import Chunk
from distill.plan.apply_steps import SentRows, WriteStep
from distill.pools.chosen import ROWS
from distill.pools.formats.selection import SELECTED_ROW, read_addresses
from distill.pools.inventory import Fragment
from distill.stages.apply.answers import (
    Answers,
    Others,
    answer_columns,
    answers_of,
    cascade_columns,
    in_order,
    key_names,
)
from distill.stages.apply.send_on import place_prefix
from distill.stages.apply.sureness import Int64
from distill.storage.open import open_storage

MANIFEST = "_manifest.json"
README = "_README.md"
_REVIEW = "_review"


@dataclass(frozen=True)
class FileRecord:
    """One file of what was written."""

    file: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Applied:
    """What `distill apply` has written."""

    name: str
    pool: str
    uri: str
    files: tuple[FileRecord, ...]
    columns: tuple[str, ...]
    written_now: int
    """Files that this run wrote."""

    @property
    def rows(self) -> int:
        """Of all files."""
        return sum(each.rows for each in self.files)


@dataclass(frozen=True)
class _Task:
    """A fragment to write, or to look at where it is written."""

    place: int
    fragment: Fragment
    addresses: tuple[str, ...]
    """Keys of the files that say which of its rows are sent on."""
    is_there: bool


@dataclass(frozen=True)
class _Found:
    """What is in a file."""

    rows: int
    columns: tuple[str, ...]


Written = tuple[FileRecord, ...]


def write_rows(step: WriteStep, engine: Engine) -> Applied:
    """Write the files that are missing, and the manifest, unless it is there, or wait for another
    driver that does. Raises StorageError."""
    folder = open_storage(step.folder)
    what = f"writing {step.name} over {step.pool.name}"
    return make_once(folder, what, lambda: read_applied(step.folder), lambda: _write(step, engine))


def read_applied(uri: str) -> Applied | None:
    """Read the manifest of a folder; None before it is done. Raises StorageError."""
    folder = open_storage(uri)
    content = folder.read_or_none(MANIFEST)
    if content is None:
        return None
    body = unseal(content, folder.url(MANIFEST))
    files = tuple(FileRecord(**each) for each in body["files"])
    about = body["about"]
    return Applied(about["name"], about["pool"], uri, files, tuple(body["columns"]), 0)


def verify_applied(uri: str, rows: int) -> list[str]:
    """Return what is wrong with the files in a folder, of which `rows` rows are due: each file is
    read. Raises StorageError."""
    applied = read_applied(uri)
    folder = open_storage(uri)
    if applied is None:
        return [f"{folder.url(MANIFEST)} is not there: it is not done"]
    problems = []
    for record in applied.files:
        content = folder.read_or_none(record.file)
        if content is None:
            problems.append(f"{folder.url(record.file)} is gone")
        elif hashlib.sha256(content).hexdigest() != record.sha256:
            problems.append(f"{folder.url(record.file)} is not what the manifest pins")
    if applied.rows != rows:
        problems.append(f"{uri}: {applied.rows:,} rows are written, where {rows:,} are due")
    return problems


def _write(step: WriteStep, engine: Engine) -> Applied:
    folder = open_storage(step.folder)
    there = {entry.key for entry in folder.list_objects()}
    tasks = _tasks(step, there)
    files = engine.fold(
        f"write {step.name} over {step.pool.name}",
        partial(_write_fragment, step),
        tasks,
        lambda one, other: one + other,
        unit="rows",
        size=lambda task: task.fragment.rows,
    )
    written = sum(not task.is_there for task in tasks)
    schema = _schema(step)
    body = {
        "about": {**step.about, "name": step.name},
        "columns": schema,
        "classes": list(step.labels.contract.classes),
        "rows": sum(each.rows for each in files),
        "cascade": None if step.sent is None else step.sent.result.to_plain(),
        "files": [asdict(each) for each in files],
    }
    folder.put(README, _readme(step, body).encode())
    reach("apply.before_manifest")
    # of any size, so without a condition: whoever else writes it writes the same
    folder.put(MANIFEST, seal(body))
    return Applied(step.name, step.pool.name, step.folder, files, tuple(schema), written)


def _tasks(step: WriteStep, there: set[str]) -> list[_Task]:
    keys: dict[str, list[str]] = {}
    for each in step.sent.rounds if step.sent else ():
        for key in each.files:
            keys.setdefault(key[: len(place_prefix(0))], []).append(key)
    tasks = []
    for place, fragment in enumerate(step.pool.inventory.fragments(step.fragment_rows)):
        addresses = tuple(keys.get(place_prefix(place), ()))
        tasks.append(_Task(place, fragment, addresses, _file(place) in there))
    return tasks


def _file(place: int) -> str:
    return f"part-{place:07d}.parquet"


def _write_fragment(step: WriteStep, task: _Task) -> Written:
    folder = open_storage(step.folder)
    file = _file(task.place)
    if task.is_there:
        return (_look_at(step, file, folder.read(file), task.fragment.rows),)
    table = _fragment_table(step, task)
    content = _parquet(table, step.key)
    if step.sent is not None and step.sent.result.to == "review":
        _write_review(step, task, table)
    reach("apply.before_file")
    folder.put(file, content)
    reach("apply.after_file")
    return (_look_at(step, file, content, task.fragment.rows),)


def _look_at(step: WriteStep, file: str, content: bytes, rows: int) -> FileRecord:
    found = _look_into(step, file, content).rows
    if found != rows:
        raise StorageError(
            f"{step.folder}/{file} has {found:,} rows, where {rows:,} are due. Delete it, and run"
            " the same command again."
        )
    return FileRecord(file, rows, len(content), hashlib.sha256(content).hexdigest())


def _fragment_table(step: WriteStep, task: _Task) -> pa.Table:
    fragment = task.fragment
    chunk = Chunk(0, fragment.shard.number, fragment.start, fragment.rows)
    stored = read_label_rows(step.labels, chunk)
    contract = step.labels.contract
    columns: dict[str, Any] = {
        "shard": pa.repeat(fragment.shard.key, fragment.rows),
        "row": pa.array(np.arange(fragment.start, fragment.start + fragment.rows)),
    }
    labels = label_schema(contract).names
    keys = key_names(name for name in stored.column_names if name not in labels)
    columns |= {name: stored[key] for key, name in keys.items()}
    answers = answers_of(stored, contract)
    if step.sent is None:
        columns |= answer_columns(answers, contract, probabilities=step.probabilities)
    else:
        others = _others(step, step.sent, task, chunk)
        threshold = step.sent.result.threshold
        columns |= cascade_columns(
            answers, contract, threshold, others, probabilities=step.probabilities
        )
    return pa.table(columns)


def _others(step: WriteStep, sent: SentRows, task: _Task, chunk: Chunk) -> Others:
    """What others say of the rows of a fragment that are sent on."""
    rows = open_storage(sent.folder).folder(ROWS)
    tables = [read_addresses(rows, key) for key in task.addresses]
    numbers = [table[SELECTED_ROW].to_numpy() for table in tables]
    place: Int64 = np.concatenate([np.empty(0, np.int64), *numbers]) - chunk.start
    by = None if sent.result.to == "nobody" else sent.result.to
    if sent.answers is None or not len(place):
        return Others(by, place)
    answers = _answers(sent, task, chunk, place)
    classes = step.labels.contract.classes
    probabilities = in_order(answers, sent.answers.contract, classes)
    return Others(by, place, probabilities, answers.labelled)


def _answers(sent: SentRows, task: _Task, chunk: Chunk, place: Int64) -> Answers:
    labels = sent.answers
    assert labels is not None
    if sent.of_pool:
        table = read_label_rows(labels, chunk).take(pa.array(place))
        return answers_of(table, labels.contract)
    tables = []
    for key in task.addresses:
        shard = sent.shards[key]
        entries = list(labels.entries.of_shard(shard))
        rows = sum(entry.rows for entry in entries)
        tables.append(read_label_rows(labels, Chunk(0, shard, 0, rows)))
    return answers_of(pa.concat_tables(tables), labels.contract)


def _write_review(step: WriteStep, task: _Task, table: pa.Table) -> None:
    """Write the rows that people are to answer, as JSON lines."""
    open_rows = table.filter(pa.compute.equal(table["answered_by"], "review"))
    if not len(open_rows):
        return
    names = [name for name in table.column_names if name not in _NOT_REVIEWED]
    more = {"reason": "the student is not sure", "shard_id": task.fragment.shard.id}
    lines = [
        json.dumps({**row, **more}, ensure_ascii=False)
        for row in open_rows.select(names).to_pylist()
    ]
    folder = open_storage(step.folder).folder(_REVIEW)
    folder.put(f"part-{task.place:07d}.jsonl", ("\n".join(lines) + "\n").encode())


_NOT_REVIEWED = ("class", "probability", "probabilities", "answered_by", "rejected")


def _parquet(table: pa.Table, key: str) -> bytes:
    sink = pa.BufferOutputStream()
    # without Arrow's own schema: plain types for every reader, and the same bytes
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        store_schema=False,
        write_page_checksum=True,
        encryption_properties=encryption_of(key) if key else None,
    ) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _schema(step: WriteStep) -> list[str]:
    """Names of the columns, as the first file has them."""
    content = open_storage(step.folder).read(_file(0))
    return list(_look_into(step, _file(0), content).columns)


def _look_into(step: WriteStep, file: str, content: bytes) -> _Found:
    """What a file that was written has. Raises StorageError where it is plain and must not be, or
    is under another key."""
    where = f"{step.folder}/{file}"
    if not step.key:
        metadata = pq.read_metadata(pa.BufferReader(content))
        return _Found(metadata.num_rows, tuple(metadata.schema.to_arrow_schema().names))
    if not is_encrypted(content):
        raise StorageError(
            f"{where} is not encrypted, where the job says that it is. Delete it, and run the same"
            " command again."
        )
    table = read_encrypted(content, where)
    return _Found(table.num_rows, tuple(table.column_names))


def _promise(result: CascadeResult) -> str:
    """Say what labelled rows prove of a cascade: of sets it is no accuracy of who answers alone."""
    answered = f"{100 * (1 - result.share_sent):.1f}% of the rows"
    promised = (
        f"at confidence {result.confidence:g}, of rows drawn as those of pools.{result.on};"
        f" the others go to {result.to}"
    )
    if result.threshold.by == "sets":
        return (
            f"- cascade: sets of classes hold the truth of at least {result.at_least:g} of all rows;"
            f" the student answers {answered}, those whose set has one class; {promised}"
        )
    return (
        f"- cascade: the student answers {answered}, of which at least {result.at_least:g} are"
        f" right, {promised}"
    )


def _readme(step: WriteStep, body: Mapping[str, Any]) -> str:
    about = body["about"]
    lines = [
        f"# {about['name']} over pools.{about['pool']}",
        "",
        f"Written by `distill apply` of the job `{about['job']}`: {body['rows']:,} rows,"
        f" {len(body['files']):,} files, each row of the pool once.",
        "",
        f"- student: {about['student']} (its labels: `labels/{about['labels']}`)",
        f"- columns: {', '.join(body['columns'])}",
    ]
    if body["classes"]:
        lines.append(f"- order of `probabilities`: {', '.join(body['classes'])}")
    if step.sent is not None:
        lines.append(_promise(step.sent.result))
    if step.key:
        lines.append(
            f"- encrypted (Parquet modular encryption): a reader needs the key `{step.key}`"
        )
    lines += [
        "",
        "```",
        f"FROM read_parquet('{step.folder}/*.parquet')  -- DuckDB",
        f'spark.read.parquet("{step.folder}")  # Spark',
        "```",
        "",
    ]
    return "\n".join(lines)
