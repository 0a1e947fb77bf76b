"""Shares of clusters: as equal as their sizes allow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distill.stages.select.methods.balanced import shares, shares_by_level


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20), st.integers(0, 300))
def test_a_cluster_gives_more_than_it_has_or_than_its_share(sizes, rows):
    sizes = np.array(sizes)
    given_rows = shares(sizes, rows)
    assert given_rows.sum() == min(rows, sizes.sum())
    assert (given_rows <= sizes).all()
    # who has more left gives as many as anyone, to one row
    limited = given_rows < sizes
    if limited.any():
        assert given_rows[limited].min() >= given_rows.max() - 1


@pytest.mark.parametrize("rows", [1, 7, 12, 40])
def test_a_cluster_of_many_parts_gives_more_than_one_of_few(rows):
    sizes = np.array([9, 9, 9, 9, 30])
    parents = np.array([0, 0, 0, 0, 1])
    given_rows = shares_by_level(sizes, parents, rows)
    upper = np.bincount(parents, weights=given_rows)
    assert upper.sum() == rows
    assert abs(upper[0] - upper[1]) <= 1 or given_rows[4] == 30
    assert given_rows[:4].max() - given_rows[:4].min() <= 1
    assert shares_by_level(sizes, None, rows).tolist() == shares(sizes, rows).tolist()
