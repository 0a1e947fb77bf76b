"""`distill init`: a commented job from the schema of a pool, which `distill run` accepts once the
paths and classes in it are the user's own."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.pools.formats.base import is_text
from distill.pools.formats.csv import CsvShard
from distill.pools.formats.csv_dialect import recognise_dialect
from distill.pools.formats.options import with_options
from distill.pools.formats.registry import pool_format, read_footer, read_rows, recognised_format
from distill.pools.image_files import encoded_shape
from distill.pools.images import is_binary
from distill.pools.listing import list_shards
from distill.pools.nested_lists import is_any_list
from distill.pools.numbers import are_numbers
from distill.spec.uris import resolve_uri
from distill.storage.base import Storage
from distill.storage.open import open_storage

_LOOKED_AT_ROWS = 64
# text of more words than this on the average is something to read, not a name or a class
_WORDS = 3
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff")

_HEAD = """\
# A distillation job. `distill schema` prints everything that may stand here; relative paths resolve against this file.
root = "runs/first"                        # keeps inventories, labels, fits, students and reports; may be s3://bucket/prefix
fragment_rows = 50_000                     # rows of a fragment: the unit of work, commit and resume

# The pool that was looked at: {shards} files; columns:
{columns}
[pools.unlabelled]
path = {path}
{csv}features = {features}   # what a model sees of a row
# keys = ["id"]                            # columns that are copied beside the labels
# private = ["email"]                      # columns that are never read
"""
_REST = """\

# Rows with a known target, to train the teacher on. Another folder than the pool's.
[pools.labelled]
path = "labelled/"
{csv}target = "label"
classes = ["a", "b"]                       # names in order; leave out for a number

# Rows to judge by. Nothing is ever trained on them.
[pools.test]
path = "test/"
{csv}target = "label"
classes = ["a", "b"]

[fit.large]                                # the teacher; or bring your own: labeler = {{ kind = "custom", file = "teacher.py" }}
model = {teacher}
on = "labelled"

[labels.large]                             # what the teacher says of every row, kept once
labeler = {{ kind = "fitted", fit = "large" }}
over = ["unlabelled", "test"]
compute = {{ gpus = "auto", min = 1, max = 1 }}

[students.small]
model = {student}
[[students.small.terms]]
learns = "labels.large"
loss = {{ kind = "kl", temperature = 2 }}
[[students.small.terms]]
learns = "pools.labelled"
loss = {{ kind = "cross_entropy" }}
weight = 0.5                               # λ

