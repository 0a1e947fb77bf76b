"""How much each row counts by its group, as another label set than the one that is learned says it:
the cluster or unit that a structure puts it into, or the class that a teacher finds likeliest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.labels.columns import label_validity
from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, best_class, decode
from distill.labels.label_set import LabelSet
from distill.loader.label_rows import read_label_rows
from distill.loader.sample_weight import Weights
from distill.loader.sampler import Chunk

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class GroupWeights:
    """The weights of groups, and one label set over each pool of a dataset that says rows' groups."""

    contract: Contract
    sets: tuple[LabelSet, ...]
    weights: tuple[float, ...]
    """By the group's number."""

    def of(self, chunk: Chunk) -> Weights:
        """Read the weights of a chunk's rows (B,): 0 of a row that the label set rejected. Raises
        ContractError, StorageError."""
        group = group_numbers(read_label_rows(self.sets[chunk.pool], chunk), self.contract)
        by_group = np.asarray([*self.weights, 0.0], np.float32)
        weights: Weights = by_group[group]  # −1 is the last
        return weights


def group_numbers(labels: pa.Table, contract: Contract) -> Int64:
    """Return the group of each row (B,): the value, or the most probable class; −1 where a row has
    no label."""
    if contract.kind == "logits":
        return best_class(labels, contract).astype(np.int64)
    soft = decode(labels, contract)
    assert isinstance(soft, DenseLabels)
    group: Int64 = soft.outputs[:, 0].astype(np.int64)
    group[~label_validity(labels, contract)] = -1
    return group
