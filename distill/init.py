"""`distill init`: a commented job from the schema of a pool, which `distill run` accepts once its questions are answered."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa

from distill.errors import PoolError
from distill.job.paths import resolve_uri
from distill.pool import Footer, list_shards, read_footer
from distill.storage import open_storage

_JOB = """\
# A distillation job. `distill schema` prints everything that may stand here; relative paths resolve against this file.
root = "runs/first"                        # keeps inventories, labels, fits, students and reports; may be s3://bucket/prefix
fragment_rows = 50_000                     # rows of a fragment: the unit of work, commit and resume

# The pool that was looked at: {shards} files; columns:
{columns}
[pools.unlabelled]
path = {path}
features = {{ kind = "vector", columns = {features} }}   # what a model sees of a row
# private = ["email"]                      # columns that are never read

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
model = {{ kind = "mlp", hidden = [256, 256] }}
on = "labelled"

[labels.large]                             # what the teacher says of every row, kept once
labeler = {{ kind = "fitted", fit = "large" }}
over = ["unlabelled", "test"]
compute = {{ gpus = "auto", min = 1, max = 1 }}

[students.small]
model = {{ kind = "mlp", hidden = [16] }}
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
    """A job file for the pool at `pool` (a folder, a file or a URI). Raises PoolError where nothing readable lies there."""
    files = open_storage(resolve_uri(pool, Path.cwd()))
    shards = list_shards("unlabelled", files)
    footer = read_footer(files, shards[0].key)
    return _JOB.format(
        shards=len(shards),
        columns="\n".join(f"#   {field.name}: {field.type}" for field in footer.schema),
        path=json.dumps(files.uri),
        features=json.dumps(_features(footer, files.url(shards[0].key))),
    )


def _features(footer: Footer, where: str) -> list[str]:
    """The first column of lists of numbers, else all columns that are numbers."""
    fields = list(footer.schema)
    lists = [field.name for field in fields if _is_list(field.type) and _is_number(field.type.value_type)]
    numbers = [field.name for field in fields if _is_number(field.type)]
    if not lists and not numbers:
        raise PoolError(f"{where}: no column holds numbers or lists of numbers. distill reads vectors so far.")
    return lists[:1] or numbers


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))
