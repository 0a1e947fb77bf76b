"""Targets that no class has: named with their counts where a run begins, and refused where a pool
has no other.

Only the first rows of a pool are read, and only its target column: enough to find a list of classes
that is cut short or spelled otherwise, and nothing that a large pool would be felt by.
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.plan.workspace import Workspace
from distill.pools.features import decode_target
from distill.pools.open_pool import OpenPool
from distill.pools.row_cache import read_chunk
from distill.spec.outputs import Outputs

log = logging.getLogger(__name__)

_LOOKED_AT_ROWS = 100_000
"""More only as long as none of them has a known target."""
_SHOWN_VALUES = 5

Targets = dict[str, Any]
"""Of the rows that were looked at, how many there are in all, with a known class (`known`) and with
another value (`unknown`); and the most frequent of these `values` with their counts."""


def check_targets(workspace: Workspace) -> None:
    """Tell which targets have no class, of all pools whose target is used. Raises PoolError where a
    pool has no others."""
    for name in _used(workspace):
        pool = workspace.pool(name)
        outputs = workspace.tables.pool_outputs(name)
        found = _targets(workspace, pool, outputs)
        where = f"{workspace.tables.path}: pools.{name}.target = {pool.spec.target!r}"
        if found["rows"] and not found["known"]:
            instead = (
                f"Correct pools.{name}.classes." if outputs.classes else "Name another column."
            )
            raise PoolError(
                f"{where}: none of its {found['rows']:,} rows has a target that is"
                f" {outputs.in_words}{_listed(found)}. {instead}"
            )
        if found["unknown"]:
            log.warning(
                "%s: %s of %s rows have values that are none of its classes%s. They are left out;"
                " add them to pools.%s.classes, or spell them alike.",
                where,
                f"{found['unknown']:,}",
                f"{found['rows']:,}",
                _listed(found),
                name,
            )


def _used(workspace: Workspace) -> list[str]:
    """The pools whose target somebody learns, is judged, calibrated or stopped by."""
    tables = workspace.tables
    names = [fit.on for fit in tables.fit.values()]
    names += [str(labels.calibrate_on) for labels in tables.labels.values()]
    stops = [fit.early_stop for fit in tables.fit.values()]
    stops += [student.early_stop for student in tables.students.values()]
    names += [str(stop.pool) for stop in stops if stop]
    for variant in tables.job.variants:
        names += [str(term.pool) for term in variant.spec.terms]
    if tables.evaluate:
        names.append(tables.evaluate.on)
    return [name for name in tables.pools if name in names and tables.pools[name].target]


def _targets(workspace: Workspace, pool: OpenPool, outputs: Outputs) -> Targets:
    spec = pool.spec.model_dump(mode="json", include={"target", "format"})
    looked_for = [spec, outputs.kind, list(outputs.classes), outputs.exclusive]
    inputs = ["targets", pool.inventory.content, looked_for]
    found: Targets = workspace.remember("checks", inputs, lambda: _look(workspace, pool, outputs))
    return found


def _look(workspace: Workspace, pool: OpenPool, outputs: Outputs) -> Targets:
    target = str(pool.spec.target)
    rows = 0
    known = 0
    unknown: Counter[str] = Counter()
    for fragment in pool.inventory.fragments(workspace.tables.fragment_rows):
        if known and rows >= _LOOKED_AT_ROWS:
            break
        chosen = range(fragment.start, fragment.start + fragment.rows)
        column = read_chunk(pool.inventory, fragment.shard.number, chosen, (target,)).table[target]
        rejected = decode_target(column, outputs, pool.target_width(outputs)).rejected
        rows += len(column)
        known += len(column) - len(rejected)
        if outputs.classes and outputs.exclusive:
            unknown += _values(column.take(pa.array(list(rejected), pa.int64())))
    values = unknown.most_common(_SHOWN_VALUES + 1)
    return {"rows": rows, "known": known, "unknown": unknown.total(), "values": values}


def _values(column: pa.ChunkedArray) -> Counter[str]:
    """How often each value stands there; nulls are no value."""
    counted = pc.value_counts(pc.cast(column.drop_null(), pa.string()))
    pairs = zip(
        counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True
    )
    return Counter(dict(pairs))


def _listed(found: Targets) -> str:
    """Return ": 'hot' 10, 'cool' 10, …"; "" where no value is there."""
    shown = [f"{value!r} {count:,}" for value, count in found["values"][:_SHOWN_VALUES]]
    if not shown:
        return ""
    more = ", …" if len(found["values"]) > _SHOWN_VALUES else ""
    return f": {', '.join(shown)}{more}"
