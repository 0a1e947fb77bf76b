"""Measures of clusters against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import davies_bouldin_score, silhouette_score

from distill.labelers.structure import measures
from distill.labelers.structure.measures import davies_bouldin, silhouette


@pytest.fixture
def rows():
    draw = np.random.default_rng(0)
    cluster = draw.integers(7, size=500)
    x = draw.normal(size=(500, 4)) + 2 * draw.normal(size=(7, 4))[cluster]
    return x.astype(np.float32), cluster


def test_silhouette_is_scikit_learns_with_rows_that_are_alone(rows):
    x, cluster = rows
    cluster = cluster.copy()
    cluster[:2] = [10, 20]
    assert silhouette(x, cluster) == pytest.approx(silhouette_score(x, cluster), abs=1e-6)


def test_silhouette_of_one_cluster_says_nothing(rows):
    assert silhouette(rows[0], np.zeros(500, int)) is None


@pytest.mark.parametrize("block", [3, 1_024])
def test_davies_bouldin_is_scikit_learns(rows, monkeypatch, block):
    monkeypatch.setattr(measures, "_BLOCK", block)
    x, cluster = rows
    centres = np.stack([x[cluster == each].mean(axis=0) for each in range(7)])
    apart = np.linalg.norm(x - centres[cluster], axis=1)
    spread = np.bincount(cluster, apart) / np.bincount(cluster)
    due = davies_bouldin_score(x, cluster)
    assert davies_bouldin(centres, spread) == pytest.approx(due, rel=1e-5)


def test_equal_centres_are_no_division_by_zero(rows):
    centres = np.repeat(rows[0][:1], 3, axis=0)
    assert davies_bouldin(centres, np.ones(3)) == 0
