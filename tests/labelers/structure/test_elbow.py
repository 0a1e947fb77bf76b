from __future__ import annotations

import numpy as np
import pytest

from distill.labelers.structure.elbow import elbow

DRAW = np.random.default_rng(0)
CORNERS = 20 * np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


def rows(count=800, at=0.0):
    return (at + CORNERS[DRAW.integers(4, size=count)] + DRAW.normal(size=(count, 2))).astype(
        np.float32
    )


@pytest.mark.parametrize("at", [0.0, 3_000.0])
def test_the_bend_is_elsewhere_than_at_the_number_of_groups(at):
    found = dict(elbow(rows(at=at), 4))
    assert list(found) == sorted(found)
    assert {1, 4, 8} <= set(found)
    assert found[1] == pytest.approx(200 + 2, rel=0.05)
    assert found[4] == pytest.approx(2, rel=0.1)  # the noise of two columns
    assert found[8] > found[4] / 3
    falling = list(found.values())
    assert falling == sorted(falling, reverse=True)


def test_more_clusters_are_drawn_than_rows_can_tell():
    assert [k for k, _ in elbow(rows(100), 50)][-1] == 12
    assert elbow(rows(12), 5) == []


def test_the_same_rows_have_another_elbow():
    x = rows()
    assert elbow(x, 6) == elbow(x, 6)
