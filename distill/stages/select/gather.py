"""The pass over a pool that finds the candidates of a choice, by the engine's fold.

Of each chunk the rows are seen through the structure, and those stay that the method may need: at
most so many a cluster and in all, by priority. Priorities are drawn by the row's number, or say how
little sure labels are of it, so what stays is a sample, or the least sure rows, whatever the
chunks. Rows of former selections stay all: a method looks at what there is already.

Memory of a `Gathered`, of which `merge` holds some at once: the candidates (`Need.most` rows, at
most `SAMPLE_BYTES` of them), the rows of former selections, and 8 bytes a cluster. Nothing else
grows with the pool.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from distill.labelers.base import Matrix
from distill.labelers.structure.labeler import StructureLabeler
from distill.labels.encoding import decode
from distill.labels.label_set import LabelSet
from distill.loader.dataset import Dataset
from distill.loader.label_rows import read_label_rows
from distill.loader.sampler import Chunk
from distill.spec.selections import SelectBy, Uncertain
from distill.stages.select.candidates import Bool, Candidates, Float64, Int64, drawn
from distill.stages.select.methods.uncertain import uncertainty

SAMPLE_BYTES = 256 << 20
_ROW_BYTES = 25  # of a candidate, beside its values


@dataclass(frozen=True)
class Need:
    """What a method needs of a pool."""

    values: bool  # whether it looks at rows, and not only at their clusters
    most: int  # candidates in all
    most_of_cluster: int  # candidates of a cluster

    def rows(self, width: int) -> int:
        """Return how many candidates of `width` numbers are held at the most."""
        numbers = width if self.values else 0
        value_bytes = 4 * numbers
        row_bytes = _ROW_BYTES + value_bytes
        fitting = SAMPLE_BYTES // row_bytes
        return min(self.most, fitting)


@dataclass(frozen=True)
class Gathered:
    """What the pass has of some rows."""

    candidates: Candidates
    sizes: Int64  # (k,): usable rows of each cluster, former ones too
    # of a cluster no more than its first so many candidates are here. It never grows: what was
    # left out of some rows is left out of all, so that the chunks do not decide what stays.
    cut: int


@dataclass(frozen=True)
class Gather:
    """The pass over any chunks; what travels to the workers."""

    source: Dataset
    structure: StructureLabeler  # its last link says the clusters, where there are any
    has_clusters: bool
    # whether candidates are the first of all rows, and not the first of each cluster
    drawn_alike: bool
    labels: LabelSet | None
    by: SelectBy
    seed: int
    former: Int64  # numbers of rows that former selections have, sorted
    need: Need

    def __call__(self, chunk: Chunk) -> Gathered:
        values, cluster, row = self._seen(chunk)
        priority = drawn(self.seed, row)
        if self.labels is not None:
            sureness = self._sureness(self.labels, chunk, row)
            # rejected rows have no labels to be unsure of
            known = np.flatnonzero(~np.isnan(sureness))
            values = values[known]
            cluster = cluster[known]
            row = row[known]
            priority = sureness[known]
        is_former = np.isin(row, self.former, assume_unique=True)
        if not self.need.values:
            values = values[:, :0]  # they would be most of what travels
        candidates = Candidates(row, cluster, values, is_former, priority)
        sizes = np.bincount(cluster).astype(np.int64)
        return self._trimmed(candidates, sizes, self.need.most_of_cluster)

    def merge(self, first: Gathered, second: Gathered) -> Gathered:
        """Return what it has of both's rows."""
        parts = (first.candidates, second.candidates)
        arrays = [
            np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(Candidates)
        ]
        # a chunk counts up to its largest cluster number
        clusters = max(len(first.sizes), len(second.sizes))
        sizes = np.zeros(clusters, np.int64)
        for part in (first, second):
            sizes[: len(part.sizes)] += part.sizes
        return self._trimmed(Candidates(*arrays), sizes, min(first.cut, second.cut))

    def _seen(self, chunk: Chunk) -> tuple[Matrix, Int64, Int64]:
        """What is seen of the usable rows of a chunk, their clusters, and their numbers."""
        if not self.structure.chain:
            # no file is opened to draw rows: the labeler finds out which of them are damaged
            row = self.source.row_numbers(chunk)
            nothing = np.zeros((len(row), 0), np.float32)
            return nothing, np.zeros(len(row), np.int64), row
        features, row = self.source.usable(chunk)
        if not self.has_clusters:
            values = self.structure.label(features)
            cluster = np.zeros(len(row), np.int64)
        else:
            *below, (last, gives) = self.structure.chain
            structure = StructureLabeler(below)
            values = structure.label(features)
            numbers = last.transform(values, gives)
            cluster = numbers[:, 0].astype(np.int64)
        # numbers near the largest of float32 may have no finite image
        are_finite = np.isfinite(values)
        is_finite = are_finite.all(axis=1)
        finite = np.flatnonzero(is_finite)
        return values[finite], cluster[finite], row[finite]

    def _sureness(self, labels: LabelSet, chunk: Chunk, row: Int64) -> Float64:
        """Minus how little sure the labels are of rows of a chunk; NaN where they are rejected."""
        assert isinstance(self.by, Uncertain)
        contract = labels.contract
        topk = contract.encoding == "topk"
        temperature = self.by.temperature
        table = read_label_rows(labels, chunk)
        # a set that keeps the largest logits is read at a temperature, another one as it is
        soft = decode(table, contract, temperature if topk else None)
        found = uncertainty(soft, self.by.measure, temperature, exclusive=contract.exclusive)
        unlabelled = ~soft.labelled
        found[unlabelled] = np.nan
        first, *_ = self.source.row_numbers(chunk)
        offset = row - first
        sure = found[offset]
        sureness: Float64 = -sure
        return sureness

    def _trimmed(self, candidates: Candidates, sizes: Int64, cut: int) -> Gathered:
        """Those that stay: so many in all, as many of each cluster as of the others, the ones of the
        smallest priority."""
        most = self.need.rows(candidates.values.shape[1])
        is_free = ~candidates.is_former
        free = np.flatnonzero(is_free)
        if len(free) <= min(most, cut):
            return Gathered(candidates, sizes, cut)
        cluster = candidates.cluster[free]
        if self.drawn_alike:
            cluster = np.zeros_like(cluster)
        rank = _rank(cluster, candidates.priority[free], candidates.row[free])
        if len(free) > most:
            fitting = _fitting(rank, most)
            cut = min(cut, fitting)
        stays: Bool = candidates.is_former.copy()
        stays[free[rank < cut]] = True
        return Gathered(candidates.take(np.flatnonzero(stays)), sizes, cut)


def in_order(gathered: Gathered) -> Gathered:
    """Return the same with candidates in order of their rows."""
    order = np.argsort(gathered.candidates.row)
    return replace(gathered, candidates=gathered.candidates.take(order))


def _rank(cluster: Int64, priority: Float64, row: Int64) -> Int64:
    """Where each row stands among those of its cluster."""
    keys = (row, priority, cluster)
    order = np.lexsort(keys)
    ordered = cluster[order]
    starts = np.searchsorted(ordered, ordered)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - starts
    return rank


def _fitting(rank: Int64, most: int) -> int:
    """The most rows of a cluster of which all clusters' together are no more than `most`."""
    # one at the least, or small clusters would have none
    counts = np.bincount(rank)
    rows = np.cumsum(counts)
    return max(1, int(np.searchsorted(rows, most, side="right")))
