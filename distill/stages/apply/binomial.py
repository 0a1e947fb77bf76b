"""Exact tails of the binomial distribution: what so many errors among so many rows prove.

In logarithms, so that 100,000 rows neither overflow nor underflow. A one-sided bound of Clopper and
Pearson (1934) and the test here are the same thing, read from either side.
"""

from __future__ import annotations

import math

_HALVINGS = 60
"""Of an interval of length 1: to the last bits of a double."""


def at_most(errors: int, rows: int, rate: float) -> float:
    """Return P(Binomial(rows, rate) ≤ errors); `rate` lies between 0 and 1."""
    if errors >= rows:
        return 1.0
    odds = math.log(rate) - math.log1p(-rate)
    term = rows * math.log1p(-rate)
    terms = [term]
    for each in range(errors):
        term += odds + math.log(rows - each) - math.log(each + 1)
        terms.append(term)
    largest = max(terms)
    return min(1.0, math.exp(largest) * math.fsum(math.exp(each - largest) for each in terms))


def rows_needed(errors: int, rate: float, level: float) -> int:
    """Return the fewest rows among which so few errors prove, at this level, a lower rate."""
    fewest = errors
    most = errors + 1
    while at_most(errors, most, rate) > level:
        fewest = most
        most *= 2
    while most - fewest > 1:
        middle = (fewest + most) // 2
        if at_most(errors, middle, rate) > level:
            fewest = middle
        else:
            most = middle
    return most


def lowest_share(right: int, rows: int, level: float) -> float:
    """Return Clopper and Pearson's lower bound of a share of which `right` of `rows` were found: it
    lies above the share in at most `level` of all draws."""
    if right == 0:
        return 0.0
    low = 0.0
    high = 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        # so few errors would be found by chance where the share is no higher
        if at_most(rows - right, rows, 1 - middle) > level:
            high = middle
        else:
            low = middle
    return low
