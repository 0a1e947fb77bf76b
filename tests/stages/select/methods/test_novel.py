"""k-center, beside a loop over all pairs."""

from __future__ import annotations

import numpy as np

from distill.stages.select.methods.novel import choose_novel
from tests.stages.select.drawn import drawn


def plain(candidates, rows, first):
    values = candidates.values.astype(float)
    distances = np.linalg.norm(values[:, None] - values, axis=2)
    seen = [*np.flatnonzero(candidates.is_former), *first]
    chosen = list(first)
    while len(chosen) < rows:
        nearest = distances[seen].min(axis=0)
        nearest[seen] = -1
        chosen.append(int(nearest.argmax()))
        seen.append(chosen[-1])
    return chosen


def test_a_row_nearer_to_what_is_labelled_comes_before_a_further_one():
    candidates = drawn(300, former=300 // 5)
    choice = choose_novel(candidates, 40)
    assert choice.position.tolist() == plain(candidates, 40, [])
    assert (np.diff(choice.score) <= 1e-9).all()


def test_without_a_former_selection_the_first_row_is_always_the_same():
    candidates = drawn(300)
    choice = choose_novel(candidates, 30)
    first = int(choice.position[0])
    assert choice.position.tolist() == plain(candidates, 30, [first])
    assert first == candidates.priority.argmin()


def test_more_are_chosen_than_there_are():
    candidates = drawn(20, former=6)
    choice = choose_novel(candidates, 100)
    assert sorted(choice.position.tolist()) == np.flatnonzero(~candidates.is_former).tolist()
