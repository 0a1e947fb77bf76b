"""Models that a job makes itself: a function of the user's writes one into a folder, from where it
goes to where the job keeps it.

One run makes it, under a lease; a second one is refused by name meanwhile. As with pools,
`_making.json` claims the place first, so that somebody else's files are never written over, and
`_made.json` is written last: a making that was cut off begins again, and what it left goes. What
was made is then known by its sha256 like any other model.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

from distill.core.errors import JobError
from distill.core.schema import digest, seal, unseal
from distill.job.job import Job
from distill.labels.lease import hold_lease
from distill.pools.claim import claim_folder, delete_stale, maker
from distill.pools.scan import MADE_MARKER
from distill.spec.ready import Ready
from distill.storage.base import Storage
from distill.storage.open import open_storage

log = logging.getLogger(__name__)


def make_models(job: Job, names: Iterable[str]) -> None:
    """Make the models of label sets that the job says how to make, and that are not made yet.
    Raises JobError, BusyError."""
    for name in names:
        for where, labeler in job.labels[name].members(name):
            if isinstance(labeler, Ready) and labeler.made_by is not None:
                _make(job, labeler.model, labeler.made_by, f"{where}.made_by")


def _make(job: Job, model: str, made_by: str, where: str) -> None:
    kept = open_storage(job.model_uri(model))
    if _is_made(kept, made_by, where):
        return
    lease = open_storage(job.root_uri).folder("making", digest(kept.uri)[:16])
    with hold_lease(lease, f"the model of {where}"):
        if _is_made(kept, made_by, where):  # by who held the lease before
            return
        claim_folder(kept, f"{job.path}: {where}", made_by, "model")
        files = _made_files(job, made_by, where)
        delete_stale(kept, files)
        for key, content in files.items():
            kept.put(key, content)
        kept.put(MADE_MARKER, seal({"made_by": made_by, "files": len(files)}))
    log.info("%s: made a model of %d files under %s", where, len(files), kept.uri)


def _is_made(kept: Storage, made_by: str, where: str) -> bool:
    """Whether it is there. Raises JobError where another maker made it."""
    content = kept.read_or_none(MADE_MARKER)
    if content is None:
        return False
    there = unseal(content, kept.url(MADE_MARKER))["made_by"]
    if there != made_by:
        raise JobError(
            f"{where} = {made_by!r}: {kept.uri} holds what {there!r} made. Give this model a place"
            " of its own."
        )
    return True


def _made_files(job: Job, made_by: str, where: str) -> dict[str, bytes]:
    make = maker(job.path.parent, made_by, where)
    with tempfile.TemporaryDirectory(prefix="distill-model-") as scratch:
        folder = Path(scratch)
        make(folder)
        files = {
            file.relative_to(folder).as_posix(): file.read_bytes()
            for file in folder.rglob("*")
            if file.is_file()
        }
    if not files:
        raise JobError(f"{where} = {made_by!r}: wrote no file into the folder that it was given.")
    return files
