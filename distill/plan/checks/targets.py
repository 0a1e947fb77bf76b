"""Targets that no class has: named with their counts where a run begins, and refused where a pool
has no other.

Only the first rows of a pool are read, and only its target column: enough to find a list of classes
that is cut short or spelled otherwise, and nothing that a large pool would be felt by.
"""

from __future__ import annotations

import logging
from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc

from distill.core.errors import PoolError
from distill.plan.workspace import Workspace
from distill.pools.features import class_names, decode_target
from distill.pools.open_pool import OpenPool
from distill.pools.row_cache import read_chunk
from distill.spec.outputs import Outputs

log = logging.getLogger(__name__)

_LOOKED_AT_ROWS = 100_000  # more only as long as none of them has a known target
_SHOWN_VALUES = 5

# of a value: what stands in a column is the user's, so little of it is shown and none is kept
_SHOWN_LETTERS = 40

# of the rows that were looked at, how many there are in all, with a known class (`known`) and
# with another value (`unknown`)
Targets = dict[str, int]


def check_targets(workspace: Workspace) -> None:
    """Tell which targets have no class, of all pools whose target is used. Raises PoolError where a
    pool has no others."""
    for name in _used(workspace):
        _check(workspace, name)


def _check(workspace: Workspace, name: str) -> None:
    pool = workspace.pool_like(name)
    tables = workspace.tables
    outputs = tables.pool_outputs(name)
    where = f"{tables.path}: pools.{name}.target = {pool.spec.target!r}"
    values: Counter[str] = Counter()
    found = _targets(workspace, pool, outputs, where, values)
    if found["rows"] and not found["known"]:
        instead = f"Correct pools.{name}.classes." if outputs.classes else "Name another column."
        raise PoolError(
            f"{where}: none of its {found['rows']:,} rows has a target that is"
            f" {outputs.in_words}{_listed(values)}. {instead}"
        )
    if found["unknown"]:
        log.warning(
            "%s: %s of %s rows have values that are none of its classes%s. They are left out;"
            " add them to pools.%s.classes, or spell them alike.",
            where,
            f"{found['unknown']:,}",
            f"{found['rows']:,}",
            _listed(values),
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
    evaluate = tables.evaluate
    if evaluate:
        names.append(evaluate.on)
    return [name for name in tables.pools if name in names and tables.pools[name].target]


def _targets(
    workspace: Workspace, pool: OpenPool, outputs: Outputs, where: str, values: Counter[str]
) -> Targets:
    """Return the counts, and fill in the values that have no class, where they are looked at."""
    spec = pool.spec.model_dump(mode="json", include={"target", "format"})
    looked_for = [spec, outputs.kind, list(outputs.classes), outputs.exclusive]
    content = pool.inventory.content
    inputs = ["known targets", content, looked_for]

    def look() -> Targets:
        try:
            return _look(workspace, pool, outputs, values)
        except PoolError as error:
            raise PoolError(f"{where}: {error}") from error

    found: Targets = workspace.remember("checks", inputs, look)
    return found


def _look(workspace: Workspace, pool: OpenPool, outputs: Outputs, values: Counter[str]) -> Targets:
    spec = pool.spec
    target = str(spec.target)
    classes = outputs.classes
    found = Counter(rows=0, known=0, unknown=0)
    for fragment in pool.inventory.fragments(workspace.tables.fragment_rows):
        if found["known"] and found["rows"] >= _LOOKED_AT_ROWS:
            break
        chosen = range(fragment.start, fragment.start + fragment.rows)
        column = read_chunk(pool.inventory, fragment.shard.number, chosen, (target,)).table[target]
        found["rows"] += len(column)
        if classes and outputs.exclusive:
            others = _without_class(column, classes)
            found["known"] += len(column) - column.null_count - others.total()
            found["unknown"] += others.total()
            values += others
        else:
            rejected = decode_target(column, outputs, pool.target_width(outputs)).rejected
            found["known"] += len(column) - len(rejected)
    return dict(found)


def _without_class(column: pa.ChunkedArray, classes: tuple[str, ...]) -> Counter[str]:
    """How often each value stands there that is no class; nulls are no value. Raises PoolError."""
    values = column.drop_null()
    names = class_names(values)
    others = names.filter(pc.invert(pc.is_in(names, pa.array(classes))))
    counted = pc.value_counts(others)
    pairs = zip(
        counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True
    )
    return Counter(dict(pairs))


def _listed(values: Counter[str]) -> str:
    """Return ": 'hot' 10, 'cool' 10, …"; "" where no value is there."""
    shown = [f"{_clipped(value)!r} {count:,}" for value, count in values.most_common(_SHOWN_VALUES)]
    if not shown:
        return ""
    more = ", …" if len(values) > _SHOWN_VALUES else ""
    return f": {', '.join(shown)}{more}"


def _clipped(value: str) -> str:
    return value if len(value) <= _SHOWN_LETTERS else f"{value[:_SHOWN_LETTERS]}…"
