"""How many numbers a row of values has, as the job and its pools tell it: before any labels are paid for, and the same afterwards.

A pool's is kept under the root once it was read, so that a finished job opens no input for it.
"""

from __future__ import annotations

from distill.job import Fitted, Job, Term, pool_outputs
from distill.job.outputs import labeler_width, term_outputs
from distill.pool import open_pool
from distill.schema import digest, seal, unseal
from distill.storage import open_storage


def term_width(job: Job, term: Term) -> int:
    """Numbers a row of what a term learns from: one a class, or as many as its values have. Raises PoolError."""
    classes = term_outputs(job, term).classes
    if classes:
        return len(classes)
    if term.label_set is None:
        return _target_width(job, str(term.pool))
    where, first = next(job.labels[term.label_set].members(term.label_set))
    return _target_width(job, job.fit[first.fit].on) if isinstance(first, Fitted) else labeler_width(job, first, where)


def _target_width(job: Job, pool: str) -> int:
    memo = ("target width", pool)
    if memo not in job.memo:
        job.memo[memo] = _kept_width(job, pool)
    width: int = job.memo[memo]
    return width


def _kept_width(job: Job, pool: str) -> int:
    opened = open_pool(job, pool)
    told = ["target width", opened.inventory.content, opened.spec.model_dump(mode="json", include={"target", "format"})]
    checks, key = open_storage(job.root_uri).folder("checks"), digest(told)[:32]
    kept = checks.read_or_none(key)
    if kept is not None:
        return int(unseal(kept, checks.url(key))["width"])
    width = opened.target_width(pool_outputs(job, pool))
    checks.put(key, seal({"width": width}))
    return width
