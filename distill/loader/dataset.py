"""pool ⋈ label sets, by row range: what one chunk of rows becomes for training.

A chunk is a dictionary of arrays with one entry a row. For each column that a term learns from, `<column>.weight` is 0 where the row
was rejected, by the labeler or by the reader, else 1 or what the term's `row_weight` says.

    features             (B, F) float32; images (B, H, W, C) uint8, which `as_matrix` and `models.network.as_tensor` make numbers of where
                         they are used; text (B, L) int32, the places of its n-grams, or (B,) object of str where nobody says how it is hashed
    <column>.outputs     (B, S) float32: logits or values      <column>.index, .log_probs   (B, k) for top-k sets
    <column>.target      (B,) int64, or (B, S) float32         <column>.weight              (B,) float32
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.errors import ContractError
from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, decode
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry
from distill.loader.sample_weight import row_weights
from distill.loader.sampler import WINDOW_CHUNKS, Chunk
from distill.pools.features import Rows, decode_features, decode_target
from distill.pools.formats.base import RowBatch
from distill.pools.inventory import Inventory
from distill.pools.ngrams import ngram_places
from distill.pools.row_cache import CACHE_BYTES, RowCache, read_chunk
from distill.spec.networks import Ngrams
from distill.spec.outputs import Outputs
from distill.spec.pools import Features, ImageFeatures, TextFeatures
from distill.spec.students import RowWeight
from distill.storage.open import is_remote

CHUNK_BYTES = 32 << 20
"""What a decoded chunk may take."""
FEED_BYTES = 2 << 30
"""What the chunks of all lanes may take together; a worker holds those of its lanes."""
_LANE_CHUNKS = 3 * WINDOW_CHUNKS
"""The most that a lane holds: the window that is used, and two that are read ahead (`windows`)."""

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class LabelColumn:
    """Soft labels at one temperature, from one label set over each pool of the source."""

    contract: Contract
    sets: tuple[LabelSet, ...]
    temperature: float | None
    row_weight: RowWeight | None = None
    class_weights: tuple[float, ...] | None = None
    """How much a row counts by its class, where `row_weight` is class balance."""


@dataclass(frozen=True)
class TargetColumn:
    """The target of the source's pools."""

    name: str
    outputs: Outputs
    class_weights: tuple[float, ...] | None = None
    """How much a row counts by its class."""
    width: int = 1
    """Numbers of a value."""


