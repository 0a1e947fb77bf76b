"""SemDeDup, beside the authors' few lines in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from distill.stages.select.candidates import Candidates
from distill.stages.select.duplicates import find_duplicates
from tests.stages.select.drawn import drawn


def plain(candidates, threshold):
    """Sort a cluster by its cosine to the centre; a row goes where one before it is too like it."""
    repeats = np.zeros(len(candidates), bool)
    for cluster in np.unique(candidates.cluster):
        members = np.flatnonzero(candidates.cluster == cluster)
        rows = candidates.values[members].astype(float)
        centre = rows.mean(axis=0)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        order = np.argsort(rows @ centre, kind="stable")
        cosines = rows[order] @ rows[order].T
        repeats[members[order]] = (np.triu(cosines, 1) > threshold).any(axis=0)
    return repeats


@pytest.mark.parametrize("threshold", [0.9, 0.99, 0.999])
@pytest.mark.parametrize("rows", [60, 1_500])  # the latter in several blocks a cluster
def test_other_rows_are_duplicates_than_the_authors_say(threshold, rows):
    candidates = drawn(rows, clusters=2, width=4)
    found = find_duplicates(candidates, threshold)
    assert found.tolist() == plain(candidates, threshold).tolist()
    assert found.any()


def test_a_row_that_is_bought_is_bought_again_in_another_copy():
    values = np.array([[1, 0], [1, 0.001], [0, 1]], np.float32)
    is_former = np.array([False, True, False])
    candidates = Candidates(np.arange(3), np.zeros(3, np.int64), values, is_former, np.zeros(3))
    assert find_duplicates(candidates, 0.99).tolist() == [True, False, False]


def test_rows_of_zeros_or_of_other_clusters_are_alike():
    values = np.array([[0, 0], [0, 0], [1, 2], [1, 2]], np.float32)
    candidates = Candidates(
        np.arange(4), np.array([0, 0, 1, 2]), values, np.zeros(4, bool), np.zeros(4)
    )
    assert not find_duplicates(candidates, 0.9).any()
