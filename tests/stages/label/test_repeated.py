from __future__ import annotations

import numpy as np
import pytest

from distill.stages.label.repeated import (
    Again,
    ask_again,
    largest_share,
    repeat_problem,
    rows_to_ask_again,
)
from tests.making import a_contract

DRAW = np.random.default_rng(0)
FIRST = DRAW.normal(size=(50, 3)).astype(np.float32)


def test_last_bits_of_a_device_are_told_and_dropout_is_not():
    noise = 1 + 1e-4 * DRAW.normal(size=FIRST.shape).astype(np.float32)
    assert repeat_problem(FIRST, FIRST * noise, a_contract()) is None
    dropped = FIRST * (DRAW.random(FIRST.shape) > 0.1)
    assert "asked twice about the same rows" in repeat_problem(FIRST, dropped, a_contract())
    one_row = FIRST.copy()
    one_row[17] += 0.1
    assert repeat_problem(FIRST, one_row, a_contract())


def test_small_numbers_hide_that_all_is_drawn_or_rows_near_0_are_told():
    assert largest_share(1e-6 * FIRST, 1e-6 * FIRST[::-1]) > 0.5
    near_0 = FIRST.copy()
    near_0[3] = 1e-9
    other = near_0.copy()
    other[3] = -1e-9
    assert largest_share(near_0, other) < 1e-6


def test_rows_that_are_rejected_count_or_hide_others():
    nan = np.full_like(FIRST, np.nan)
    assert largest_share(nan, nan) == 0
    assert largest_share(FIRST, nan) == np.inf
    one = FIRST.copy()
    one[0] = np.inf
    assert largest_share(one, one) == 0
    assert largest_share(np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)) == 0


@pytest.mark.parametrize(
    ("rows", "again"), [(20, 8), (1_000, 10), (20_000, 200), (60_000, 256), (10**9, 256)]
)
def test_a_check_costs_more_than_a_hundredth_or_a_batch(rows, again):
    assert rows_to_ask_again(rows, 256) == again


class Asked:
    """A labeler that notes how many rows it is asked about."""

    def __init__(self, answer):
        self.answer = answer
        self.rows = []

    def label(self, features):
        self.rows.append(len(features))
        return self.answer(features)


def problem_of(answer, unusable=(), count=8):
    labeler = Asked(answer)
    again = Again.of(FIRST.copy(), unusable, count)
    first = labeler.label(FIRST)
    return ask_again(labeler, again, first, a_contract()), labeler.rows[1:]


def drawn(features):
    return DRAW.normal(size=features.shape).astype(np.float32)


def scaled_by_batch(features):
    """As dynamic quantisation does: what stands beside a row changes it, the same each time."""
    return features / np.abs(features).max()


def only_whole_batches(features):
    if len(features) < len(FIRST):
        raise ValueError("50 rows are due")
    return features


@pytest.mark.parametrize(
    ("answer", "is_told", "rows"),
    [
        (lambda features: features * 2, False, [8]),
        (drawn, True, [8, 50]),
        (scaled_by_batch, False, [8, 50]),
        (only_whole_batches, False, [8, 50]),
    ],
)
def test_a_labeler_that_answers_alike_is_told_or_asked_about_more_rows(answer, is_told, rows):
    problem, asked = problem_of(answer)
    assert (problem is not None, asked) == (is_told, rows)


def test_rows_that_could_not_be_read_are_asked_about_again():
    again = Again.of(FIRST, range(1, 50), 8)
    assert again.rows.tolist() == [0]
    assert problem_of(drawn, unusable=range(50)) == (None, [])
