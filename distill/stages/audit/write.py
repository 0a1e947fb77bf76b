"""What an audit writes before anything is taught: addresses of drawn rows, and canaries.

A canary is a row that taught nothing, with a target that is not its own: what a model knows of it,
it knows by heart. Columns that are private are not read, and so not copied.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.core.failpoints import reach
from distill.plan.audit.steps import HoldOutStep
from distill.pools.features import class_names
from distill.pools.formats.registry import read_rows
from distill.pools.split import RowSet, write_split
from distill.spec.outputs import Outputs
from distill.storage.open import open_storage

CANARY_FILE = "canaries.parquet"
_BEGUN = "begun"
_DONE = "done"


def divide_pool(step: HoldOutStep) -> None:
    """Write which rows are held out and which are not, unless that is done. Raises PoolError where
    they were divided otherwise."""
    for name, rows in step.sets.items():
        folder = open_storage(step.folders[name])
        marks = open_storage(step.folders[name].rpartition("/")[0])
        # first, so that no second way of dividing adds files to those of a killed one
        marks.put_if_absent(_BEGUN, step.how.encode())
        if marks.read(_BEGUN) != step.how.encode():
            raise PoolError(
                f"pools.{name}: {marks.uri} was divided with another audit.held_out or seed, and"
                " what was taught by it has seen those rows. Set it back, or use another root."
            )
        done = f"{_DONE}-{step.content[:16]}"
        if marks.read_or_none(done) is None:
            write_split(folder, rows, step.columns)
            reach("audit.after_split")
            marks.put_if_absent(done, b"")


def write_canaries(folder_uri: str, rows: RowSet, columns: Sequence[str], truth: Outputs) -> None:
    """Write the rows with wrong targets, unless that is done."""
    folder = open_storage(folder_uri)
    if folder.read_or_none(CANARY_FILE) is not None:
        return
    tables = []
    for shard, numbers in rows.by_shard():
        span = range(int(numbers[0]), int(numbers[-1]) + 1)
        format = rows.pool.inventory.format
        read = read_rows(rows.pool.files, shard.key, span, columns, format=format)
        tables.append(read.table.take(pa.array(numbers - span.start)))
    table = pa.concat_tables(tables, promote_options="permissive")
    target = str(rows.pool.spec.target)
    place = table.schema.get_field_index(target)
    table = table.set_column(place, target, wrong_targets(table[target], truth))
    sink = pa.BufferOutputStream()
    import pyarrow.parquet as pq

    pq.write_table(table, sink)
    # who comes second finds the same rows
    folder.put_if_absent(CANARY_FILE, bytes(sink.getvalue()))


def wrong_targets(column: pa.ChunkedArray, truth: Outputs) -> pa.ChunkedArray:
    """Return for each row the target of another class, or, where there are no exclusive classes, of
    the row before."""
    if truth.kind == "value" or not truth.exclusive:
        return column.take(pa.array(np.roll(np.arange(len(column)), 1)))
    classes = pa.array(truth.classes)
    known = pc.fill_null(pc.index_in(class_names(column), classes), 0)
    numbers: npt.NDArray[np.int64] = known.to_numpy().astype(np.int64)
    # each wrong class as often as any other, and none by a draw that nobody could repeat
    steps = 1 + np.arange(len(numbers)) % (len(truth.classes) - 1)
    wrong = classes.take(pa.array((numbers + steps) % len(truth.classes)))
    return pa.chunked_array([pc.cast(wrong, column.type)])
