"""What a label set says of rows as probabilities of all classes that somebody asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from distill.labelers.base import probabilities_of
from distill.spec.outputs import Outputs

Array = npt.NDArray[np.float64]


def label_probabilities(
    read: Mapping[str, npt.NDArray[np.generic]], outputs: Outputs, classes: Sequence[str]
) -> Array:
    """Return (B, C) of `classes`, of what a `LabelColumn` at temperature 1 read; a class that the
    labels lack gets 0. What a set that keeps the top k did not keep is spread evenly."""
    if "index" in read:
        own = spread_topk(read["index"], read["log_probs"], len(outputs.classes))
    else:
        own = probabilities_of(read["outputs"].astype(np.float64), outputs)
    return by_name(own, outputs.classes, classes)


def spread_topk(
    index: npt.NDArray[np.generic], log_probs: npt.NDArray[np.generic], classes: int
) -> Array:
    """Return (B, C): the stored probabilities in their places; what they lack of 1 is spread evenly
    over the classes that were not stored."""
    index_Bk = index.astype(np.int64)
    probs_Bk = np.exp(log_probs.astype(np.float64))
    others = max(classes - index_Bk.shape[1], 1)
    # at least 0, where the sum of what was stored rounds above 1
    missing_B1 = np.maximum(1 - probs_Bk.sum(axis=1, keepdims=True), 0)
    probs_BC = np.repeat(missing_B1 / others, classes, axis=1)
    np.put_along_axis(probs_BC, index_Bk, probs_Bk, axis=1)
    return probs_BC


def by_name(own: Array, names: Sequence[str], classes: Sequence[str]) -> Array:
    """Return the columns moved to other classes' places, by name."""
    if tuple(names) == tuple(classes):
        return own
    positions = {name: column for column, name in enumerate(classes)}
    moved = np.zeros((len(own), len(classes)))
    for column, name in enumerate(names):
        if name in positions:
            moved[:, positions[name]] = own[:, column]
    return moved