[evaluate]
on = "test"
"""

_FORMAT = "format = {}   # the files' endings do not tell it\n"
_CSV = "csv = {}   # how the files are written, as far as the first one shows it\n"


def job_template(pool: str, format: str | None = None) -> str:
    """Return a job file for the pool at `pool` (a folder, a file or a URI), whose files are of that
    format: by default as their endings tell, or how they begin. Raises PoolError where nothing
    readable lies there."""
    files = open_storage(resolve_uri(pool, Path.cwd()))
    shards = list_shards(files)
    key = shards[0].key
    keys = [shard.key for shard in shards]
    unnamed = _unnamed_format(files, keys) if format is None else format
    format = pool_format(keys, files.uri, declared=unnamed)
    dialect = _dialect(files, key, format)
    if dialect:
        options = {format: dialect}
        format = with_options(format, options)
    footer = read_footer(files, key, format)
    rows = range(min(_LOOKED_AT_ROWS, sum(footer.row_groups)))
    names = [field.name for field in footer.schema if is_binary(field.type) or is_text(field.type)]
    first = read_rows(files, key, rows, names, format=format).table
    features = _features(footer.schema, first, files.url(key))
    columns = [f"#   {_one_line(field.name)}: {field.type}" for field in footer.schema]
    return (_HEAD + _REST).format(
        shards=len(shards),
        columns="\n".join(columns),
        path=json.dumps(files.uri),
        csv=_format_lines(unnamed, dialect),
        features=_toml(features),
        **_models(features),
    )


def _unnamed_format(files: Storage, keys: list[str]) -> str | None:
    """The format of files whose endings tell none, as Spark writes them; None where they tell."""
    if any(PurePosixPath(key).suffix for key in keys):
        return None
    first = keys[0]
    return recognised_format(files, first)


def _format_lines(format: str | None, dialect: dict[str, object]) -> str:
    """What a pool must say of its files that their endings do not tell."""
    named = "" if format is None else _FORMAT.format(json.dumps(format))
    return named + (_CSV.format(_toml(dialect)) if dialect else "")


def _dialect(files: Storage, key: str, format: str) -> dict[str, object]:
    """Return what a pool must say of how its files are written; nothing of the usual way."""
    if format != CsvShard.name:
        return {}
    dialect = recognise_dialect(files, key)
    return dialect.model_dump(mode="json", exclude_defaults=True)


def _features(schema: pa.Schema, first: pa.Table, where: str) -> dict[str, object]:
    """Return an image; else a list of numbers; else text of several words; else all columns of
    numbers; else any text."""
    images = [name for name in first.column_names if _is_image(first[name])]
    if images:
        return {"kind": "image", "column": images[0], **_image_shape(first[images[0]])}
    lists = [field.name for field in schema if _is_list_of_numbers(field.type)]
    if lists:
        return {"kind": "vector", "columns": lists[:1]}
    texts = [name for name in first.column_names if is_text(first[name].type)]
    longest = max(texts, key=lambda name: _mean_words(first[name]), default=None)
    if longest is not None and _mean_words(first[longest]) > _WORDS:
        return {"kind": "text", "column": longest}
    numbers = [field.name for field in schema if _holds_numbers(field, first)]
    if numbers:
        return {"kind": "vector", "columns": numbers}
    if longest is not None:
        return {"kind": "text", "column": longest}
    raise PoolError(
        f"{where}: no column holds numbers, lists of numbers, text, PNG or JPEG."
        " Store what a model is to see as one of them."
    )


def _models(features: dict[str, object]) -> dict[str, str]:
    if features["kind"] == "text":
        small = '{ kind = "ngram_bag", buckets = 8192, hidden = 32 }'
        return {"teacher": '{ kind = "ngram_bag" }', "student": small}
    if features["kind"] != "image":
        large = '{ kind = "mlp", hidden = [256, 256] }'
        return {"teacher": large, "student": '{ kind = "mlp", hidden = [16] }'}
    height, width, channels = cast("tuple[int, int, int]", features["shape"])
    shape = [channels, height, width]
    student = f'{{ kind = "cnn", shape = {shape}, channels = [8, 16], hidden = 16 }}'
    return {"teacher": f'{{ kind = "cnn", shape = {shape} }}', "student": student}


def _image_shape(column: pa.ChunkedArray) -> dict[str, object]:
    """Return the shape of the first image."""
    # images of other shapes are brought to it
    shapes = [encoded_shape(image) for image in column.drop_null().to_pylist()]
    known = list(dict.fromkeys(filter(None, shapes)))
    resize = {"resize": "bilinear"} if len(known) > 1 else {}
    shape = known[0]
    return {"shape": shape, **resize}


def _toml(table: dict[str, object]) -> str:
    items = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()]
    listed = ", ".join(items)
    return f"{{ {listed} }}"


def _one_line(name: str) -> str:
    words = name.split()
    return " ".join(words)


def _is_image(column: pa.ChunkedArray) -> bool:
    """Whether it holds PNG or JPEG that can be opened."""
    if not is_binary(column.type):
        return False
    first = next((value for value in column.to_pylist() if value), b"")
    return first.startswith(_MAGIC) and encoded_shape(first) is not None


def _mean_words(column: pa.ChunkedArray) -> float:
    words = [len(text.split()) for text in column.to_pylist() if text]
    return sum(words) / max(len(words), 1)


def _holds_numbers(field: pa.Field, first: pa.Table) -> bool:
    """Whether a column is of numbers, or of text that is nothing but numbers, as CSV has them."""
    if _is_number(field.type):
        return True
    if field.name not in first.column_names or not is_text(first[field.name].type):
        return False
    column = first[field.name]
    texts = column.drop_null()
    return bool(len(texts)) and bool(pc.all(are_numbers(texts)).as_py())


def _is_list_of_numbers(kind: pa.DataType) -> bool:
    return is_any_list(kind) and _is_number(kind.value_type)


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
