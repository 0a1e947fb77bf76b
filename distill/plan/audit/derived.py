"""The jobs that an audit runs beside the one that it audits: the same networks, terms and trainings,
on other rows of the labelled pool.

What the labelled rows taught lies under a root of the derived job's own; all else (other pools,
their inventories, the labels of teachers that those rows did not teach) is the audited job's, and
nothing of it is made or paid for twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from distill.job.job import Job
from distill.plan.audit.subjects import dependent_keys
from distill.plan.order import all_needed
from distill.plan.tables import JobTables
from distill.pools.formats.selection import SelectionShard
from distill.spec.audit import Audit
from distill.spec.labels import Labels
from distill.spec.pools import Pool
from distill.spec.students import Student

TRIED = "audit.tried"
"""The pool of the rows of both kinds that are tried, and the one of canaries. No job can name a pool
so."""
CANARIES = "audit.canaries"


def derived_job(
    tables: JobTables, audit: Audit, keys: Sequence[str], root: str, rows_uri: str, *, asked: Pools
) -> Job:
    """Return the job that teaches the things of `keys`, and what they need, from the addresses under
    `rows_uri` in place of the labelled pool, and labels the pools `asked` too."""
    needed = all_needed(tables, keys)
    own = dependent_keys(tables, audit, keys)
    students = _named(tables.students, "students", needed)
    sweep = {
        name: table for name, table in tables.sweep.items() if set(table.students) <= set(students)
    }
    labels = _named(tables.labels, "labels", needed)
    # a pool of millions that nobody learns from is not labelled again for each shadow
    for name in labels:
        if f"labels.{name}" in own:
            labels[name] = _with_pools(labels[name], _learned_from(name, students), asked)
    pools = {**tables.pools, **asked}
    pools[audit.members] = rows_pool(tables.pools[audit.members], rows_uri)
    update = {
        "pools": pools,
        "fit": _named(tables.fit, "fit", needed),
        "structure": _named(tables.structure, "structure", needed),
        "select": _named(tables.select, "select", needed),
        "labels": labels,
        "students": students,
        "sweep": sweep,
        **dict.fromkeys(("evaluate", "gate", "audit", "budget")),
    }
    lie_there = {f"pools.{name}" for name in (audit.members, *asked)}
    return tables.job.derived(root, frozenset(own | lie_there), update)


Pools = Mapping[str, Pool]


def rows_pool(like: Pool, uri: str) -> Pool:
    """Return the pool of the addresses under a URI, whose rows are like those of another pool."""
    made = {"path": uri, "format": SelectionShard.name, "csv": None, "made_by": None}
    return like.model_copy(update={**made, "on_change": "refuse"})


def _named(table: Mapping[str, Any], kind: str, needed: Iterable[str]) -> dict[str, Any]:
    keys = set(needed)
    return {name: each for name, each in table.items() if f"{kind}.{name}" in keys}


def _learned_from(name: str, students: Mapping[str, Student]) -> set[str]:
    """Return the pools over which students learn a label set, or are stopped by it."""
    pools: set[str] = set()
    for student in students.values():
        if any(term.label_set == name for term in student.terms):
            pools.update(student.on)
        stop = student.early_stop
        if stop is not None and stop.label_set == name:
            pools.add(str(stop.over))
    return pools


def _with_pools(labels: Labels, learned: Iterable[str], asked: Pools) -> Labels:
    """Return the label set over the pools that students learn from and those that are asked."""
    wanted = set(learned)
    over = [pool for pool in labels.over if pool in wanted]
    return labels.model_copy(update={"over": (*over, *asked)})
