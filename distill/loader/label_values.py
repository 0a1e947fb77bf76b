"""A label set's numbers as the features of a model: embeddings that were paid for once, in place of
the pool's own columns.

They are read by row range, wherever fragments end, and no file of the pool is opened for them. A
row that the label set rejected stays rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, decode
from distill.labels.label_set import LabelSet
from distill.labels.manifest import Manifest, entries_table
from distill.loader.label_rows import read_label_rows
from distill.loader.sampler import Chunk
from distill.pools.features import Rows


@dataclass(frozen=True)
class LabelValues:
    """Values, or logits at temperature 1, of one label set over each pool of a dataset."""

    contract: Contract
    sets: tuple[LabelSet, ...]

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return self.contract.width

    @property
    def uris(self) -> Sequence[str]:
        """Where the label sets lie."""
        return [labels.folder.uri for labels in self.sets]

    @property
    def is_encrypted(self) -> bool:
        """Whether any of it is encrypted where it lies."""
        return any(labels.contract.encrypted for labels in self.sets)

    def read(self, chunk: Chunk) -> Rows:
        """Read the rows of a chunk: (B, width) float32, zeros in those that were rejected. Raises
        ContractError where some are not labelled, StorageError for lost or damaged data."""
        labels = self.sets[chunk.pool]
        soft = decode(read_label_rows(labels, chunk), self.contract)
        assert isinstance(soft, DenseLabels), (
            "checks refuse sets that keep the largest logits alone"
        )
        if soft.labelled.all():
            return Rows(soft.outputs)
        # zeros as every bad row has: what lies in a null slot is the format's affair
        values = np.where(soft.labelled[:, None], soft.outputs, np.float32(0))
        unknown = np.flatnonzero(~soft.labelled).tolist()
        reason = ("rejected", f"labels.{labels.name} rejected the row")
        return Rows(values, dict.fromkeys(unknown, reason))

    def within(self, shard: int, rows: range) -> LabelValues:
        """Return the values of some rows of a shard of the first pool alone, small enough to be
        sent with each fragment."""
        labels = self.sets[0]
        # the whole manifest of a billion rows is some megabytes
        entries = [
            entry
            for entry in labels.entries.of_shard(shard)
            if entry.start < rows.stop and rows.start < entry.start + entry.rows
        ]
        part = replace(labels, entries=Manifest(entries_table(entries)))
        return replace(self, sets=(part,))
