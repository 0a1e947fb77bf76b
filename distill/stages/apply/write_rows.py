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
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.core.errors import StorageError
from distill.core.failpoints import reach
from distill.core.schema import seal
from distill.engine.protocol import Engine
from distill.labels.columns import label_schema
from distill.labels.encryption import is_encrypted, read_encrypted
from distill.labels.lease import make_once
from distill.loader.label_rows import read_label_rows
from distill.loader.sampler import Chunk
from distill.plan.apply_steps import WriteStep
from distill.pools.inventory import Fragment
from distill.stages.apply.answered_rows import others_of
from distill.stages.apply.answers import answer_columns, answers_of, cascade_columns, key_names
from distill.stages.apply.applied_files import (
    MANIFEST,
    README,
    Applied,
    FileRecord,
    parquet_content,
    read_applied,
    readme,
)
from distill.stages.apply.sureness import unsure_rows
from distill.storage.open import open_storage

_REVIEW = "_review"


@dataclass(frozen=True)
class _Task:
    """A fragment to write, or to look at where it is written."""

    place: int
    fragment: Fragment
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
    folder.put(README, readme(step, body).encode())
    reach("apply.before_manifest")
    # of any size, so without a condition: whoever else writes it writes the same
    folder.put(MANIFEST, seal(body))
    return Applied(step.name, step.pool.name, step.folder, files, tuple(schema), written)


def _tasks(step: WriteStep, there: set[str]) -> list[_Task]:
    fragments = step.pool.inventory.fragments(step.fragment_rows)
    return [_Task(place, each, _file(place) in there) for place, each in enumerate(fragments)]


def _file(place: int) -> str:
    return f"part-{place:07d}.parquet"


def _write_fragment(step: WriteStep, task: _Task) -> Written:
    folder = open_storage(step.folder)
    file = _file(task.place)
    rows = task.fragment.rows
    if task.is_there:
        content = folder.read(file)
    else:
        table = _fragment_table(step, task)
        content = parquet_content(table, step.key)
        if step.sent is not None and step.sent.result.to == "review":
            _write_review(step, task, table)
        reach("apply.before_file")
        folder.put(file, content)
        reach("apply.after_file")
    _require_rows(step, file, content, rows)
    return (FileRecord(file, rows, len(content), hashlib.sha256(content).hexdigest()),)


def _require_rows(step: WriteStep, file: str, content: bytes, rows: int) -> None:
    """Refuse a file that has other rows, or is plain and must not be. Raises StorageError."""
    found = _look_into(step, file, content).rows
    if found != rows:
        raise StorageError(
            f"{step.folder}/{file} has {found:,} rows, where {rows:,} are due. Delete it, and run"
            " the same command again."
        )


def _fragment_table(step: WriteStep, task: _Task) -> pa.Table:
    fragment = task.fragment
    chunk = Chunk(0, fragment.shard.number, fragment.start, fragment.rows)
    stored = read_label_rows(step.labels, chunk)
    contract = step.labels.contract
    zeros = pa.array(np.zeros(fragment.rows, np.int32))
    columns: dict[str, Any] = {
        "shard": pa.DictionaryArray.from_arrays(zeros, pa.array([fragment.shard.key])),
        "row": pa.array(np.arange(fragment.start, fragment.start + fragment.rows)),
    }
    labels = label_schema(contract).names
    keys = key_names(name for name in stored.column_names if name not in labels)
    columns |= {name: stored[key] for key, name in keys.items()}
    answers = answers_of(stored, contract)
    if step.sent is None:
        columns |= answer_columns(answers, contract, probabilities=step.probabilities)
    else:
        threshold = step.sent.result.threshold
        unsure = unsure_rows(answers.raw, answers.labelled, threshold)
        others = others_of(step.sent, fragment, unsure, contract.classes)
        columns |= cascade_columns(
            answers, contract, threshold, others, probabilities=step.probabilities
        )
    return pa.table(columns)


def _write_review(step: WriteStep, task: _Task, table: pa.Table) -> None:
    """Write the rows that people are to answer, as JSON lines."""
    by = table["answered_by"].cast(pa.string())
    open_rows = table.filter(pa.compute.equal(by, "review"))
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
