"""The pass that finds candidates: the same however rows are cut, and never more than memory holds."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from distill.labelers.structure.labeler import StructureLabeler
from distill.stages.select.gather import Gather, Need, in_order

ROWS = 3_000
VALUES = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)


class Halves:
    """A structure of two clusters of unequal size."""

    def transform(self, values, gives):  # noqa: ARG002
        return (values[:, :1] > 1).astype(np.float32)


class Rows:
    """A dataset of `VALUES` whose chunks are ranges."""

    def usable(self, chunk):
        return VALUES[chunk.start : chunk.stop], np.arange(chunk.start, chunk.stop)


def gather(need, cuts, *, drawn_alike=False, former=()):
    structure = StructureLabeler(((Halves(), "cluster"),))
    former = np.array(former, np.int64)
    work = Gather(Rows(), structure, True, drawn_alike, None, None, 3, former, need)
    chunks = [range(*pair) for pair in zip([0, *cuts], [*cuts, ROWS], strict=True)]
    return in_order(reduce(work.merge, map(work, chunks)))


@pytest.mark.parametrize("drawn_alike", [False, True])
@pytest.mark.parametrize(
    "need",
    [Need(True, 400, 10**9), Need(True, 10**9, 90), Need(False, 7, 5), Need(True, 2_000, 1_600)],
)
def test_chunks_decide_what_stays(need, drawn_alike):
    former = [5, 17, 2_900]
    whole = gather(need, [], drawn_alike=drawn_alike, former=former)
    for cuts in ([1_500], [10, 900, 901, 2_000], [2_999]):
        parts = gather(need, cuts, drawn_alike=drawn_alike, former=former)
        assert parts.candidates.row.tolist() == whole.candidates.row.tolist()
        assert parts.candidates.cluster.tolist() == whole.candidates.cluster.tolist()
        assert parts.sizes.tolist() == whole.sizes.tolist()
    found = whole.candidates
    assert found.row[found.is_former].tolist() == former
    free = ~found.is_former
    assert free.sum() <= need.most
    assert np.array_equal(found.values, VALUES[found.row][:, : found.values.shape[1]])
    assert whole.sizes.tolist() == np.bincount(VALUES[:, 0] > 1).tolist()
    if not drawn_alike:
        assert np.bincount(found.cluster[free]).max() <= need.most_of_cluster


def test_a_small_cluster_is_crowded_out():
    found = gather(Need(True, 800, 10**9), [1_000]).candidates
    sizes = np.bincount(VALUES[:, 0] > 1)
    assert np.bincount(found.cluster)[1] == min(400, sizes[1])


def test_wide_rows_fill_the_memory():
    need = Need(True, 1 << 40, 1 << 40)
    assert need.rows(100_000) < 1_000
    assert Need(False, 1 << 40, 1 << 40).rows(100_000) > 10_000_000
