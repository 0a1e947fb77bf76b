"""What was found out about inputs, kept under the root by what it was found of, so that a finished
job opens no input for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from distill.core.schema import digest, seal, unseal
from distill.job.job import Job
from distill.storage.open import open_storage


def remember(job: Job, folder: str, of: Sequence[object], find: Callable[[], Any]) -> Any:
    """What `find` says, plain as JSON, asked once for one `of`; who asks at the same time writes
    the same. Raises what `find` raises, StorageError."""
    place, key = open_storage(job.root_uri).folder(folder), digest(list(of))[:32]
    memo = (folder, key)
    if memo not in job.memo:
        stored = place.read_or_none(key)
        if stored is None:
            stored = seal({folder: find()})
            place.put(key, stored)
        job.memo[memo] = unseal(stored, place.url(key)).get(folder)
    return job.memo[memo]
