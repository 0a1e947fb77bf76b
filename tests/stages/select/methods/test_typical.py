"""TypiClust, beside the authors' loop in plain numpy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from distill.stages.select.methods.typical import choose_typical
from tests.stages.select.drawn import drawn


def plain(candidates, rows, neighbours):
    """`TypiClust.select_samples` of the authors' code, with eq. 1's distances for squared ones."""
    clusters = candidates.cluster.copy()
    ids, sizes = np.unique(clusters, return_counts=True)
    former = np.array([(candidates.is_former & (clusters == each)).sum() for each in ids])
    large = sizes > 5
    table = sorted(zip(former[large], -sizes[large], ids[large], strict=True))
    clusters[candidates.is_former] = -1
    chosen = []
    for number in range(rows):
        cluster = table[number % len(table)][2]
        members = np.flatnonzero(clusters == cluster)
        values = candidates.values[members].astype(float)
        count = min(neighbours, len(members) // 2)
        distances = np.sort(np.linalg.norm(values[:, None] - values, axis=2), axis=1)
        typicality = 1 / (distances[:, 1 : count + 1].mean(axis=1) + 1e-5)
        best = members[typicality.argmax()]
        chosen.append((best, typicality.max()))
        clusters[best] = -1
    return chosen


@pytest.mark.parametrize("former", [0, 30])
@pytest.mark.parametrize(("rows", "neighbours"), [(3, 20), (7, 20), (60, 5), (100, 20)])
def test_other_rows_are_typical_than_the_authors_say(former, rows, neighbours):
    candidates = drawn(400, clusters=7, former=former)
    sizes = np.bincount(candidates.cluster, minlength=7)
    choice = choose_typical(candidates, rows, neighbours, sizes)
    expected = plain(candidates, rows, neighbours)
    assert choice.position.tolist() == [row for row, _ in expected]
    np.testing.assert_allclose(choice.score, [score for _, score in expected], rtol=1e-6)
    assert choice.reason[0] == f"typical of cluster {candidates.cluster[choice.position[0]]}"


def test_clusters_that_nobody_has_rows_of_wait():
    candidates = drawn(200, clusters=5)
    is_former = candidates.cluster != 2
    is_former &= np.random.default_rng(1).random(200) < 0.2
    candidates = replace(candidates, is_former=is_former)
    sizes = np.bincount(candidates.cluster, minlength=5)
    choice = choose_typical(candidates, 1, 20, sizes)
    assert candidates.cluster[choice.position].tolist() == [2]


def test_small_clusters_never_give_a_row_or_one_is_given_twice():
    candidates = drawn(40, clusters=12, former=5)
    sizes = np.bincount(candidates.cluster, minlength=12)
    choice = choose_typical(candidates, 1_000, 20, sizes)
    assert sorted(choice.position.tolist()) == np.flatnonzero(~candidates.is_former).tolist()
    large = sizes[candidates.cluster[choice.position]] > 5
    assert (np.diff(large.astype(int)) <= 0).all()  # small ones come last
