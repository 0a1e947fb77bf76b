"""`distill predict`: files labelled by an exported student, in this process, a part at a time.

Each file of the input gets one of the same name, ending in `.parquet`, with the input's other
columns and, for each head, what it predicts: `predicted_<head>` (the class, or the value) and
`predicted_<head>_probability`; of independent outputs the list of classes that it names. A row that
cannot be read, or whose prediction is not finite, keeps its place, with nulls and the reason in
`rejected`. Memory holds a part of the rows (of JSON lines and CSV a whole file), and what a file's
output is once it is packed.

Of JSON lines, another column that holds values of several kinds, or objects, is copied as text; one
that none of a file's first 1,000 lines has is left out.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from distill.core.errors import PoolError, RejectedError
from distill.core.progress import track
from distill.labelers.network import as_answer, as_input
from distill.labelers.runtime import computing
from distill.models.network import as_tensor
from distill.pools.features import decode_features
from distill.pools.formats.base import Copied, Rejected, RowBatch, check_columns
from distill.pools.formats.csv import CsvShard
from distill.pools.formats.options import format_name, format_options, with_mask, with_options
from distill.pools.formats.reader import RowReader
from distill.pools.formats.registry import pool_format, read_footer, read_rows, without_ending
from distill.pools.listing import list_shards
from distill.spec.outputs import Outputs
from distill.spec.pools import CsvDialect
from distill.spec.uris import is_remote, resolve_uri
from distill.stages.exported_student import ExportedStudent, column_names, load_student
from distill.storage.base import Storage
from distill.storage.open import open_storage

# of the output's row groups; of images fewer are computed at once (`_part_rows`)
_PART_ROWS = 8_192
# numbers that a network sees at once, which it may hold many times over: 222 images of 224 × 224
_PART_NUMBERS = 1 << 25
_NOT_FINITE = ("output", "the network's answer is NaN or infinite")
_Outputs = dict[str, npt.NDArray[np.float64]]  # by head, (rows, width)


@dataclass(frozen=True)
class Predicted:
    """One finished file."""

    url: str
    rows: int
    rejected: int
    why: str  # what is wrong with its first rejected row; "" where none is


def predict_files(
    export: str,
    source: str,
    target: str,
    own: Sequence[Path] = (),
    *,
    csv: CsvDialect | None = None,
) -> list[Predicted]:
    """Label the files at `source` (a folder, a file or a URI) into the folder `target`; `own` are
    the user's copies of its own networks' sources. CSV is read as `csv` says, by default as the
    pool that the student was taught on.

    Raises PoolError, StorageError, JobError, and RejectedError where no row at all could be
    labelled."""
    here = Path.cwd()
    student = load_student(open_storage(resolve_uri(export, here)), own)
    uri = resolve_uri(source, here)
    files = open_storage(uri)
    target_uri = resolve_uri(target, here)
    output = open_storage(target_uri)
    keys = [shard.key for shard in list_shards(files)]
    format = _format(student, keys, files.uri, csv)
    _require_apart(files, keys, output)
    done = []
    with track("predict", len(keys), "files") as bar:
        for key in keys:
            predicted = _predict_file(student, files, key, format, output)
            done.append(predicted)
            bar.advance(1)
    _require_predictions(done, files, output)
    return done


def _format(
    student: ExportedStudent, keys: Sequence[str], where: str, csv: CsvDialect | None
) -> str:
    """Return how files are read: what their endings do not tell is as it was where the student was
    taught. Raises PoolError."""
    taught = student.format or ""
    name = pool_format(keys, where, otherwise=format_name(taught) or None)
    options = {key: value for key, value in format_options(taught).items() if key == name}
    if csv is not None:
        if name != CsvShard.name:
            raise PoolError(f"--csv: the files at {where} are {name}. Leave it out.")
        options = {name: csv.model_dump(mode="json", exclude_defaults=True)}
    bare = with_options(name, options)
    return with_mask(bare, student.mask)


def _require_apart(files: Storage, keys: Sequence[str], output: Storage) -> None:
    """Refuse outputs that would lie where an input or another output does. Raises PoolError."""
    # `files` may be one file itself
    inputs = {_real_path(files.uri), *(_real_path(files.url(key)) for key in keys)}
    _require_no_input(output.uri, inputs)
    key_of: dict[str, str] = {}
    for key in keys:
        name = _target(key)
        url = output.url(name)
        _require_no_input(url, inputs)
        other = key_of.setdefault(_real_path(url), key)
        if other != key:
            raise PoolError(
                f"{url}: the predictions of {key} would be written over those of {other}."
                " Rename one."
            )


def _require_no_input(url: str, inputs: Collection[str]) -> None:
    if _real_path(url) in inputs:
        raise PoolError(f"{url}: predictions would be written over the input. Give another folder.")


def _real_path(uri: str) -> str:
    """Return where it really lies, whatever links lead there."""
    return uri if is_remote(uri) else os.path.realpath(uri)


def _target(key: str) -> str:
    """Return the output's key of an input file."""
    stem = without_ending(key)
    return f"{stem}.parquet"


