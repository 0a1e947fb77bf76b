"""Logarithms of probabilities that float64 cannot hold, without scipy."""

from __future__ import annotations

import math

import numpy as np

from distill.core.dp.renyi import Double

# from so many deviations on the series below is exact to 1e-12; `erfc` underflows at 37
_FAR = 25.0


def log_normal_tail(deviations: Double) -> Double:
    """Return log P[z > x] of a standard normal z, element by element."""
    flat = deviations.ravel()
    tails = [_log_tail(float(each)) for each in flat]
    return np.array(tails, np.float64).reshape(deviations.shape)


def _log_tail(x: float) -> float:
    if x < _FAR:
        return math.log(0.5 * math.erfc(x / math.sqrt(2)))
    # Abramowitz & Stegun 26.2.12
    square = x * x
    inverse = 1 / square
    series = -inverse * (1 - 3 * inverse * (1 - 5 * inverse * (1 - 7 * inverse)))
    log_density = -0.5 * x * x - math.log(x) - 0.5 * math.log(2 * math.pi)
    return log_density + math.log1p(series)


def log_one_minus_exp(log_p: Double) -> Double:
    """Return log(1 − p) of log p ≤ 0; −∞ where p is 1."""
    with np.errstate(divide="ignore"):
        far = np.log1p(-np.exp(np.minimum(log_p, -1.0)))
        near = np.log(-np.expm1(np.maximum(log_p, -1.0)))
    return np.where(log_p < -1, far, near)
