"""The nearest centre and sums by groups, against plain float64."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from distill.labelers.structure.centres import Centres, shift_of
from distill.labelers.structure.device import sums_on_device
from distill.labelers.structure.group_sums import group_sums
from distill.labelers.structure.kmeans_levels import TwoLevels, shared_out


def rows_and_centres(rows=5_000, k=37, width=11, offset=0.0):
    draw = np.random.default_rng(0)
    x = draw.normal(size=(rows, width)) + offset
    c = draw.normal(size=(k, width)) + offset
    return x.astype(np.float32), c.astype(np.float32)


def distances(x, c):
    return ((x[:, None].astype(np.float64) - c) ** 2).sum(axis=2)


@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_the_nearest_is_the_nearest(offset):
    x, c = rows_and_centres(offset=offset)
    shift = shift_of(x.mean(axis=0, dtype=np.float64), float(x.var(axis=0).sum()))
    assert shift.any() == (offset > 0)
    centres = Centres(c - shift, shift)
    due = distances(x, c)
    nearest, second, squares = centres.nearest_two(centres.shifted(x))
    order = due.argsort(axis=1)
    assert_array_equal(nearest, order[:, 0])
    assert_array_equal(second, order[:, 1])
    assert_allclose(squares, due.min(axis=1), rtol=1e-3, atol=1e-4)
    assert_array_equal(centres.nearest(centres.shifted(x)), order[:, 0])
    assert_allclose(centres.squares(centres.shifted(x)), due, rtol=1e-3, atol=1e-4)


def test_of_equal_centres_the_first_has_the_rows():
    x, c = rows_and_centres(k=3)
    centres = Centres(c[[0, 1, 0, 2, 1]], np.zeros(11, np.float32))
    assert set(centres.nearest(x)) <= {0, 1, 3}


@pytest.mark.parametrize("groups", [1, 7, 70_000])
def test_sums_are_those_of_float64(groups):
    x, _ = rows_and_centres(offset=100.0)
    group = np.random.default_rng(1).integers(groups, size=len(x))
    due = np.zeros((groups, 11))
    np.add.at(due, group, x.astype(np.float64))
    assert_allclose(group_sums(x, group, groups), due, rtol=1e-6)


@pytest.mark.parametrize("rows", [1, 700, 5_000])
@pytest.mark.parametrize("k", [2, 37, 2_000])
@pytest.mark.parametrize("offset", [0.0, 300.0])
def test_a_pass_by_blocks_is_another_one_than_over_all_rows(rows, k, offset):
    """Some centres have no row, one has most."""
    x, c = rows_and_centres(rows, k, offset=offset)
    c[0] = x.mean(axis=0)
    shift = np.full(11, offset, np.float32)
    centres = Centres(c - shift, shift)
    shifted = centres.shifted(x)
    nearest = centres.nearest(shifted)
    sums, counts = centres.sums(shifted)
    due = np.zeros((k, 11))
    np.add.at(due, nearest, shifted.astype(np.float64))
    assert_allclose(sums, due, rtol=1e-6, atol=1e-6 * np.abs(due).max())
    assert_array_equal(counts, np.bincount(nearest, minlength=k))


def test_sums_of_no_rows_are_zero():
    nothing = np.empty((0, 11), np.float32)
    assert not group_sums(nothing, np.empty(0, np.int64), 4).any()


def test_rows_are_compared_within_their_coarse_centre():
    x, c = rows_and_centres(k=40)
    coarse = c[:5]
    parent = np.random.default_rng(2).integers(4, size=40)
    centres = TwoLevels(Centres(c, np.zeros(11, np.float32)), coarse, parent)
    # nobody's parent is the last coarse centre, so its rows go to the next one
    cell = distances(x, coarse[:4]).argmin(axis=1)
    due = np.where(parent == cell[:, None], distances(x, c), np.inf)
    nearest, squares = centres.nearest_and_squares(x)
    assert_array_equal(nearest, due.argmin(axis=1))
    assert_array_equal(centres.nearest(x), nearest)
    assert_allclose(squares, due.min(axis=1), rtol=1e-3)


@pytest.mark.parametrize("rows", [[10, 10, 10], [100, 1, 0, 3], [1_000, 2, 2, 2], [5, 5, 5]])
def test_clusters_are_shared_out_by_rows(rows):
    rows = np.array(rows)
    clusters = min(15, rows.sum())
    given = shared_out(rows, clusters)
    assert given.sum() == clusters
    assert (given <= rows).all()
    assert (given[rows > 0] >= 1).all()
    assert rows[given.argmax()] == rows.max()


def test_a_pass_on_a_device_is_that_of_the_cpu():
    """Of torch's own CPU, which is no GPU but the same program."""
    x, c = rows_and_centres()
    centres = Centres(c, np.zeros(11, np.float32))
    nearest = centres.nearest(x)
    sums, counts = sums_on_device(x, c, "cpu")
    assert_allclose(sums, group_sums(x, nearest, len(c)), rtol=1e-5, atol=1e-4)
    assert_array_equal(counts, np.bincount(nearest, minlength=len(c)))