def _require_predictions(done: Sequence[Predicted], files: Storage, output: Storage) -> None:
    """Raises RejectedError where there are rows and all of them were rejected."""
    rows = sum(each.rows for each in done)
    rejected = sum(each.rejected for each in done)
    if rows and rows == rejected:
        why = next(each.why for each in done if each.why)
        raise RejectedError(
            f"{why}. All {rows:,} rows of {files.uri} are rejected, so what was written to"
            f" {output.uri} holds no predictions."
            " Give rows such as the student was taught with, or another student."
        )


def _predict_file(
    student: ExportedStudent, files: Storage, key: str, format: str, output: Storage
) -> Predicted:
    url = files.url(key)
    with _hint_at_dialect(format):
        footer = read_footer(files, key, format)
        rows = sum(footer.row_groups)
        # what stands in the path alone is in the output's path too
        in_path = set(footer.path_columns) - set(student.features.columns)
        names = [name for name in footer.schema.names if name not in in_path]
        if rows or names:  # an empty file of JSON lines names no columns, and lacks none
            check_columns(footer.schema, student.features.columns, url)
    _require_free_names(names, url)
    columns = _columns_to_read(student, names)
    rejected = 0
    why = ""
    sink = pa.BufferOutputStream()
    writer: pq.ParquetWriter | None = None
    unwritten = []
    part_rows = _part_rows(student)
    for start, batch in _parts(files, key, format, columns, rows, part_rows=part_rows):
        table, reasons = _predict_part(student, batch, url)
        if reasons and not rejected:
            first = min(reasons)
            why = f"{url}: row {start + first}: {': '.join(reasons[first])}"
        rejected += len(reasons)
        writer = writer or pq.ParquetWriter(sink, table.schema, compression="zstd")
        unwritten.append(table)
        if start + part_rows >= rows or sum(map(len, unwritten)) >= _PART_ROWS:
            joined = pa.concat_tables(unwritten)
            writer.write_table(joined)
            unwritten = []
    assert writer is not None
    writer.close()
    target = _target(key)
    output.put(target, bytes(sink.getvalue()))
    return Predicted(output.url(target), rows, rejected, why)


@contextmanager
def _hint_at_dialect(format: str) -> Iterator[None]:
    """Say of a CSV file that cannot be read how it was read, and how to say another dialect."""
    try:
        yield
    except PoolError as error:
        if format_name(format) != CsvShard.name:
            raise
        dialect = json.dumps(format_options(format).get(CsvShard.name, {}))
        raise PoolError(
            f"{error} It was read by csv = {dialect}; say by `--csv` if it is written otherwise."
        ) from None


def _require_free_names(names: Sequence[str], url: str) -> None:
    """Refuse columns of the input that predictions would hide. Raises PoolError."""
    taken = [name for name in names if name == "rejected" or name.startswith("predicted_")]
    if taken:
        raise PoolError(f"{url} has columns {taken}, which predictions are named. Rename them.")


def _columns_to_read(student: ExportedStudent, names: Sequence[str]) -> list[str]:
    """Return what the student sees, and the other columns as they are; no private ones."""
    seen = student.features.columns
    public = [name for name in names if name not in student.private]
    return [name if name in seen else Copied(name) for name in public]


