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
from pathlib import Path

from distill.core.errors import JobError
from distill.core.schema import digest, seal, unseal
from distill.labels.lease import hold_lease
from distill.plan.steps import MakeModelStep
from distill.pools.claim import claim_folder, delete_stale, maker
from distill.pools.listing import MADE_MARKER
from distill.storage.base import Storage
from distill.storage.open import open_storage

log = logging.getLogger(__name__)


def make_model(step: MakeModelStep) -> None:
    """Make a model where it is not made yet. Raises JobError, BusyError."""
    folder = open_storage(step.uri)
    if _is_made(folder, step):
        return
    lease = open_storage(step.root).folder("making", digest(folder.uri)[:16])
    with hold_lease(lease, f"the model of {step.where}"):
        if _is_made(folder, step):  # by who held the lease before
            return
        claim_folder(folder, f"{step.job_file}: {step.where}", step.made_by, "model")
        files = _made_files(step)
        delete_stale(folder, files)
        for key, content in files.items():
            folder.put(key, content)
        folder.put(MADE_MARKER, seal({"made_by": step.made_by, "files": len(files)}))
    log.info("%s: made a model of %d files under %s", step.where, len(files), folder.uri)


def _is_made(folder: Storage, step: MakeModelStep) -> bool:
    """Whether it is there. Raises JobError where another maker made it."""
    content = folder.read_or_none(MADE_MARKER)
    if content is None:
        return False
    there = unseal(content, folder.url(MADE_MARKER))["made_by"]
    if there != step.made_by:
        raise JobError(
            f"{step.where} = {step.made_by!r}: {folder.uri} holds what {there!r} made. Give this"
            " model a place of its own."
        )
    return True


def _made_files(step: MakeModelStep) -> dict[str, bytes]:
    """Content by name of what the user's function writes into a folder of this machine."""
    make = maker(step.job_file.parent, step.made_by, step.where)
    with tempfile.TemporaryDirectory(prefix="distill-model-") as scratch:
        folder = Path(scratch)
        try:
            make(folder)
        except ModuleNotFoundError as error:
            # a maker says itself which package has the model, and how to get it
            raise JobError(f"{step.where} = {step.made_by!r}: {error}") from error
        written = [file for file in folder.rglob("*") if file.is_file()]
        files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in written}
    if not files:
        raise JobError(
            f"{step.where} = {step.made_by!r}: wrote no file into the folder that it was given."
        )
    return files
