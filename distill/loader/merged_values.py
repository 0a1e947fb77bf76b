"""What several parties wrote of the same files, side by side: what a labeler of kind `merge` sees.

A party's label set lies under a root of its own, with an inventory of its own: its shards are found
by their ids, which say key, size and the store's token, so both are known to mean the same bytes.
Classes are brought into one order by their names. Of a `topk` set the classes that are not kept
share evenly what is left of the probability. Where a party did not label a row its numbers are NaN;
a row that none of them labelled stays rejected.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from distill.labels.encoding import DenseLabels, TopKLabels, decode
from distill.labels.label_set import LabelSet
from distill.labels.manifest import Manifest, entries_table
from distill.loader.grouped_votes import GroupedVotes
from distill.loader.label_rows import label_row_parts
from distill.loader.label_values import LabelValues
from distill.loader.sampler import Chunk
from distill.pools.features import Rows

_LOGITS_AT = 1.0
"""The temperature at which `topk` labels are read."""
Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Party:
    """One party's label set over one pool."""

    name: str
    labels: LabelSet
    shards: Mapping[int, int]
    """From the number of a shard in the pool's inventory to that in the party's own."""
    columns: tuple[int, ...] | None
    """Where the classes stand among the party's own; None where they stand alike."""

    def read(self, chunk: Chunk) -> Float:
        """Read the rows of a chunk, (B, W) float32, NaN where they are not labelled. Raises
        StorageError for lost or damaged data."""
        contract = self.labels.contract
        numbers = np.full((chunk.rows, contract.width), np.nan, np.float32)
        shard = self.shards.get(chunk.shard)
        if shard is None:
            return numbers
        theirs = replace(chunk, shard=shard)
        for first, table in label_row_parts(self.labels, theirs):
            temperature = _LOGITS_AT if contract.encoding == "topk" else None
            soft = decode(table, contract, temperature)
            outputs = (
                soft.outputs if isinstance(soft, DenseLabels) else _spread(soft, contract.width)
            )
            rows = slice(first, first + len(table))
            numbers[rows] = np.where(soft.labelled[:, None], outputs, np.float32(np.nan))
        return numbers if self.columns is None else numbers[:, list(self.columns)]

    def within(self, shard: int, rows: range) -> Party:
        """Return the party with its labels of some rows alone, small enough to be sent with each
        fragment."""
        theirs = self.shards.get(shard)
        entries = [
            entry
            for entry in (self.labels.entries.of_shard(theirs) if theirs is not None else ())
            if entry.start < rows.stop and rows.start < entry.start + entry.rows
        ]
        part = replace(self.labels, entries=Manifest(entries_table(entries)))
        shards = {} if theirs is None else {shard: theirs}
        return replace(self, labels=part, shards=shards)


@dataclass(frozen=True)
class MergedValues:
    """The parties' outputs of a row, one party after the other."""

    parties: tuple[Party, ...]
    party_width: int
    """Numbers in a row of one party."""

    @property
    def width(self) -> int:
        """Numbers in a row."""
        return len(self.parties) * self.party_width

    @property
    def uris(self) -> Sequence[str]:
        """Where the label sets lie."""
        return [party.labels.folder.uri for party in self.parties]

    @property
    def is_encrypted(self) -> bool:
        """Whether any of it is encrypted where it lies."""
        return any(party.labels.contract.encrypted for party in self.parties)

    def read(self, chunk: Chunk) -> Rows:
        """Read the rows of a chunk: (B, width) float32. Raises StorageError for lost or damaged
        data."""
        numbers = [party.read(chunk) for party in self.parties]
        values = np.concatenate(numbers, axis=1)
        nobody = np.isnan(values).all(axis=1)
        values[nobody] = 0  # as every bad row has
        reason = ("rejected", "no party labelled the row")
        return Rows(values, dict.fromkeys(np.flatnonzero(nobody).tolist(), reason))

    def within(self, shard: int, rows: range) -> MergedValues:
        """Return the values of some rows of a shard alone."""
        parties = tuple(party.within(shard, rows) for party in self.parties)
        return replace(self, parties=parties)


StoredValues = LabelValues | MergedValues | GroupedVotes
"""What a labeler may see in place of a pool's features."""


def _spread(soft: TopKLabels, width: int) -> Float:
    """Log-probabilities of all classes (B, width)."""
    kept = np.exp(soft.log_probs).sum(axis=1)
    others = max(1, width - soft.index.shape[1])
    left = np.maximum(1 - kept, np.finfo(np.float32).tiny) / others
    outputs = np.repeat(np.log(left)[:, None], width, axis=1).astype(np.float32)
    np.put_along_axis(outputs, soft.index, soft.log_probs, axis=1)
    return outputs