def _part_rows(student: ExportedStudent) -> int:
    """Return how many rows are computed at once."""
    # a network's layers take memory of each
    return max(1, min(_PART_ROWS, _PART_NUMBERS // max(1, student.record.in_features)))


def _parts(
    files: Storage, key: str, format: str, columns: Sequence[str], rows: int, *, part_rows: int
) -> Iterator[tuple[int, RowBatch]]:
    """Yield all rows of a file, each decoded once, behind the number of a part's first."""
    # a file without rows is one part, which has columns too
    if not rows:
        yield 0, read_rows(files, key, range(0), columns, format=format)
        return
    reader = RowReader(files, key, range(rows), columns, format=format, part_rows=part_rows)
    with closing(reader):
        for start in range(0, rows, part_rows):
            end = start + part_rows
            stop = min(end, rows)
            yield start, reader.take(range(start, stop))


def _predict_part(
    student: ExportedStudent, batch: RowBatch, where: str
) -> tuple[pa.Table, Rejected]:
    """Return a part's output, and which of its rows are rejected. Raises PoolError."""
    outputs, reasons = _outputs(student, batch, where)
    is_rejected = np.isin(np.arange(len(batch.table)), list(reasons))
    seen = student.features.columns
    table = batch.table.select([name for name in batch.table.column_names if name not in seen])
    for head, meaning in student.record.heads.items():
        answers = outputs[head]
        answers[is_rejected] = 0
        columns = _columns(outputs[head], meaning, is_rejected)
        for name, values in zip(column_names(head, meaning), columns, strict=True):
            table = table.append_column(name, values)
    texts = [": ".join(reasons[row]) if row in reasons else None for row in range(len(table))]
    return table.append_column("rejected", pa.array(texts, pa.string())), reasons


def _outputs(student: ExportedStudent, batch: RowBatch, where: str) -> tuple[_Outputs, Rejected]:
    """Return what the network computes, and the rows that have no prediction. Raises PoolError."""
    if not batch.table.num_columns:  # a file of neither rows nor columns
        widths = student.record.widths
        return {head: np.empty((0, width)) for head, width in widths.items()}, {}
    try:
        decoded = decode_features(batch.table, student.features, student.record.in_features)
    except PoolError as error:
        raise PoolError(f"{where}: {error}") from None
    features = as_tensor(as_input(student.network, decoded.values), "cpu")
    with computing("cpu", "float32"):
        computed = student.network(features)
    outputs: _Outputs = {}
    finite = np.ones(len(batch.table), bool)
    for head in student.record.heads:
        outputs[head] = as_answer(computed[head]).astype(np.float64)
        finite &= np.isfinite(outputs[head]).all(axis=1)
    not_finite = dict.fromkeys(np.flatnonzero(~finite).tolist(), _NOT_FINITE)
    return outputs, not_finite | decoded.rejected | batch.rejected


def _columns(
    outputs: npt.NDArray[np.float64], meaning: Outputs, is_rejected: npt.NDArray[np.bool_]
) -> tuple[pa.Array, ...]:
    if meaning.kind == "value":
        if outputs.shape[1] == 1:
            return (pa.array(outputs[:, 0], mask=is_rejected),)
        return (_lists(outputs.tolist(), is_rejected, pa.float64()),)
    classes = np.array(meaning.classes, object)
    if not meaning.exclusive:
        named = [classes[row > 0].tolist() for row in outputs]
        return (_lists(named, is_rejected, pa.string()),)
    odds = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    index = outputs.argmax(axis=1)
    best = classes[index]
    total = odds.sum(axis=1)
    probability = 1 / total
    return (pa.array(best, pa.string(), mask=is_rejected), pa.array(probability, mask=is_rejected))


def _lists(
    values: list[list[Any]], is_rejected: npt.NDArray[np.bool_], kind: pa.DataType
) -> pa.Array:
    """Return lists of `kind`, also where every row is rejected."""
    # all parts of a file have one schema
    kept = [None if bad else each for each, bad in zip(values, is_rejected, strict=True)]
    lists = pa.list_(kind)
    return pa.array(kept, lists)
