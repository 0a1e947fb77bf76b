"""Intervals and tests in closed form, of what was counted or summed over rows.

    share_interval       Wilson's score interval of a share (Wilson 1927), with the correction for
                         continuity where it is to decide something (Newcombe 1998a, method 4)
    mean_interval        Student's t of a mean, by its sums
    difference_interval  of two shares on the same rows (Agresti & Min 2005: half a row is added to
                         each of the four cells, so that no discordant rows leave some width), or,
                         where it is to decide something, by those of its two shares
    mcnemar              whether two methods are right equally often: exact, and beyond
                         `_EXACT_ROWS` discordant rows normal (McNemar 1947; Edwards 1948)
    rank_interval        of a rank correlation, by Fisher's z (Fieller, Hartley & Pearson 1957)

A level is two-sided: 0.95 leaves 2.5% on either side. A bound at confidence c is one side of the
interval at level 2c − 1 (`one_sided`).
"""

from __future__ import annotations

import math
from statistics import NormalDist

Interval = tuple[float, float]

LEVEL = 0.95  # of the intervals that are shown
_EXACT_ROWS = 2_000


def z_of(level: float) -> float:
    """Return how many standard errors an interval of this level reaches to either side."""
    return NormalDist().inv_cdf((1 + level) / 2)


def one_sided(confidence: float) -> float:
    """Return the level of the interval whose either side is a bound at this confidence."""
    return 2 * confidence - 1


def share_interval(
    count: float, rows: float, level: float = LEVEL, *, corrected: bool = False
) -> Interval:
    """Return Wilson's interval of `count` of `rows`; (0, 1) of no rows.

    `corrected` for continuity it is never narrower than it should be, whatever the share."""
    if rows <= 0:
        return 0.0, 1.0
    return wilson(count / rows, rows, z_of(level), corrected=corrected)


def wilson(share: float, rows: float, z: float, *, corrected: bool = False) -> Interval:
    """Return Wilson's interval of a share that so many rows tell, `z` standard errors wide; rows are
    an effective number where it was not simply counted (Korn & Graubard 1998)."""
    square = z * z
    spread = square / rows
    middle = share + spread / 2
    if not corrected:
        half = z * math.sqrt(share * (1 - share) / rows + spread / (4 * rows))
        low = (middle - half) / (1 + spread)
        high = (middle + half) / (1 + spread)
        return max(0.0, low), min(1.0, high)
    return (_corrected_low(share, rows, z), 1 - _corrected_low(1 - share, rows, z))


def _corrected_low(share: float, rows: float, z: float) -> float:
    """Return the lower end of Newcombe's method 4."""
    if share <= 0:
        return 0.0
    inside = z * z - 2 - 1 / rows + 4 * share * (rows * (1 - share) + 1)
    half = 1 + z * math.sqrt(max(0.0, inside))
    low = (2 * rows * share + z * z - half) / (2 * (rows + z * z))
    return max(0.0, low)


def mean_interval(total: float, squares: float, rows: float, level: float = LEVEL) -> Interval:
    """Return the interval of a mean by Σ x and Σ x²; all numbers where fewer than two rows are."""
    if rows < 2:
        return -math.inf, math.inf
    mean = total / rows
    variance = max(0.0, squares - total * mean) / (rows - 1)
    half = t_of(level, rows - 1) * math.sqrt(variance / rows)
    return mean - half, mean + half


def t_of(level: float, freedom: float) -> float:
    """Return Student's quantile by Cornish and Fisher's expansion of it (Hill 1970); within 0.5%
    from three degrees of freedom on, and wider than z at all of them."""
    z = z_of(level)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    fourth = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + first / freedom + second / freedom**2 + third / freedom**3 + fourth / freedom**4


def difference_interval(
    gained: float, lost: float, rows: float, level: float = LEVEL, *, corrected: bool = False
) -> Interval:
    """Return the interval of the difference of two shares on the same rows, of which the one has
    `gained` that the other lacks, and `lost` that the other has.

    `corrected` it is made of the corrected intervals of both (MOVER, Zou & Donner 2008) and never
    narrower than it should be: of no discordant rows a bound at 95% confidence by Agresti and Min
    is false in up to 13% of sets."""
    if rows <= 0:
        return -1.0, 1.0
    if corrected:
        above = _reach(gained, lost, rows, level)
        below = _reach(lost, gained, rows, level)
        net = gained - lost
        difference = net / rows
        return max(-1.0, difference - below), min(1.0, difference + above)
    counted = rows + 2
    difference = (gained - lost) / counted
    discordant = (gained + lost + 1) / counted
    half = z_of(level) * math.sqrt(max(0.0, discordant - difference**2) / counted)
    return max(-1.0, difference - half), min(1.0, difference + half)


def _reach(gained: float, lost: float, rows: float, level: float) -> float:
    """Return how far the true difference may lie above the one found: more is gained, less lost."""
    gain = gained / rows
    loss = lost / rows
    _, most_gain = share_interval(gained, rows, level, corrected=True)
    least_loss, _ = share_interval(lost, rows, level, corrected=True)
    more = most_gain - gain
    less = loss - least_loss
    correlation = 0.0
    if gain < 1 and loss < 1:
        # of two shares of the same rows, the larger the one the smaller the other
        correlation = -math.sqrt(gain * loss / ((1 - gain) * (1 - loss)))
    return math.sqrt(more**2 + less**2 - 2 * correlation * more * less)


def mcnemar(gained: int, lost: int) -> float:
    """Return the two-sided p-value that two methods are right equally often, by their discordant
    rows."""
    total = gained + lost
    fewer = min(gained, lost)
    if total == 0:
        return 1.0
    if total > _EXACT_ROWS:
        # with the correction for continuity of Edwards 1948
        distance = max(0, abs(gained - lost) - 1)
        return math.erfc(distance / math.sqrt(2 * total))
    # in logarithms: 2 ** −2000 is no number of double precision
    log_half = total * math.log(2)
    terms = [math.exp(_log_choices(total, each) - log_half) for each in range(fewer + 1)]
    return min(1.0, 2 * math.fsum(terms))


def _log_choices(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)


def rank_interval(correlation: float, rows: float, level: float = LEVEL) -> Interval:
    """Return the interval of Spearman's correlation over so many rows."""
    if rows < 4:
        return -1.0, 1.0
    # of a perfect order z is infinite: it is taken for the order beside it, which has two
    # neighbours the other way round, and so it has a width
    nearest = 1 - 12 / (rows * (rows * rows - 1))
    half = z_of(level) * math.sqrt(1.06 / (rows - 3))
    z = math.atanh(max(-nearest, min(nearest, correlation)))
    low = -1.0 if correlation <= -nearest else math.tanh(z - half)
    high = 1.0 if correlation >= nearest else math.tanh(z + half)
    return low, high
