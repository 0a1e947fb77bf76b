"""Which rows of a batch get no label, and why: the same for `label` and for `show`; and what is said
where they are too many."""

from __future__ import annotations

import numpy as np

from distill.core.errors import RejectedError
from distill.labelers.base import Matrix
from distill.labels.commit import read_rejects
from distill.labels.contract import Contract
from distill.labels.encoding import storable
from distill.plan.steps import LabelStep
from distill.pools.formats.base import Rejected
from distill.storage.base import Storage

_NOT_STORABLE = ("output", "the labeler's answer is NaN, infinite or too large for the encoding")


def rejected_rows(outputs: Matrix, contract: Contract, unreadable: Rejected) -> Rejected:
    """Return the reason of each row that has none: of one that could not be read that is the
    reason, whatever the labeler says of the zeros in its place."""
    labelled = storable(outputs, contract)
    not_storable = np.flatnonzero(~labelled).tolist()
    return dict.fromkeys(not_storable, _NOT_STORABLE) | unreadable


def too_many_rejected(step: LabelStep, rejected: int) -> RejectedError:
    """Return the error of more rejected rows than the job allows, with one of them."""
    folders = [part.stored.labels.folder for part in step.parts]
    where = ", ".join(folder.url("rejects") for folder in folders)
    example = next(filter(None, map(_example, folders)), "")
    return RejectedError(
        f"labels.{step.name}: {rejected:,} rows were rejected, more than max_rejected_fraction ="
        f" {step.max_rejected_fraction} allows{example}. Their reasons lie under {where}. Mend"
        " the rows, or raise the limit."
    )


def _example(folder: Storage) -> str:
    """The first rejected row of a label set, behind a comma; "" where none is stored."""
    for entry in folder.folder("rejects").list_objects():
        row = read_rejects(folder, f"rejects/{entry.key}").slice(0, 1).to_pylist()[0]
        return f", such as {row['shard']}, row {row['row']} ({row['reason']}): {row['message']}"
    return ""
