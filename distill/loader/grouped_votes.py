"""What one label set says of a row, and the group that another one puts it into: what a labeler of
kind `pooled` sees. A row that either rejected stays rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from distill.loader.group_weights import group_numbers
from distill.loader.label_rows import read_label_rows
from distill.loader.label_values import LabelValues
from distill.loader.sampler import Chunk
from distill.pools.features import Rows


@dataclass(frozen=True)
class GroupedVotes:
    """Two label sets over the same pools."""

    votes: LabelValues
    groups: LabelValues

    @property
    def width(self) -> int:
        """Numbers in a row: the votes, and the group's number."""
        return self.votes.width + 1

    @property
    def uris(self) -> Sequence[str]:
        """Where the label sets lie."""
        return [*self.votes.uris, *self.groups.uris]

    @property
    def is_encrypted(self) -> bool:
        """Whether any of it is encrypted where it lies."""
        return self.votes.is_encrypted or self.groups.is_encrypted

    def read(self, chunk: Chunk) -> Rows:
        """Read the rows of a chunk: (B, width) float32. Raises ContractError where some are not
        labelled, StorageError for lost or damaged data."""
        found = self.votes.read(chunk)
        contract = self.groups.contract
        table = read_label_rows(self.groups.sets[chunk.pool], chunk)
        group = group_numbers(table, contract)
        unknown = np.flatnonzero(group < 0).tolist()
        reason = ("rejected", f"labels.{self.groups.sets[chunk.pool].name} rejected the row")
        rejected = dict.fromkeys(unknown, reason) | found.rejected
        column = np.maximum(group, 0).astype(np.float32)
        values = np.column_stack([found.values, column])
        return Rows(values, rejected)

    def within(self, shard: int, rows: range) -> GroupedVotes:
        """Return the votes of some rows of a shard of the first pool alone."""
        votes = self.votes.within(shard, rows)
        groups = self.groups.within(shard, rows)
        return replace(self, votes=votes, groups=groups)
