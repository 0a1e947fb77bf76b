"""Rényi differential privacy: the orders at which it is summed, and the (ε, δ) that follows.

A mechanism M is (α, ρ)-RDP where the Rényi divergence of order α between M(D) and M(D') is at most
ρ for all neighbours D, D' (Mironov 2017). Costs at one order add up over mechanisms, also where
each is chosen by what those before it answered; and where their sum stays below a bound whatever is
answered, that bound holds (Feldman & Zrnic 2021, a privacy filter).

    ε = min over α of  ρ(α) + log(1 − 1/α) − log(δ α) / (α − 1)      Canonne et al. 2020, prop. 12

The orders are those of `dp_accounting`, so that the same mechanism has the same ε there.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Double = npt.NDArray[np.float64]

_TENTHS = [1 + tenth / 10 for tenth in range(1, 100)]
_LARGE = [128, 256, 512, 1024]
# (A,): the orders α of every curve here
ORDERS: Double = np.array([*_TENTHS, *range(11, 64), *_LARGE], np.float64)


def no_cost() -> Double:
    """Return the curve (A,) of what tells nothing."""
    return np.zeros_like(ORDERS)


def epsilon_of(curve: Double, delta: float) -> float:
    """Return the least ε that a curve (A,) gives at `delta`; 0 where nothing is told."""
    # a divergence so small bounds the total variation by δ itself (Bretagnolle & Huber)
    if bool(np.any(delta**2 + np.expm1(-curve) > 0)):
        return 0.0
    log_delta = math.log(delta)
    slack = (log_delta + np.log(ORDERS)) / (ORDERS - 1)
    candidates = curve + np.log1p(-1 / ORDERS) - slack
    least = float(candidates.min())
    return max(0.0, least)


def as_plain(curve: Double) -> list[float]:
    """Return a curve as JSON holds it."""
    plain: list[float] = curve.tolist()
    return plain


def from_plain(plain: Any) -> Double:
    """Return the curve of which `as_plain` made `plain`."""
    return np.asarray(plain, np.float64)
