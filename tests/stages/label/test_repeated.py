from __future__ import annotations

import numpy as np

from distill.stages.label.repeated import largest_share, repeat_problem
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
