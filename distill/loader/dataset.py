"""pool ⋈ label sets, by row range: what one chunk of rows becomes for training.

A chunk is a dictionary of arrays with one entry a row:

    features              vectors (B, F) float32; images (B, H, W, C) uint8; text (B, L) int32, the
                          places of its n-grams, or its tokens, behind them -1; or (B,) object of
                          str where a network reads neither
    row                   (B,) int64, the row's number in the dataset
    <column>.outputs      (B, S) float32, logits or values
    <column>.index        (B, k) int64 and
    <column>.log_probs    (B, k) float32, in place of outputs, of top-k sets
                          of a column that replays views `<column>.view_1.outputs` …, of which a
                          batch has its epoch's as `<column>.outputs`
    <column>.target       (B,) int64, or (B, S) float32
    <column>.weight       (B,) float32: 0 where the row was rejected, by the labeler or by the
                          reader, else 1 or what the term's `row_weight` says

Features may also be a label set's values (`LabelValues`); no file of the pool is then opened for
them. There is a column for each term that learns. `as_matrix` and `models.network.as_tensor` make
numbers of images where they are used.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.labels.columns import view_name
from distill.labels.contract import Contract
from distill.labels.encoding import DenseLabels, SoftLabels, decode, decode_view
from distill.labels.label_set import LabelSet
from distill.loader.group_weights import GroupWeights
from distill.loader.label_rows import read_label_rows
from distill.loader.merged_values import StoredValues
from distill.loader.sample_weight import row_weights
from distill.loader.sampler import WINDOW_CHUNKS, Chunk
from distill.loader.views import Views
from distill.models.augment import Augmentation, row_seeds
from distill.models.text_tokens import padded
from distill.pools.features import Rows, decode_features, decode_target
from distill.pools.formats.base import RowBatch
from distill.pools.inventory import Inventory
from distill.pools.ngrams import ngram_places
from distill.pools.row_cache import read_chunk
from distill.pools.value_cache import CACHE_BYTES
from distill.spec.augment import Augment
from distill.spec.networks import Ngrams, TextTokens
from distill.spec.outputs import Outputs
from distill.spec.pools import Features, ImageFeatures, TextFeatures
from distill.spec.students import RowWeight
from distill.spec.uris import is_remote

CHUNK_BYTES = 32 << 20
"""What a decoded chunk may take."""
LOADER_BYTES = 2 << 30
"""What the chunks of all lanes may take together; a worker holds those of its lanes."""
# the most that a lane holds: the window that is used, and two that are read ahead (`shuffle`)
_LANE_CHUNKS = 3 * WINDOW_CHUNKS
_VIEW = ".view_"
"""Within the name of an array of one view."""

Array = npt.NDArray[np.generic]
Arrays = dict[str, Array]


@dataclass(frozen=True)
class LabelColumn:
    """Soft labels at one temperature, from one label set over each pool of the dataset."""

    contract: Contract
    sets: tuple[LabelSet, ...]
    temperature: float | None
    row_weight: RowWeight | None = None
    class_weights: tuple[float, ...] | None = None
    """How much a row counts by its class, where `row_weight` is class balance."""
    groups: GroupWeights | None = None
    """How much a row counts by its group, where `row_weight` is cluster balance."""
    replayed: bool = False
    """Whether what it says of each view is learned, in place of the row as it is."""

    @property
    def row_bytes(self) -> int:
        """What a row takes, decoded."""
        topk = self.contract.encoding == "topk"
        # an index (8) and a log-probability (4) each, or an output
        label_bytes = 12 * self.contract.k if topk else 4 * self.contract.width
        times = self.contract.views if self.replayed else 1
        return 4 + times * label_bytes  # the weight first

    def load(self, chunk: Chunk, _: pa.Table) -> Arrays:
        """Read what is learned of a chunk, by the last part of the arrays' names. Raises
        ContractError, StorageError."""
        table = read_label_rows(self.sets[chunk.pool], chunk)
        soft = decode(table, self.contract, self.temperature)
        weight = soft.labelled.astype(np.float32)
        if self.row_weight is not None:
            weight *= row_weights(
                soft, self.row_weight, self.contract, self.temperature, self.class_weights
            )
        if self.groups is not None:
            weight *= self.groups.of(chunk)
        if not self.replayed:
            return {**_parts(soft), "weight": weight}
        arrays: Arrays = {"weight": weight}
        for view in range(1, 1 + self.contract.views):
            seen = decode_view(table, self.contract, view, self.temperature)
            arrays |= {view_name(view, part): values for part, values in _parts(seen).items()}
        return arrays


@dataclass(frozen=True)
class TargetColumn:
    """The target of the dataset's pools."""

    name: str
    outputs: Outputs
    class_weights: tuple[float, ...] | None = None
    """How much a row counts by its class."""
    width: int = 1
    """Numbers of a value."""
    groups: GroupWeights | None = None
    """How much a row counts by its group."""

    @property
    def row_bytes(self) -> int:
        """What a row takes, decoded."""
        classes = len(self.outputs.classes)
        if classes and self.outputs.exclusive:
            return 4 + 8  # the weight, and the number of the class
        return 4 + 4 * (classes or self.width)

    def load(self, chunk: Chunk, table: pa.Table) -> Arrays:
        """Decode what is learned of a chunk from its rows of the pool, by the last part of the
        arrays' names. Raises PoolError."""
        target = decode_target(table[self.name], self.outputs, self.width)
        weight = _ones_but(target.rejected, len(table))
        if self.class_weights is not None:
            by_class = np.asarray(self.class_weights, np.float32)
            weight *= by_class[target.values.astype(np.int64)]
        if self.groups is not None:
            weight *= self.groups.of(chunk)
        return {"target": target.values, "weight": weight}