@dataclass(frozen=True)
class Dataset:
    """Pools whose rows are seen together, and what is learned on them."""

    inventories: tuple[Inventory, ...]
    features: Features
    width: int
    columns: Mapping[str, LabelColumn | TargetColumn] = field(default_factory=dict)
    ngrams: Ngrams | None = None
    """How text is hashed."""

    @property
    def rows(self) -> int:
        """Rows of all its pools."""
        return sum(inventory.rows for inventory in self.inventories)

    @property
    def remote(self) -> bool:
        """Whether any of it is read from elsewhere than this machine's disk."""
        labels = [
            each.folder.uri
            for column in self.columns.values()
            for each in getattr(column, "sets", ())
        ]
        return any(map(is_remote, [*(inventory.uri for inventory in self.inventories), *labels]))

    @property
    def shard_rows(self) -> list[list[int]]:
        """Rows of each shard of each pool by its number; none of a retired one."""
        return [inventory.shard_rows.tolist() for inventory in self.inventories]

    @property
    def groups(self) -> list[list[list[int]]]:
        """Rows of each row group of each of those shards, as `cut_chunks` takes them."""
        return [inventory.group_rows for inventory in self.inventories]

    @cached_property
    def row_bytes(self) -> int:
        """About what a row takes, decoded; of text that nobody hashes, not how long it is."""
        numbers = self.width if self.ngrams is None else self.ngrams.most
        labels = sum(_column_bytes(column) for column in self.columns.values())
        return numbers * (1 if isinstance(self.features, ImageFeatures) else 4) + labels + 8

    @property
    def block_rows(self) -> int:
        """Rows of a block (`Sampler`): about half of those whose row groups `pool.held` keeps
        decoded, since lanes do not end a block together."""
        return max(1, CACHE_BYTES // 2 // self.row_bytes)

    def fitting(self, rows: int, lanes: int = 1) -> int:
        """At most so many rows a chunk, and no more than memory holds of each lane's."""
        return max(
            1, min(rows, min(CHUNK_BYTES, FEED_BYTES // (lanes * _LANE_CHUNKS)) // self.row_bytes)
        )

    def chunks(self, most_rows: int) -> list[Chunk]:
        """Every row once, in (pool, shard, row) order, as many in a chunk as memory is meant to
        hold: for passes in which the order of training does not matter."""
        return [
            Chunk(number, fragment.shard.number, fragment.start, fragment.rows)
            for number, inventory in enumerate(self.inventories)
            for fragment in inventory.fragments(self.fitting(most_rows))
        ]

    def load(self, chunk: Chunk) -> Arrays:
        """The arrays of one chunk, not to be written to. Raises PoolError, StorageError,
        ContractError."""
        taken, decoded = self._read(chunk)
        usable = _usable(chunk.rows, decoded.rejected | taken.rejected)
        arrays: Arrays = {"features": self._features(decoded), "row": self._row_numbers(chunk)}
        for name, column in self.columns.items():
            made = (
                _target(taken.table, column)
                if isinstance(column, TargetColumn)
                else self._labels(chunk, column)
            )
            made["weight"] = np.multiply(made["weight"], usable, dtype=np.float32)
            arrays |= {f"{name}.{key}": values for key, values in made.items()}
        for name, values in arrays.items():
            assert len(values) == chunk.rows, name  # rows are joined by their place alone
            values.flags.writeable = False  # many may use them: who works in place needs a copy
        return arrays

    def seen(self, chunk: Chunk) -> npt.NDArray[np.generic]:
        """The features of one chunk as a labeler is given them. Raises PoolError, StorageError."""
        return self._read(chunk)[1].values

    def _features(self, decoded: Rows) -> npt.NDArray[np.generic]:
        if self.ngrams is None or not isinstance(self.features, TextFeatures):
            return decoded.values
        return ngram_places(decoded.values, self.ngrams)

    def _read(self, chunk: Chunk) -> tuple[RowBatch, Rows]:
        targets = [
            column.name for column in self.columns.values() if isinstance(column, TargetColumn)
        ]
        rows, wanted = (
            range(chunk.start, chunk.start + chunk.rows),
            (
                *self.features.columns,
                *targets,
            ),
        )
        taken = read_chunk(self.inventories[chunk.pool], chunk.shard, rows, wanted)
        return taken, decode_features(taken.table, self.features, self.width)

    @cached_property
    def _first_rows(self) -> list[npt.NDArray[np.int64]]:
        """The source-wide number of each shard's first row."""
        sizes = [rows for shards in self.shard_rows for rows in shards]
        firsts = np.concatenate([[0], np.cumsum(sizes)])[:-1].astype(np.int64)
        return np.split(firsts, np.cumsum([len(shards) for shards in self.shard_rows])[:-1])

    def _row_numbers(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        first = int(self._first_rows[chunk.pool][chunk.shard]) + chunk.start
        return np.arange(first, first + chunk.rows)

    def _labels(self, chunk: Chunk, column: LabelColumn) -> Arrays:
        soft = decode(_rows_of(column.sets[chunk.pool], chunk), column.contract, column.temperature)
        weight = soft.labelled.astype(np.float32)
        if column.row_weight is not None:
            weight *= row_weights(
                soft, column.row_weight, column.contract, column.temperature, column.class_weights
            )
        if isinstance(soft, DenseLabels):
            return {"outputs": soft.outputs, "weight": weight}
        return {"index": soft.index, "log_probs": soft.log_probs, "weight": weight}


def _rows_of(labels: LabelSet, chunk: Chunk) -> pa.Table:
    """The label rows of one chunk, wherever the set's own fragments end."""
    parts: list[pa.Table] = []
    for line in labels.entries.of_shard(chunk.shard):
        start, stop = (
            max(line.start, chunk.start),
            min(line.start + line.rows, chunk.start + chunk.rows),
        )
        if start < stop:
            table = labels.read(line) if stop - start == line.rows else _held(labels, line)
            parts.append(table.slice(start - line.start, stop - start))
    if sum(map(len, parts)) != chunk.rows:
        raise ContractError(
            f"labels.{labels.name}: rows {chunk.start}–{chunk.start + chunk.rows - 1} of shard"
            f" {chunk.shard} are not all labelled. Run `distill label`."
        )
    return pa.concat_tables(parts)


_labels: RowCache[pa.Table] = RowCache(CACHE_BYTES)


def _held(labels: LabelSet, line: ManifestEntry) -> pa.Table:
    """A fragment of which several chunks take parts."""
    return _labels.get(
        (labels.folder.uri, line.data), lambda: labels.read(line), lambda table: int(table.nbytes)
    )


def _target(table: pa.Table, column: TargetColumn) -> Arrays:
    decoded = decode_target(table[column.name], column.outputs, column.width)
    weight = _usable(len(table), decoded.rejected)
    if column.class_weights is not None:
        weight *= np.asarray(column.class_weights, np.float32)[decoded.values.astype(np.int64)]
    return {"target": decoded.values, "weight": weight}


def _column_bytes(column: LabelColumn | TargetColumn) -> int:
    if isinstance(column, TargetColumn):
        exclusive = column.outputs.classes and column.outputs.exclusive
        return 4 + (8 if exclusive else 4 * (len(column.outputs.classes) or column.width))
    contract = column.contract
    return 4 + (12 * contract.k if contract.encoding == "topk" else 4 * contract.width)


def _usable(rows: int, rejected: Mapping[int, object]) -> npt.NDArray[np.float32]:
    usable = np.ones(rows, np.float32)
    usable[list(rejected)] = 0
    return usable


def concatenate(parts: Sequence[Arrays]) -> Arrays:
    """Chunks laid end to end."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
