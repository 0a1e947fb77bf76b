"""ProbCover, beside the authors' loop in plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from distill.stages.select.methods.cover import choose_cover, pure_radius
from tests.stages.select.drawn import drawn


def _distances(candidates):
    values = candidates.values.astype(float)
    return np.linalg.norm(values[:, None] - values, axis=2)


def plain(candidates, rows, radius):
    """`ProbCover.select_samples`: edges to what is covered go, the highest degree is chosen."""
    edges = _distances(candidates) < radius
    covered = edges[candidates.is_former].any(axis=0)
    edges[:, covered] = False
    chosen = []
    for _ in range(rows):
        degrees = edges.sum(axis=1)
        degrees[candidates.is_former] = -1
        best = int(degrees.argmax())
        if not degrees[best]:
            break
        chosen.append(best)
        edges[:, edges[best]] = False
    return chosen


@pytest.mark.parametrize("former", [0, 25])
@pytest.mark.parametrize("radius", [0.4, 1.0, 2.5])
def test_other_rows_cover_than_the_authors_say(former, radius):
    candidates = drawn(300, former=former)
    expected = plain(candidates, 60, radius)
    choice = choose_cover(candidates, 60, radius)
    assert choice.position[: len(expected)].tolist() == expected
    assert len(choice.position) == 60


def test_all_is_covered_before_enough_are_chosen():
    candidates = drawn(50, former=10)
    choice = choose_cover(candidates, 45, radius=100.0)
    assert sorted(choice.position.tolist()) == np.flatnonzero(~candidates.is_former).tolist()


@pytest.mark.parametrize("purity", [0.9, 0.95, 0.99])
def test_the_radius_is_smaller_than_it_may_be_or_too_large(purity):
    candidates = drawn(400, clusters=6)
    distances = _distances(candidates)
    other = candidates.cluster[:, None] != candidates.cluster

    def pure_share(radius):
        return 1 - ((distances < radius) & other).any(axis=1).mean()

    radius = pure_radius(candidates, purity)
    assert pure_share(radius * (1 - 1e-6)) >= purity
    assert pure_share(radius * (1 + 1e-6)) < purity
