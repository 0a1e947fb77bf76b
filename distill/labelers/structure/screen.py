"""Which centre is nearest, looked for in bfloat16 and decided in float32: the very centres of the
float32 product, where a CPU multiplies bfloat16 at twice the speed or more.

Rows x and centres c, h being ½‖c‖² as float32 has it, are rounded to bfloat16, x̂ and ĉ. One product
gives y = a + (h − c·(c − ĉ)) − x̂·ĉ of each pair. a depends on the row alone and is about ½‖x‖², so y
is about ½‖x − c‖²: near centres have small numbers, which lose least when y itself is rounded to
bfloat16. Let L be at least ‖x‖, C the largest ‖c‖, R the largest ‖c − ĉ‖, and u = 2⁻⁹, so that
‖x − x̂‖ ≤ u·L. Two bounds are of sums in float32, in any order:

    E = 1.01·(d + 1)·2⁻²⁴·(L·C + max h)   of fl(x·c − h) in the float32 product, or by itself
    S = 4·(d + 4)·2⁻²⁴·(all summands)     of y before it is rounded; the half of it would do, the
                                          other is for h, which is not quite ½‖c‖²

y less S is wrong, beside v = a + h − x·c, by

    (x − x̂)·c + (x̂ − c)·(c − ĉ)

which is at most F = u·L·C + ((1 + u)·L + C)·R + S, all by Cauchy & Schwarz; a is ½L² + F or more, so no
y is negative. Let i be the centre of the least y, and w the one that the float32 product finds:
v_w ≤ v_i + 2E. Both lie within D = √(2·(y_i + F + 2E)) of x, but for rounding. Of the difference of
their two errors the first parts are (x − x̂)·(c_w − c_i), and with ‖x̂ − c‖ ≤ D + u·L

    y_w − y_i ≤ 2E + 2S + 2·(D·(u·L + R) + u·L·R)

before y is rounded, and rounding is a factor of (1 + u)/(1 − u) < 1.004 at the most. A centre alone
below that is w. Of several, x·c − h is computed one by one in float32, wrong by E again: one that leads
by more than 4E is w. Rows of nearer ties, as of equal centres, are left to the float32 product, and
so are all rows from the first block on that has too many candidates, or numbers too large.

Numbers of bfloat16 that are not negative are ordered as their bits: numpy compares 16-bit integers in a
quarter of the time that torch takes for bfloat16. What F and E lose where numbers are below the least
of float32 is covered by `_NOTHING`, and rows so small then have too many candidates.

Nanoseconds a row and thread, on an AMD EPYC with avx512_bf16 that others used too, of rows of 50 groups
(structure_cost): d = 256, k = 1,024 4,020, the float32 product 6,020; 256 × 256 1,230, 1,530;
768 × 1,024 10,560, 17,850; 64 × 1,024 1,670, 1,820. Of 100 centres it is no gain.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Double, Matrix
from distill.labelers.structure.base import Array, Int64
from distill.labelers.structure.rows import squared_lengths

if TYPE_CHECKING:
    from torch import Tensor

Bits = npt.NDArray[np.int16]

_LEAST_ROWS = 1_024
"""Fewer do not make up for rounding the centres."""
_LEAST_CENTRES = 256
_WIDTHS = (64, 16_384)
"""Of narrower rows the product is too small a part; of wider ones S is not small."""
_BLOCK_SCORES = 1 << 20
_LEAST_BLOCK_ROWS = 256
_CENTRES_A_PAIR = 128
"""So many centres to each candidate more than one that a row may have in the mean."""
_BLOCK_TO_TIES = 8
"""Where more than one of so many rows is left, so are all that follow."""
_MOST_LENGTH = 1e17
"""Squares of longer rows and centres are near the largest float32."""
_NOTHING = 1e-15
"""Added to lengths: what numbers below the least of float32 lose is then a part of F and E."""
_HALF_DIGIT = 2.0**-9
_FLOAT32 = 2.0**-24


class _Errors(NamedTuple):
    """The most that numbers of each row are wrong by, (b,): E, S and F."""

    of_float32: Double
    of_sum: Double
    of_score: Double


class Screen:
    """k centres in bfloat16."""

    def __init__(self, offsets: Matrix, halves: Matrix) -> None:
        """Round centres (k, d), and h (k,)."""
        import torch

        count, width = offsets.shape
        self._offsets = offsets
        self._halves = halves
        # the constant of a centre is three numbers of bfloat16, eight digits each, beside ones
        across = torch.ones(count, width + 4, dtype=torch.bfloat16)
        rounded = across[:, :width]
        rounded.copy_(torch.from_numpy(-offsets))
        with np.errstate(over="ignore", invalid="ignore"):
            lost = offsets + rounded.float().numpy()
            of_centre = halves - _products(offsets.astype(np.float64), lost)
            rest = torch.from_numpy(of_centre.astype(np.float32))
        for column in range(width, width + 3):
            across[:, column] = rest
            rest = rest - across[:, column].float()
        self._across = across.T.contiguous()
        self._longest = float(_lengths(offsets).max())
        self._most_lost = float(_lengths(lost).max())
        self._most_half = float(halves.max())

    def nearest(self, rows: Matrix) -> tuple[Int64, Int64]:
        """Return the nearest centre of each row, (B,), and which rows are left to the float32
        product: for these the centre means nothing."""
        import torch

        count, width = self._offsets.shape
        nearest = np.zeros(len(rows), np.int64)
        step = max(_LEAST_BLOCK_ROWS, _BLOCK_SCORES // count)
        rounded = torch.ones(step, width + 4, dtype=torch.bfloat16)
        scores = torch.empty(step, count, dtype=torch.bfloat16)
        left = [np.empty(0, np.int64)]
        for start in range(0, len(rows), step):
            block = rows[start : start + step]
            stop = start + len(block)
            found, ties = self._found(block, rounded[: len(block)], scores[: len(block)])
            nearest[start:stop] = found
            left.append(start + ties)
            if len(ties) * _BLOCK_TO_TIES > len(block):
                left.append(np.arange(stop, len(rows)))
                break
        return nearest, np.concatenate(left)

    def _found(self, rows: Matrix, rounded: Tensor, scores: Tensor) -> tuple[Int64, Int64]:
        """Return the nearest centres of rows (b, d), and which are left."""
        lengths = _lengths(rows)
        if not (lengths.max() < _MOST_LENGTH and self._longest < _MOST_LENGTH):
            return _all_left(rows)
        errors = self._errors(lengths)
        bits = self._scores(rows, lengths**2 / 2 + errors.of_score, rounded, scores)
        limits = self._limits(bits.min(axis=1), lengths, errors)
        is_candidate = bits <= limits[:, None]
        most = len(rows) * (1 + len(self._offsets) / _CENTRES_A_PAIR)
        if np.count_nonzero(is_candidate) > most:
            return _all_left(rows)
        pairs = np.flatnonzero(is_candidate)
        return self._decided(rows, pairs, errors.of_float32)

    def _errors(self, lengths: Double) -> _Errors:
        width = self._offsets.shape[1]
        products = lengths * self._longest
        of_float32 = 1.01 * (width + 1) * _FLOAT32 * (products + self._most_half)
        # a is less than L² and a twentieth of L·C + max h
        summands = 1.1 * (products + self._most_half) + lengths**2
        of_sum = 4 * (width + 4) * _FLOAT32 * summands
        of_centres = (1.01 * lengths + self._longest) * self._most_lost
        of_score = products * _HALF_DIGIT + of_centres + of_sum
        return _Errors(of_float32, of_sum, of_score)

    def _limits(self, least: Bits, lengths: Double, errors: _Errors) -> Bits:
        """Return the largest y that the nearest centre may have, given the least, (b,)."""
        shifted = least.astype(np.int32) << 16
        scores = shifted.view(np.float32).astype(np.float64)
        apart = np.sqrt(2.01 * (scores + errors.of_score + 2 * errors.of_float32))
        of_rows = lengths * _HALF_DIGIT
        error = apart * (of_rows + self._most_lost) + of_rows * self._most_lost
        limits = 1.004 * (scores + 2 * (error + errors.of_sum + errors.of_float32))
        bits: Array = limits.astype(np.float32).view(np.int32) >> 16
        return bits.astype(np.int16)

    def _scores(self, rows: Matrix, of_row: Double, rounded: Tensor, scores: Tensor) -> Bits:
        """Return the bits of y, (b, k)."""
        import torch

        width = rows.shape[1]
        rounded[:, :width] = torch.from_numpy(rows)
        # rounding it must not make it less
        rounded[:, -1] = torch.from_numpy(of_row * (1 + 2 * _HALF_DIGIT))
        torch.mm(rounded, self._across, out=scores)
        bits: Bits = scores.view(torch.int16).numpy()
        return bits

    def _decided(self, rows: Matrix, pairs: Int64, exact: Double) -> tuple[Int64, Int64]:
        """Return the nearest of each row's candidates, and which rows are left."""
        count = len(self._offsets)
        row = pairs // count
        centre = pairs - row * count
        nearest = np.empty(len(rows), np.int64)
        nearest[row] = centre
        if len(pairs) == len(rows):
            return nearest, np.empty(0, np.int64)
        is_open = np.bincount(row, minlength=len(rows))[row] > 1
        row = row[is_open]
        centre = centre[is_open]
        scores = _products(rows[row], self._offsets[centre]) - self._halves[centre]
        starts = np.flatnonzero(np.diff(row, prepend=-1))
        best = np.maximum.reduceat(scores, starts)
        open_rows = row[starts]
        limits = best - 4 * exact[open_rows]
        candidates = np.diff(starts, append=len(row))
        is_near = scores >= np.repeat(limits, candidates)
        nearest[row[is_near]] = centre[is_near]
        leaders = np.add.reduceat(is_near, starts, dtype=np.int64)
        return nearest, open_rows[leaders > 1]


def _all_left(rows: Matrix) -> tuple[Int64, Int64]:
    return np.zeros(len(rows), np.int64), np.arange(len(rows))


def is_screened(count: int, width: int, rows: int) -> bool:
    """Return whether k centres of `width` numbers are worth a screen for so many rows."""
    least, most = _WIDTHS
    is_large = rows >= _LEAST_ROWS and count >= _LEAST_CENTRES and least <= width <= most
    return is_large and multiplies_bfloat16()


@cache
def multiplies_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 by itself, and torch knows how."""
    import torch

    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16", False))


def _products(one: Array, other: Array) -> Array:
    """Return the product of each row with the one beside it, both (b, d): (b,)."""
    # not `vecdot`, which numpy has from 2.0 on, and which takes 360 ns where this takes 100
    products: Array = np.einsum("ij,ij->i", one, other)
    return products


def _lengths(values: Matrix) -> Double:
    """Return lengths of rows (b, d) that are not less than their own, (b,)."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = squared_lengths(values).astype(np.float64)
    rounding = 1 + values.shape[1] * _FLOAT32
    lengths: Double = np.sqrt(squares) * rounding + _NOTHING
    return lengths
