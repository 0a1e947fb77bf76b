"""Bounded samples: the same for any cut, and drawn as their keys say."""

from __future__ import annotations

from functools import reduce
from itertools import pairwise

import numpy as np
from numpy.testing import assert_array_equal

from distill.labelers.structure.rows import Sample, sample_of, sample_of_groups, uniform

ROWS = np.arange(20_000)


def test_numbers_are_even_and_hang_on_seed_and_draw():
    drawn = uniform(0, 0, ROWS)
    assert drawn.min() > 0
    assert drawn.max() < 1
    counts, _ = np.histogram(drawn, bins=20, range=(0, 1))
    assert np.abs(counts - 1_000).max() < 150
    for seed, draw in ((0, 1), (1, 0), (2**63 - 1, 5)):
        other = uniform(seed, draw, ROWS)
        assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.03


def test_any_cut_gives_the_same_sample():
    values = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
    row = np.arange(300)
    # keys that tie: rows with smaller numbers stay
    key = np.floor(uniform(0, 0, row) * 20)
    whole = sample_of(50, values, row, key)
    for ends in ((1, 2, 3), (150,), (0, 300), (40, 80, 120)):
        cuts = pairwise([0, *ends, 300])
        parts = [sample_of(50, values[a:b], row[a:b], key[a:b]) for a, b in cuts]
        for order in (parts, parts[::-1]):
            merged = reduce(Sample.merge, order)
            assert_array_equal(merged.row, whole.row)
            assert_array_equal(merged.values, whole.values)
            assert_array_equal(merged.key, whole.key)


def test_each_group_gives_its_own_number_of_rows():
    row = np.arange(90)
    group = row % 3
    values = row[:, None].astype(np.float32)
    most = np.array([2, 0, 40])
    sample = sample_of_groups(most, values, row, uniform(0, 0, row), group)
    assert_array_equal(np.bincount(sample.group, minlength=3), [2, 0, 30])


def test_rows_without_a_finite_key_are_left_out():
    row = np.arange(5)
    key = np.array([np.inf, 1.0, np.inf, 0.0, np.inf])
    sample = sample_of(4, np.zeros((5, 2), np.float32), row, key)
    assert_array_equal(sample.row, [3, 1])


def test_weights_draw_rows_as_often():
    """−log(u)/w: the first row drawn is row i with probability w_i / Σw."""
    weights = np.array([1.0, 2.0, 5.0])
    first = []
    for draw in range(3_000):
        key = -np.log(uniform(0, draw, np.arange(3))) / weights
        first.append(int(key.argmin()))
    shares = np.bincount(first, minlength=3) / 3_000
    assert np.abs(shares - weights / 8).max() < 0.03
