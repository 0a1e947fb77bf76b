from __future__ import annotations

from functools import reduce
from operator import add

import numpy as np

from distill.stages.evaluate import slice_sums
from distill.stages.evaluate.slice_sums import OTHERS, SliceSums
from distill.stages.slicings import binned

ROWS = 500


def parts(values, table, score, size):
    row = np.arange(ROWS)
    found = []
    for start in range(0, ROWS, size):
        part = slice(start, start + size)
        found.append(SliceSums.of(values[part], table[part], row[part], score[part]))
    return found


def made(seed, kinds):
    draw = np.random.default_rng(seed)
    values = np.array([f"v{number}" for number in draw.integers(kinds, size=ROWS)], object)
    return values, draw.random((ROWS, 2)), np.round(draw.random(ROWS), 1)


def test_slices_depend_on_how_rows_were_cut_or_in_which_order_they_came():
    values, table, score = made(0, 7)
    whole = reduce(add, parts(values, table, score, ROWS))
    for size, turned in ((13, False), (13, True), (100, True)):
        cut = parts(values, table, score, size)
        other = reduce(add, reversed(cut) if turned else cut)
        assert other.values == whole.values
        np.testing.assert_allclose(other.sums, whole.sums)
        np.testing.assert_array_equal(other.rows, whole.rows)
    for line, value in enumerate(whole.values):
        mine = values == value
        np.testing.assert_allclose(whole.sums[line], table[mine].sum(axis=0))
        assert score[whole.rows[line]].min() >= np.sort(score[mine])[-3]


def test_rows_of_many_values_are_lost(monkeypatch):
    monkeypatch.setattr(slice_sums, "MOST_VALUES", 20)
    values, table, score = made(1, 90)
    one, other = (reduce(add, parts(values, table, score, size)) for size in (11, 250))
    assert one.values == other.values
    assert OTHERS in one.values
    assert len(one.values) == 21
    np.testing.assert_allclose(one.sums, other.sums)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_allclose(one.sums.sum(axis=0), table.sum(axis=0))


def test_no_rows_have_slices():
    empty = SliceSums.of(np.array([], object), np.zeros((0, 2)), np.zeros(0, int), np.zeros(0))
    values, table, score = made(2, 3)
    (whole,) = parts(values, table, score, ROWS)
    assert (empty + whole).values == whole.values


def test_a_number_at_an_edge_is_in_two_bins_or_in_none():
    found = binned(np.array([0.0, 1.0, 4.9, 5.0, np.nan]), (1.0, 5.0)).tolist()
    assert found == ["below 1", "1 to 5", "1 to 5", "from 5", "(none)"]
