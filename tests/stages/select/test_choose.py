"""Methods on candidates that leave little to choose from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from distill.core.errors import JobError
from distill.spec.selections import Balanced, Cover, Novel, SelectBy, Typical
from distill.stages.select.choose import Seen, choose
from tests.stages.select.drawn import drawn

METHODS = [
    Novel(kind="novel", structure="groups"),
    Typical(kind="typical", structure="groups"),
    Cover(kind="cover", structure="groups"),
    Balanced(kind="balanced", structure="groups"),
]


@pytest.mark.parametrize("by", METHODS, ids=lambda by: by.kind)
@pytest.mark.parametrize("rows", [0, 9])
def test_a_pool_without_a_free_row_ends_in_a_traceback(by: SelectBy, rows):
    candidates = drawn(rows)
    candidates = replace(candidates, is_former=np.ones(rows, bool))
    seen = Seen(np.bincount(candidates.cluster), None)
    assert len(choose(by, candidates, seen, 3, seed=0).position) == 0


class Outside:
    """As a class of a plugin, which would stay registered."""

    kind = "outside"

    def __init__(self, position: list[int]) -> None:
        self.position = position

    def choose(self, *_):
        return np.array(self.position), np.zeros(len(self.position))


@pytest.mark.parametrize("position", [[1, 1], [0, 1], [-1, 2], [2, 9]])
def test_a_way_from_outside_buys_a_row_twice_or_one_that_is_not_there(position):
    candidates = drawn(9)
    candidates = replace(candidates, is_former=np.arange(9) == 0)
    seen = Seen(np.bincount(candidates.cluster), None)
    with pytest.raises(JobError, match="Return each free one once"):
        choose(Outside(position), candidates, seen, 2, seed=0)


def test_a_pool_without_rows_of_the_last_clusters_has_no_upper_level():
    candidates = drawn(40, clusters=3)
    parents = np.array([0, 1, 1, 1, 2])  # of two clusters the pool has no row
    seen = Seen(np.bincount(candidates.cluster), parents)
    choice = choose(METHODS[-1], candidates, seen, 12, seed=0)
    cluster = candidates.cluster[choice.position]
    assert np.bincount(parents[cluster]).tolist() == [6, 6]
