"""`distill predict`: files labelled by an exported student, in this process, a piece of rows at a
time.

Each file of the input gets one of the same name, ending in `.parquet`, with the input's other
columns and, for each head, what it says: `predicted_<head>` (the class, or the value) and
`predicted_<head>_probability`; of independent outputs the list of classes that are said. A row that
cannot be read, or whose answer is not finite, keeps its place, with nulls and the reason in
`rejected`. Memory holds a piece of rows (of JSON lines and CSV a whole file), and what a file's
output is once it is packed.

Of JSON lines, another column that holds values of several kinds, or objects, is copied as text; one
that none of a file's first 1,000 lines has is left out.

A network of the user's own needs its source. What lies in an export is never run: the user names a
copy of one's own, which must be the very text that the export was made with.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import TypeAdapter

from distill.core.errors import PoolError, RejectedError
from distill.core.progress import track
from distill.core.schema import canonical, unseal
from distill.core.source import read_source
from distill.labelers.network import as_answer, as_input, network_of
from distill.labelers.runtime import computing
from distill.models.custom_source import Code
from distill.models.network import MultiHead, as_tensor
from distill.models.record import ModelRecord, record_from_plain
from distill.pools.features import decode_features
from distill.pools.formats.base import Copied, Rejected, RowBatch, check_columns
from distill.pools.formats.reader import RowReader
from distill.pools.formats.registry import pool_format, read_footer, read_rows, without_ending
from distill.pools.scan import list_shards
from distill.spec.outputs import Outputs
from distill.spec.pools import Features
from distill.spec.uris import resolve_uri
from distill.storage.base import Storage
from distill.storage.open import is_remote, open_storage

_ROWS = 8_192
_UNREAL = ("output", "the network's answer is NaN or infinite")
_FEATURES: TypeAdapter[Features] = TypeAdapter(Features)
_Answers = dict[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Predicted:
    """One finished file."""

    url: str
    rows: int
    rejected: int
    why: str
    """What is wrong with its first rejected row; "" where none is."""


@dataclass(frozen=True)
class _Student:
    record: ModelRecord
    features: Features
    private: Sequence[str]
    """Columns that are never read."""
    network: MultiHead


def predict_files(
    export: str, source: str, target: str, own: Sequence[Path] = ()
) -> list[Predicted]:
    """Label the files at `source` (a folder, a file or a URI) into the folder `target`; `own` are
    the user's copies of its own networks' sources.

    Raises PoolError, StorageError, JobError, and RejectedError where no row at all could be
    labelled.
    """
    folder, files, made = (
        open_storage(resolve_uri(each, Path.cwd())) for each in (export, source, target)
    )
    student = _load(folder, own)
    keys = [shard.key for shard in list_shards(files)]
    form = pool_format(keys, files.uri)
    _keep_apart(files, keys, made)
    done = []
    with track("predict", len(keys), "files") as bar:
        for key in keys:
            done.append(_predict(student, files, key, form, made))
            bar.advance(1)
    rows = sum(each.rows for each in done)
    if rows and rows == sum(each.rejected for each in done):
        why = next(each.why for each in done if each.why)
        raise RejectedError(
            f"{why}. All {rows:,} rows of {files.uri} are rejected, so what was written to"
            f" {made.uri} holds no predictions. Give rows such as the student was taught with, or"
            " another student."
        )
    return done


def _keep_apart(files: Storage, keys: Sequence[str], made: Storage) -> None:
    """Refuse outputs that would lie where an input or another output does. Raises PoolError."""
    taken = {
        _place(files.uri),
        *(_place(files.url(key)) for key in keys),
    }  # `files` may be one file itself
    if _place(made.uri) in taken:
        raise PoolError(
            f"{made.uri}: predictions would be written over the input. Give another folder."
        )
    first: dict[str, str] = {}
    for key in keys:
        url = made.url(_target(key))
        if _place(url) in taken:
            raise PoolError(
                f"{url}: predictions would be written over the input. Give another folder."
            )
        other = first.setdefault(_place(url), key)
        if other != key:
            raise PoolError(
                f"{url}: the predictions of {key} would be written over those of {other}. Rename"
                " one."
            )


def _place(uri: str) -> str:
    """Where it really lies, whatever links lead there."""
    return uri if is_remote(uri) else os.path.realpath(uri)


def _load(folder: Storage, own: Sequence[Path]) -> _Student:
    content = folder.read_or_none("model.json")
    if content is None:
        raise PoolError(
            f"{folder.uri} is no export: it has no model.json. Give the folder that `distill"
            " export` names."
        )
    body = unseal(content, folder.url("model.json"))
    record = record_from_plain(body["record"])
    _require_distinct_columns(record, folder.uri)
    weights = folder.read("weights.safetensors")
    if hashlib.sha256(weights).hexdigest() != record.sha256:
        raise PoolError(
            f"{folder.url('weights.safetensors')} is damaged: not what model.json pins. Export it"
            " again."
        )
    features = _FEATURES.validate_json(canonical(body["features"]))
    code = _given_code(folder, body.get("sources", {}), own)
    return _Student(record, features, body["private"], network_of(record, weights, code))


def _require_distinct_columns(record: ModelRecord, where: str) -> None:
    """Refuse heads whose columns would have one name. Raises PoolError."""
    first: dict[str, str] = {}
    for head, outputs in record.heads.items():
        for name in _column_names(head, outputs):
            other = first.setdefault(name, head)
            if other != head:
                raise PoolError(
                    f"{where}: the heads {other!r} and {head!r} would both have a column {name!r}."
                    " Rename one in the job, train and export again."
                )


def _column_names(head: str, outputs: Outputs) -> tuple[str, ...]:
    """The columns of a head: what it says and, of exclusive classes, how probable that is."""
    said = f"predicted_{head}"
    return (
        (said, f"{said}_probability") if outputs.kind == "logits" and outputs.exclusive else (said,)
    )


def _given_code(folder: Storage, due: Mapping[str, Mapping[str, str]], own: Sequence[Path]) -> Code:
    """The sources that the export asks for, from the user's own copies. Raises PoolError where one
    is missing or another."""
    if own and not due:
        raise PoolError(
            f"--source {own[0]}: the student at {folder.uri} has no network of its author's own."
            " Leave it out."
        )
    stored = [file for file in own if file.resolve().is_relative_to(Path(folder.uri).resolve())]
    if stored:
        raise PoolError(
            f"--source {stored[0]}: lies in the export, whose code is never run. Name your own copy"
            " of it."
        )
    given = {source.sha256: source for source in (read_source(file, "--source") for file in own)}
    lacking = {each["file"]: each["sha256"] for each in due.values() if each["sha256"] not in given}
    if lacking:
        (file, sha256), *_ = lacking.items()
        found = f" The given ones have {', '.join(given)}." if given else ""
        raise PoolError(
            f"{folder.url(file)}: the student has a network of its author's own, and code that lies"
            " in an export is never run. Name your own copy of that file, whose sha256 is"
            f" {sha256}: --source FILE.{found}"
        )
    return {key: given[each["sha256"]] for key, each in due.items()}


def _predict(student: _Student, files: Storage, key: str, form: str, made: Storage) -> Predicted:
    footer = read_footer(files, key, form)
    total, rejected, why, sink = sum(footer.row_groups), 0, "", pa.BufferOutputStream()
    if total or footer.schema.names:  # an empty file of JSON lines names no columns, and lacks none
        check_columns(footer.schema, student.features.columns, files.url(key))
    taken_names = [
        name for name in footer.schema.names if name == "rejected" or name.startswith("predicted_")
    ]
    if taken_names:
        raise PoolError(
            f"{files.url(key)} has columns {taken_names}, which predictions are named. Rename them."
        )
    read = student.features.columns
    columns = [
        name if name in read else Copied(name)
        for name in footer.schema.names
        if name not in student.private
    ]
    writer: pq.ParquetWriter | None = None
    for start, taken in _pieces(files, key, form, columns, total):
        made_of, wrong = _answered(student, taken, files.url(key))
        if wrong and not rejected:
            why = f"{files.url(key)}: row {start + min(wrong)}: {': '.join(wrong[min(wrong)])}"
        rejected += len(wrong)
        writer = writer or pq.ParquetWriter(sink, made_of.schema, compression="zstd")
        writer.write_table(made_of)
    assert writer is not None
    writer.close()
    target = _target(key)
    made.put(target, bytes(sink.getvalue()))
    return Predicted(made.url(target), total, rejected, why)


def _pieces(
    files: Storage, key: str, form: str, columns: Sequence[str], total: int
) -> Iterator[tuple[int, RowBatch]]:
    """All `total` rows of a file, each decoded once, behind the number of a piece's first. A file
    without rows is one piece, which has columns too."""
    if not total:
        yield 0, read_rows(files, key, range(0), columns, format=form)
        return
    with closing(
        RowReader(files, key, range(total), columns, format=form, part_rows=_ROWS)
    ) as reader:
        for start in range(0, total, _ROWS):
            yield start, reader.take(range(start, min(start + _ROWS, total)))


def _target(key: str) -> str:
    """The output of an input file."""
    return f"{without_ending(key)}.parquet"


def _answered(student: _Student, taken: RowBatch, where: str) -> tuple[pa.Table, Rejected]:
    """A piece's output, and the rows of it that are rejected. Raises PoolError, which names the
    file."""
    answers, wrong = (
        _asked(student, taken, where) if taken.table.num_columns else _nothing_asked(student)
    )
    bad = np.isin(np.arange(len(taken.table)), list(wrong))
    table = taken.table.select(
        [name for name in taken.table.column_names if name not in student.features.columns]
    )
    for head, outputs in student.record.heads.items():
        answers[head][bad] = 0
        for name, values in _columns(_column_names(head, outputs), answers[head], outputs, bad):
            table = table.append_column(name, values)
    reasons = [": ".join(wrong[row]) if row in wrong else None for row in range(len(bad))]
    return table.append_column("rejected", pa.array(reasons, pa.string())), wrong


def _nothing_asked(student: _Student) -> tuple[_Answers, Rejected]:
    """The answers to a file of neither rows nor columns."""
    return {head: np.empty((0, width)) for head, width in student.record.widths.items()}, {}


def _asked(student: _Student, taken: RowBatch, where: str) -> tuple[_Answers, Rejected]:
    """What the network answers, (rows, width) a head, and the rows that have no answer. Raises
    PoolError."""
    try:
        decoded = decode_features(taken.table, student.features, student.record.in_features)
    except PoolError as error:
        raise PoolError(f"{where}: {error}") from None
    with computing("cpu", "float32"):
        said = student.network(as_tensor(as_input(student.network, decoded.values), "cpu"))
    answers = {head: as_answer(said[head]).astype(np.float64) for head in student.record.heads}
    unreal = ~np.all([np.isfinite(each).all(axis=1) for each in answers.values()], axis=0)
    wrong = (
        dict.fromkeys(np.flatnonzero(unreal).tolist(), _UNREAL) | decoded.rejected | taken.rejected
    )
    return answers, wrong


def _columns(
    columns: Sequence[str],
    answered: npt.NDArray[np.float64],
    outputs: Outputs,
    bad: npt.NDArray[np.bool_],
) -> Iterator[tuple[str, pa.Array]]:
    name, *probability = columns
    if outputs.kind == "value":
        one = answered.shape[1] == 1
        yield (
            name,
            (
                pa.array(answered[:, 0], mask=bad)
                if one
                else _lists(answered.tolist(), bad, pa.float64())
            ),
        )
        return
    names = np.array(outputs.classes, object)
    if not outputs.exclusive:
        yield name, _lists([names[row > 0].tolist() for row in answered], bad, pa.string())
        return
    odds = np.exp(answered - answered.max(axis=1, keepdims=True))
    yield name, pa.array(names[answered.argmax(axis=1)], pa.string(), mask=bad)
    yield probability[0], pa.array(1 / odds.sum(axis=1), mask=bad)


def _lists(values: list[list[Any]], bad: npt.NDArray[np.bool_], kind: pa.DataType) -> pa.Array:
    """Lists of `kind`, also where every row is bad: all pieces of a file have one schema."""
    return pa.array(
        [None if is_bad else each for each, is_bad in zip(values, bad, strict=True)], pa.list_(kind)
    )
