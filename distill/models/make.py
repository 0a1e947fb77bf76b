"""Models that a job makes itself: a function of the user's writes one into a folder, from where it goes to where the job keeps it.

As with pools, `_making.json` claims the place first, so that somebody else's files are never written over, and `_made.json` is written last,
so that a making that was cut off begins again. What was made is then known by its sha256 like any other model.
"""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from distill.errors import JobError
from distill.job import Job, Ready
from distill.job.source import read_source
from distill.pool import MADE_MARKER, claim_folder
from distill.schema import seal
from distill.storage import open_storage

log = logging.getLogger(__name__)


def make_models(job: Job) -> None:
    """Make the models that the job says how to make, and that are not made yet. Raises JobError."""
    for name, labels in job.labels.items():
        for where, labeler in labels.members(name):
            if isinstance(labeler, Ready) and labeler.made_by is not None:
                _make(job, labeler.model, labeler.made_by, f"{where}.made_by")


def _make(job: Job, model: str, made_by: str, where: str) -> None:
    kept = open_storage(job.model_uri(model))
    if kept.read_or_none(MADE_MARKER) is not None:
        return
    path, _, function = made_by.partition(":")
    make = read_source(job.beside(path), where).load(function, where)
    claim_folder(kept, f"{job.path}: {where}", made_by)
    with tempfile.TemporaryDirectory(prefix="distill-model-") as scratch:
        folder = Path(scratch)
        make(folder)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        if not files:
            raise JobError(f"{where} = {made_by!r}: wrote no file into the folder that it was given.")
        for file in files:
            kept.put(file.relative_to(folder).as_posix(), file.read_bytes())
    kept.put(MADE_MARKER, seal({"made_by": made_by, "files": len(files)}))
    log.info("%s: made a model of %d files under %s", where, len(files), kept.uri)
