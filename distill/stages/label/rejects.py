"""Which rows of a batch get no label, and why: the same for `label` and for `show`."""

from __future__ import annotations

import numpy as np

from distill.labelers.base import Matrix
from distill.labels.contract import Contract
from distill.labels.encoding import storable
from distill.pools.formats.base import Rejected

_NOT_STORABLE = ("output", "the labeler's answer is NaN, infinite or too large for the encoding")


def rejected_rows(outputs: Matrix, contract: Contract, unreadable: Rejected) -> Rejected:
    """Return the reason of each row that has none: of one that could not be read that is the
    reason, whatever the labeler says of the zeros in its place."""
    labelled = storable(outputs, contract)
    not_storable = np.flatnonzero(~labelled).tolist()
    return dict.fromkeys(not_storable, _NOT_STORABLE) | unreadable
