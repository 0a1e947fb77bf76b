"""`distill status`: of each stage, what is done and what is left. Lists pools and reads control
objects; it reads no rows and starts no Ray."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from distill.core.errors import DistillError
from distill.job.job import Job
from distill.models.record import ModelRecord
from distill.plan.identity import find_fit, find_student, forget_labels, label_set
from distill.plan.pools import known_inventory
from distill.storage.base import Storage

Find = Callable[[], tuple[Storage, ModelRecord]]


@dataclass(frozen=True)
class StatusLine:
    """One thing that the job makes: so many of so many units are there."""

    name: str
    done: int
    total: int
    unit: str
    note: str = ""

    @property
    def left(self) -> int:
        """Units not made yet."""
        return self.total - self.done


def job_status(job: Job) -> list[StatusLine]:
    """Fits, label sets and students of a job, in the order in which they are made."""
    for name in job.labels:
        forget_labels(job, name)
    lines = [
        _found(job, f"fit.{name}", (fit.on,), partial(find_fit, job, name))
        for name, fit in job.fit.items()
    ]
    lines += [
        _labels(job, name, pool) for name, labels in job.labels.items() for pool in labels.over
    ]
    for each in job.variants:
        lines.append(
            _found(
                job, f"students.{each.name}", each.spec.taught_on, partial(find_student, job, each)
            )
        )
    return lines


def _found(job: Job, name: str, pools: Sequence[str], find: Find) -> StatusLine:
    unlisted = [pool for pool in pools if known_inventory(job, pool) is None]
    if unlisted:
        return StatusLine(name, 0, 1, "model", f"pools.{unlisted[0]} is not listed yet")
    try:
        _, record = find()
    except DistillError as error:
        return StatusLine(name, 0, 1, "model", str(error).split(". ")[0])
    return StatusLine(name, 1, 1, "model", f"{record.parameters:,} parameters")


def _labels(job: Job, name: str, pool: str) -> StatusLine:
    said = f"labels.{name} over {pool}"
    inventory = known_inventory(job, pool)
    if inventory is None:
        return StatusLine(said, 0, 0, "fragments", f"pools.{pool} is not listed yet")
    total = len(inventory.fragment_table(job.fragment_rows))
    try:
        labels = label_set(job, name, pool)
    except DistillError as error:
        return StatusLine(said, 0, total, "fragments", str(error))
    lost = labels.lost()
    rows, rejected = labels.lines.rows, labels.lines.rejected
    note = f"{rows - rejected:,} rows labelled, {rejected:,} rejected"
    return StatusLine(
        said,
        len(labels.lines) - len(lost),
        total,
        "fragments",
        note + (f", {len(lost)} lost" if lost else ""),
    )