@dataclass(frozen=True)
class Dataset:
    """Pools whose rows are seen together, and what is learned on them."""

    inventories: tuple[Inventory, ...]
    features: Features | StoredValues
    width: int
    columns: Mapping[str, LabelColumn | TargetColumn] = field(default_factory=dict)
    ngrams: Ngrams | None = None
    """How text is hashed."""
    tokens: TextTokens | None = None
    """How text is cut into tokens."""
    augment: Augment | None = None
    """How images are altered before they are learned from."""
    views: Views | None = None
    """How images were altered when they were labelled: epochs see these views, and learn what the
    labeler answered of them."""

    @property
    def rows(self) -> int:
        """Rows of all its pools."""
        return sum(inventory.rows for inventory in self.inventories)

    @property
    def remote(self) -> bool:
        """Whether any of it is read from elsewhere than this machine's disk."""
        uris = [inventory.uri for inventory in self.inventories]
        if isinstance(self.features, StoredValues):
            uris += self.features.uris
        # labels may lie under another root than the pools do
        for column in self.columns.values():
            if isinstance(column, LabelColumn):
                uris += [labels.folder.uri for labels in column.sets]
        return any(is_remote(uri) for uri in uris)

    @property
    def is_kept_near(self) -> bool:
        """Whether its chunks are kept on this machine's disk, so that no later epoch makes them
        again: they come from elsewhere, or are text that became tokens or places of n-grams. What
        is encrypted where it lies is not: these files would be plain."""
        is_read_text = self.tokens is not None or self.ngrams is not None
        return not self._is_encrypted and (is_read_text or self.remote)

    @property
    def _is_encrypted(self) -> bool:
        """Whether any of its label sets is, also those whose numbers are its features."""
        if isinstance(self.features, StoredValues) and self.features.is_encrypted:
            return True
        return any(map(self.is_encrypted, self.columns))

    def is_encrypted(self, column: str) -> bool:
        """Whether a column is of labels that are encrypted where they lie."""
        labels = self.columns.get(column)
        if not isinstance(labels, LabelColumn):
            return False
        return any(each.contract.encrypted for each in labels.sets)

    @property
    def cut_texts(self) -> int:
        """How many texts were longer than is read of them, of the chunks that were loaded here."""
        return sum(self._cut.values())

    @cached_property
    def _cut(self) -> dict[Chunk, int]:
        """The same by chunk: some are loaded more than once."""
        return {}

    @property
    def padding(self) -> int | None:
        """What ends the rows of texts that are shorter than others: 0 places of n-grams, -1 tokens;
        None where rows are no text."""
        if not isinstance(self.features, TextFeatures):
            return None
        return -1 if self.ngrams is None else 0

    @property
    def groups(self) -> list[list[list[int]]]:
        """Rows of each row group of each shard of each pool, as `cut_chunks` takes them; none of a
        retired shard."""
        return [inventory.group_rows for inventory in self.inventories]

    @cached_property
    def row_bytes(self) -> int:
        """About what a row takes, decoded; of text that is not hashed, not how long it is."""
        numbers = self.width
        if self.tokens is not None:
            numbers = self.tokens.most
        elif self.ngrams is not None:
            numbers = self.ngrams.most
        # images stay bytes until they are used
        number_bytes = 1 if isinstance(self.features, ImageFeatures) else 4
        columns = sum(column.row_bytes for column in self.columns.values())
        return numbers * number_bytes + columns + 8  # the row's number

    @property
    def block_rows(self) -> int:
        """Rows of a block (`Sampler`)."""
        # half of what `pools.row_cache` keeps decoded, since lanes do not end a block together
        return max(1, CACHE_BYTES // 2 // self.row_bytes)

    def fitting(self, rows: int, lanes: int = 1) -> int:
        """Return at most so many rows a chunk, and no more than memory holds of each lane's."""
        lane_bytes = LOADER_BYTES // (lanes * _LANE_CHUNKS)
        chunk_rows = min(CHUNK_BYTES, lane_bytes) // self.row_bytes
        return max(1, min(rows, chunk_rows))

    def chunks(self, most_rows: int) -> list[Chunk]:
        """Return every row once, in (pool, shard, row) order, as many in a chunk as memory is meant
        to hold: for passes in which the order of training does not matter."""
        chunk_rows = self.fitting(most_rows)
        return [
            Chunk(pool, fragment.shard.number, fragment.start, fragment.rows)
            for pool, inventory in enumerate(self.inventories)
            for fragment in inventory.fragments(chunk_rows)
        ]

    def load(self, chunk: Chunk) -> Arrays:
        """Read the arrays of one chunk, not to be written to. Raises PoolError, StorageError,
        ContractError."""
        batch, features = self._read(chunk)
        rejected = features.rejected | batch.rejected
        usable = _ones_but(rejected, chunk.rows)
        arrays: Arrays = {
            "features": self._as_seen(features.values, chunk),
            "row": self.row_numbers(chunk),
        }
        for name, column in self.columns.items():
            learned = column.load(chunk, batch.table)
            # a row that the reader rejected counts for no column
            learned["weight"] = np.multiply(learned["weight"], usable, dtype=np.float32)
            arrays |= {f"{name}.{part}": values for part, values in learned.items()}
        for name, values in arrays.items():
            # rows are joined by their position alone
            assert len(values) == chunk.rows, name
            # many may use them: who works in place needs a copy
            values.flags.writeable = False
        return arrays

    def alter(self, images: Array, rows: npt.NDArray[np.int64], seed: int, epoch: int) -> None:
        """Alter images (B, H, W, C) in place, as they are learned from in an epoch; `rows` are
        their numbers in the dataset, -1 of padding. Nothing is done where nothing is altered."""
        augmentation = self._augmentation
        views = self.views
        if augmentation is None and views is None:
            return
        there = np.flatnonzero(rows >= 0)
        pixels = images[there].astype(np.uint8, copy=False)
        if views is not None:
            shards, numbers = self._addresses(rows[there])
            images[there] = views.alter(pixels, views.of_epoch(epoch), shards, numbers)
        elif augmentation is not None:
            # of the row and not of its place in a batch: the same for any number of workers and
            # lanes
            images[there] = augmentation(pixels, row_seeds(seed, epoch, rows[there]))

    def array_names(self, names: Iterable[str], epoch: int) -> dict[str, str]:
        """Return as what an epoch's batches have each array of a chunk, by its name there; those of
        other views are left out."""
        if self.views is None:
            return {name: name for name in names}
        mark = f".{view_name(self.views.of_epoch(epoch), '')}"
        return {
            name: name.replace(mark, ".") for name in names if _VIEW not in name or mark in name
        }

    @cached_property
    def _augmentation(self) -> Augmentation | None:
        return None if self.augment is None else Augmentation(self.augment)

    def seen(self, chunk: Chunk) -> Array:
        """Read the features of one chunk as a labeler is given them. Raises PoolError,
        StorageError."""
        _, features = self._read(chunk)
        return features.values

    def usable(self, chunk: Chunk) -> tuple[Array, npt.NDArray[np.int64]]:
        """Read the features of those rows of a chunk that the reader does not reject, and their
        numbers in the dataset. Raises as `load` does."""
        batch, features = self._read(chunk)
        is_usable = _ones_but(features.rejected | batch.rejected, chunk.rows) > 0
        return features.values[is_usable], self.row_numbers(chunk)[is_usable]

    def learned(self, chunk: Chunk, name: str) -> Arrays:
        """Read what one column learns of a chunk, by the last part of the arrays' names; features
        are not decoded for it. Raises as `load` does."""
        column = self.columns[name]
        names = [column.name] if isinstance(column, TargetColumn) else []
        return column.load(chunk, self._columns(chunk, names).table)

    def chunk_of(self, row: int) -> Chunk:
        """Return the one row of that number as a chunk."""
        for pool, first_rows in enumerate(self._first_rows):
            # of shards without rows, which begin where the next one does, the last one has the row
            shard = int(np.searchsorted(first_rows, row, side="right")) - 1
            start = row - int(first_rows[shard])
            if start < self.inventories[pool].shard_rows[shard]:
                return Chunk(pool, shard, start, 1)
        raise IndexError(f"row {row} of {self.rows}")

    def _read(self, chunk: Chunk) -> tuple[RowBatch, Rows]:
        """The columns of the pool that a chunk needs, and the features decoded."""
        columns = self.columns.values()
        targets = [column.name for column in columns if isinstance(column, TargetColumn)]
        if isinstance(self.features, StoredValues):
            return self._columns(chunk, targets), self.features.read(chunk)
        batch = self._columns(chunk, [*self.features.columns, *targets])
        return batch, decode_features(batch.table, self.features, self.width)

    def _columns(self, chunk: Chunk, names: Sequence[str]) -> RowBatch:
        """Columns of the pool. Where none is asked for, no file is opened."""
        if not names:
            return RowBatch(pa.table({}))
        rows = range(chunk.start, chunk.start + chunk.rows)
        return read_chunk(self.inventories[chunk.pool], chunk.shard, rows, tuple(names))

    def _as_seen(self, features: Array, chunk: Chunk) -> Array:
        """The features as the student sees them: text as its n-grams or its tokens."""
        if not isinstance(self.features, TextFeatures):
            return features
        if self.tokens is not None:
            texts = features.tolist()
            encoded, cut = self.tokens.encode_counted(texts)
            self._cut[chunk] = cut
            return padded(encoded, self.tokens.most)
        return features if self.ngrams is None else ngram_places(features, self.ngrams)

    def row_numbers(self, chunk: Chunk) -> npt.NDArray[np.int64]:
        """Return the numbers of a chunk's rows in the dataset."""
        first = int(self._first_rows[chunk.pool][chunk.shard]) + chunk.start
        return np.arange(first, first + chunk.rows)

    def _addresses(
        self, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """The shard of each row of the dataset, and its number there."""
        starts = np.concatenate(self._first_rows)
        numbers = [np.arange(len(pool)) for pool in self._first_rows]
        # of shards without rows, which begin where the next one does, the last one has the row
        place = np.searchsorted(starts, rows, side="right") - 1
        return np.concatenate(numbers)[place], rows - starts[place]

    @cached_property
    def _first_rows(self) -> list[npt.NDArray[np.int64]]:
        """The number of each shard's first row among all rows of the dataset."""
        pools = [inventory.shard_rows for inventory in self.inventories]
        sizes = np.concatenate(pools)
        # the numbers go on from pool to pool, so that each row of the dataset has its own
        pool_ends = np.cumsum([len(pool) for pool in pools])
        return np.split(np.cumsum(sizes) - sizes, pool_ends[:-1])


def _parts(soft: SoftLabels) -> Arrays:
    """Soft labels by the last part of the arrays' names."""
    if isinstance(soft, DenseLabels):
        return {"outputs": soft.outputs}
    return {"index": soft.index, "log_probs": soft.log_probs}


def _ones_but(rejected: Collection[int], rows: int) -> npt.NDArray[np.float32]:
    """A weight of 1 for each row but the rejected ones."""
    weights = np.ones(rows, np.float32)
    weights[list(rejected)] = 0
    return weights
