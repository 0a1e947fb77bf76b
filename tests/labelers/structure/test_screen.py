"""Centres that are found in bfloat16 are those of the float32 product, to the last tie."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from distill.labelers.structure import centres as centres_module
from distill.labelers.structure.centres import Centres
from distill.labelers.structure.screen import Screen, is_screened, multiplies_bfloat16


def grouped(rows, k, width, groups=30):
    """Rows of some groups, and centres among them."""
    draw = np.random.default_rng(5)
    middles = 3 * draw.normal(size=(groups, width))
    x = middles[draw.integers(groups, size=rows)] + draw.normal(size=(rows, width))
    c = middles[np.arange(k) % groups] + 0.5 * draw.normal(size=(k, width))
    return x.astype(np.float32), c.astype(np.float32)


def by_product(x, c):
    return Centres(c, np.zeros(len(c[0]), np.float32))._nearest_by_product(x)


def screened(x, c):
    """The rows that the screen decides, and their centres, of which none may be another."""
    halves = -Centres(c, np.zeros(len(c[0]), np.float32))._across[-1]
    nearest, left = Screen(c, halves).nearest(x)
    decided = np.setdiff1d(np.arange(len(x)), left)
    assert len(decided) + len(left) == len(x)
    with np.errstate(all="ignore"):
        due = by_product(x, c)
    assert_array_equal(nearest[decided], due[decided])
    return decided


@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1.0, 1e3, 1e14])
@pytest.mark.parametrize(("k", "width"), [(150, 9), (40, 64), (700, 33), (300, 256), (9, 1_100)])
def test_another_centre_is_found_or_few_rows_are_decided(k, width, scale):
    x, c = grouped(600, k, width, groups=k)
    decided = screened(x * np.float32(scale), c * np.float32(scale))
    assert len(decided) > 500


@pytest.mark.parametrize("apart", [1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 0.0])
def test_a_near_tie_goes_to_the_other(apart):
    """Of each centre there is another one close by, and rows between them and upon them."""
    x, c = grouped(1_100, 130, 64)
    away = np.random.default_rng(6).normal(size=c.shape)
    twins = (c + apart * away).astype(np.float32)
    between = (c + twins) / 2
    both = np.concatenate([c, twins])
    screened(np.concatenate([x, c, between, twins]), both)
    assert is_screened(len(both), 64, len(x)) == multiplies_bfloat16()
    found = Centres(both, np.zeros(64, np.float32)).nearest(x)
    assert_array_equal(found, by_product(x, both))


@pytest.mark.skipif(not multiplies_bfloat16(), reason="nothing is screened")
@pytest.mark.parametrize("ties", [1, 5, 1_025])
def test_few_rows_that_are_left_go_to_another_than_among_all(ties):
    """Of one row, or few, BLAS sums in another order."""
    draw = np.random.default_rng(8)
    for width in [64, 100, 256, 300] * 5:
        c = draw.normal(size=(257, width)).astype(np.float32)
        x = c[draw.integers(257, size=2_048)]
        for row in draw.choice(2_048, ties, replace=False):
            one, other = draw.choice(257, 2, replace=False)
            x[row] = (c[one] + c[other]) / 2
        found = Centres(c, np.zeros(width, np.float32)).nearest(x)
        assert_array_equal(found, by_product(x, c))


def test_rows_of_few_values_and_zeros_are_told_by_their_rounding():
    x = np.random.default_rng(7).integers(-3, 4, size=(700, 20)).astype(np.float32)
    c = np.concatenate([x[:40], np.zeros((2, 20), np.float32), x[:3]])
    screened(x, c)
    screened(np.zeros((5, 20), np.float32), c)
    screened(1 + x * np.float32(2**-12), 1 + c * np.float32(2**-12))


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e-20, 1e-16, 1e17, 1e19, 1e37])
def test_rows_beyond_its_numbers_are_decided_wrong(scale):
    x, c = grouped(300, 40, 30)
    with np.errstate(all="ignore"):
        screened(x * np.float32(scale), c * np.float32(scale))
        mixed = np.where(np.arange(300)[:, None] % 2, x * np.float32(scale), x)
        screened(mixed, c)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_row_without_a_number_is_decided(value):
    x, c = grouped(300, 40, 30)
    x[7, 3] = value
    assert not len(screened(x, c))
    c[5, 2] = value
    assert not len(screened(x[8:], c))


def test_it_goes_on_where_nothing_is_decided():
    """Of centres that are all alike every row is a tie, or has all for candidates."""
    x, c = grouped(5_000, 600, 40)
    alike = np.repeat(c[:300], 2, axis=0)
    halves = -Centres(alike, np.zeros(40, np.float32))._across[-1]
    screen = Screen(alike, halves)
    looked = []
    found = screen._found
    screen._found = lambda *given: looked.append(1) or found(*given)
    _, left = screen.nearest(x)
    assert len(looked) == 1
    assert_array_equal(left, np.arange(5_000))
    assert not len(screened(x, np.repeat(c[:2], 300, axis=0)))


def test_a_pass_is_another_one_with_a_screen(monkeypatch):
    x, c = grouped(3_000, 300, 64)
    centres = Centres(c, np.zeros(64, np.float32))
    ways = []
    for is_used in (True, False):
        monkeypatch.setattr(centres_module, "is_screened", lambda *_, used=is_used: used)
        ways.append([*centres.sums(x), *centres.nearest_and_squares(x)])
    for screened_one, plain in zip(*ways, strict=True):
        assert_array_equal(screened_one, plain)
    nearest, squares = ways[0][2:]
    assert_allclose(squares, ((x - c[nearest]).astype(np.float64) ** 2).sum(axis=1), rtol=1e-5)


def test_few_rows_or_centres_or_columns_are_screened():
    assert is_screened(256, 64, 1_024) == multiplies_bfloat16()
    for sizes in [(255, 64, 1_024), (256, 63, 1_024), (256, 64, 1_023), (256, 20_000, 1_024)]:
        assert not is_screened(*sizes)
