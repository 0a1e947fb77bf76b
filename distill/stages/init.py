"""`distill init`: a commented job from the schema of a pool, which `distill run` accepts once its
questions are answered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.pools.formats.base import is_text
from distill.pools.formats.registry import pool_format, read_footer, read_rows
from distill.pools.images import encoded_shape
from distill.pools.numbers import are_numbers
from distill.pools.scan import list_shards
from distill.spec.uris import resolve_uri
from distill.storage.open import open_storage

_LOOKED_AT_ROWS = 64
_WORDS = 3
"""Text of more words than this on the average is something to read, not a name or a class."""
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff")

_HEAD = """\
# A distillation job. `distill schema` prints everything that may stand here; relative paths resolve against this file.
root = "runs/first"                        # keeps inventories, labels, fits, students and reports; may be s3://bucket/prefix
fragment_rows = 50_000                     # rows of a fragment: the unit of work, commit and resume

# The pool that was looked at: {shards} files; columns:
{columns}
[pools.unlabelled]
path = {path}
features = {features}   # what a model sees of a row
# keys = ["id"]                            # columns that are copied beside the labels
# private = ["email"]                      # columns that are never read
"""
_REST = """\

# Rows with a known target, to train the teacher on. Another folder than the pool's.
[pools.labelled]
path = "labelled/"
target = "label"
classes = ["a", "b"]                       # names in order; leave out for a number

# Rows to judge by. Nothing is ever trained on them.
[pools.test]
path = "test/"
target = "label"
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


def job_template(pool: str) -> str:
    """A job file for the pool at `pool` (a folder, a file or a URI). Raises PoolError where nothing
    readable lies there."""
    files = open_storage(resolve_uri(pool, Path.cwd()))
    shards = list_shards(files)
    format = pool_format([shard.key for shard in shards], files.uri)
    footer = read_footer(files, shards[0].key, format)
    fields = [field for field in footer.schema if _is_binary(field.type) or is_text(field.type)]
    first = read_rows(
        files,
        shards[0].key,
        range(min(_LOOKED_AT_ROWS, sum(footer.row_groups))),
        [field.name for field in fields],
        format=format,
    ).table
    features = _features(footer.schema, first, files.url(shards[0].key))
    return (_HEAD + _REST).format(
        shards=len(shards),
        columns="\n".join(f"#   {field.name}: {field.type}" for field in footer.schema),
        path=json.dumps(files.uri),
        features=_toml(features),
        **_models(features),
    )


def _features(schema: pa.Schema, first: pa.Table, where: str) -> dict[str, object]:
    """An image; else a list of numbers; else text of several words; else all columns of numbers;
    else any text."""
    images = [name for name in first.column_names if _is_image(first[name])]
    if images:
        return {"kind": "image", "column": images[0], **_image_shape(first[images[0]])}
    lists = [
        field.name for field in schema if _is_list(field.type) and _is_number(field.type.value_type)
    ]
    texts = sorted(
        (name for name in first.column_names if is_text(first[name].type)),
        key=lambda name: -_words(first[name]),
    )
    numbers = [
        field.name
        for field in schema
        if _is_number(field.type) or _writes_numbers(first, field.name)
    ]
    if not lists and (texts and (_words(first[texts[0]]) > _WORDS or not numbers)):
        return {"kind": "text", "column": texts[0]}
    if not lists and not numbers:
        raise PoolError(
            f"{where}: no column holds numbers, lists of numbers, text, PNG or JPEG. Store what a"
            " model is to see as one of them."
        )
    return {"kind": "vector", "columns": lists[:1] or numbers}


def _models(features: dict[str, object]) -> dict[str, str]:
    if features["kind"] == "text":
        small = '{ kind = "ngram_bag", buckets = 8192, hidden = 32 }'
        return {"teacher": '{ kind = "ngram_bag" }', "student": small}
    if features["kind"] != "image":
        return {
            "teacher": '{ kind = "mlp", hidden = [256, 256] }',
            "student": '{ kind = "mlp", hidden = [16] }',
        }
    height, width, channels = cast("tuple[int, int, int]", features["shape"])
    shape = [channels, height, width]
    return {
        "teacher": f'{{ kind = "cnn", shape = {shape} }}',
        "student": f'{{ kind = "cnn", shape = {shape}, channels = [8, 16], hidden = 16 }}',
    }


def _image_shape(column: pa.ChunkedArray) -> dict[str, object]:
    """Of the first image; the others are brought to it where they differ."""
    shapes = list(dict.fromkeys(filter(None, map(encoded_shape, column.drop_null().to_pylist()))))
    return {"shape": shapes[0], **({"resize": "bilinear"} if len(shapes) > 1 else {})}


def _toml(table: dict[str, object]) -> str:
    return f"{{ {', '.join(f'{key} = {json.dumps(value, ensure_ascii=False)}' for key, value in table.items())} }}"


def _is_image(column: pa.ChunkedArray) -> bool:
    """Whether it holds PNG or JPEG that can be opened."""
    if not _is_binary(column.type):
        return False
    first = next((value for value in column.to_pylist() if value), b"")
    return first.startswith(_MAGIC) and encoded_shape(first) is not None


def _words(column: pa.ChunkedArray) -> float:
    texts = [text for text in column.to_pylist() if text]
    return sum(len(text.split()) for text in texts) / max(len(texts), 1)


def _writes_numbers(first: pa.Table, name: str) -> bool:
    """Whether a column of text holds nothing but numbers, as CSV has them."""
    if name not in first.column_names or not is_text(first[name].type):
        return False
    texts = first[name].drop_null()
    return bool(len(texts)) and bool(pc.all(are_numbers(texts)).as_py())


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
