"""What is seen of a fitted structure over one pool, as plain values: the report draws it.

Everything here is bounded: a sample of rows for the map of the pool, a few clusters with a few rows
each. Values of private columns are never in it, since no reader reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.core.plain import Plain


@dataclass(frozen=True, kw_only=True)
class ExampleRow:
    """One row that stands for its cluster."""

    shard: str
    row: int
    text: str = ""  # of a text pool, cut to its first characters
    png: str = ""  # of an image pool, in base64


@dataclass(frozen=True, kw_only=True)
class Cluster(Plain):
    """One cluster, or one unit of a map."""

    number: int
    rows: int
    # rows by the pool's target, where it has one; the most frequent first
    classes: Mapping[str, int]
    nearest: Sequence[ExampleRow] = ()  # the rows nearest to its centre, the nearest first


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Rows drawn from the pool, in two dimensions: the first two principal axes of the centres."""

    x: Sequence[float]
    y: Sequence[float]
    cluster: Sequence[int]
    target: Sequence[int]  # number of the row's class; −1 where it is not known


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The map of a SOM, row by row."""

    rows: int
    columns: int
    hexagonal: bool
    distances: Sequence[float]  # U-matrix: mean distance of a unit to its neighbours
    hits: Sequence[int]  # rows of the pool whose nearest unit it is


@dataclass(frozen=True, kw_only=True)
class StructureResult(Plain):
    """One structure over one pool."""

    name: str
    kind: str  # `pca`, `kmeans` or `som`
    of: str  # what it was fitted on
    pool: str
    rows: int
    left_out: int  # rows that could not be read as numbers
    # `silhouette` (on the sample), `davies_bouldin`, `inertia`, `quantization_error`,
    # `topographic_error`, `explained`, as far as the kind has them
    measures: Mapping[str, float]
    explained: Sequence[float] = ()  # share of the variance of each principal component
    passes: Sequence[Mapping[str, float]] = ()  # measures of each pass of the fit
    clusters: Sequence[Cluster] = ()  # the largest first
    all_clusters: int = 0
    classes: Sequence[str] = ()
    sample: Sample | None = None
    grid: Grid | None = None
    # of a k-means: numbers of clusters, each with the inertia a row of drawn rows
    elbow: Sequence[Sequence[float]] = ()


@dataclass(frozen=True, kw_only=True)
class ClusterDrift:
    """One cluster's part of a drift."""

    number: int
    before: float  # share of the rows that the structure was fitted on
    now: float  # share of the pool's rows
    index: float  # its summand of the population stability index


@dataclass(frozen=True, kw_only=True)
class DriftResult(Plain):
    """A pool held against the rows that a structure was fitted on."""

    name: str
    pool: str
    rows: int
    left_out: int
    index: float  # population stability index: Σ (now − before)·ln(now / before) over the clusters
    worst: Sequence[ClusterDrift]  # the clusters that add most to it, the worst first
