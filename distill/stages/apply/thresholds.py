"""Where a student is sure enough: a threshold that labelled rows prove, or none.

**By confidence.** For a threshold λ let R(λ) be the share of wrong answers among rows of which the
student is at least as sure. Of n labelled rows above λ, k are wrong; given n, k is binomial with
the rate R(λ), so

    p(λ) = P(Binomial(n, 1 − at_least) ≤ k)

is a p-value of R(λ) > 1 − at_least (selective risk: Geifman & El-Yaniv 2017). Many thresholds are
tried, which is what makes naive choices false: here the order of trials is fixed before a label is
seen, from few rows answered to all, and ends at the first that does not pass (fixed-sequence
testing with several starts; *Learn then Test*, Angelopoulos, Bates, Candès, Jordan & Lei 2021,
algorithm 1). Each of m starts has (1 − confidence) / m; then all that passed hold together with
the stated confidence, and the one that answers most is taken. The thresholds are shares of the
*pool's* rows, which have no labels, so they do not depend on the labelled rows. Where a sequence
starts their number alone decides: where one error would be allowed, and at half of the pool. (On
simulated students whose surest answers are wrong now and then, as real ones' are, one start alone
was refused in 30 to 80% of draws of 1,000 rows and two in 0 to 40%; where the surest are always
right, the second start costs a point of the rows answered.)

**By sets.** With n labelled rows and p the probability of the true class, the threshold is the r-th
smallest p, r the largest with P(Binomial(n, 1 − at_least) ≤ r − 1) ≤ 1 − confidence. Then sets of
all classes at least as probable hold the truth in `at_least` of all rows, with that confidence over
draws of the labelled rows (Wilks 1941; Vovk 2012, proposition 2a; PAC sets of Park et al. 2020).

Both hold for rows drawn as the labelled ones are, whatever the student.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from distill.core.cascades import Threshold, Trial
from distill.stages.apply.binomial import at_most, lowest_share, rows_needed
from distill.stages.apply.sureness import Bool, Float64, Int64, probability_at

_SHARES = [number / 40 for number in range(1, 41)]
"""Of the pool's rows: what thresholds are tried for."""
_HALF = 0.5
_HAIR = 1e-9
_SPARE = 1.1
"""Of the rows that the first trial needs: it gets about a share of the labelled ones."""


class UnprovenError(Exception):
    """No threshold reaches what is asked; the message says why."""


def choose_threshold(
    pool_bins: Int64, bins: Int64, right: Bool, at_least: float, confidence: float
) -> Threshold:
    """Choose by confidence. `pool_bins` (BINS,) are rows of the pool by bin; `bins` (n,) and `right`
    (n,) are of the labelled rows. Raises UnprovenError."""
    wrong_rate = 1 - at_least
    level = 1 - confidence
    labelled = len(bins)
    needed = rows_needed(0, wrong_rate, level)
    if labelled < needed:
        raise UnprovenError(
            f"{labelled:,} labelled rows are too few: even without one error it takes {needed:,}"
            f" to prove {at_least:g} at confidence {confidence:g}"
        )
    starts = _starts(labelled, wrong_rate, level)
    level /= len(starts)
    trials: dict[float, Trial] = {}
    for start in starts:
        for share in _SHARES[start:]:
            trial = _try(share, pool_bins, bins, right)
            errors = trial.rows - trial.right
            passed = at_most(errors, trial.rows, wrong_rate) <= level
            trials[share] = replace(trial, passed=passed)
            if not passed:
                break
    tried = [trials[share] for share in sorted(trials)]
    passed_trials = [trial for trial in tried if trial.passed]
    if not passed_trials:
        raise UnprovenError(_why(tried, at_least, level))
    best = passed_trials[-1]
    return Threshold(
        by="confidence",
        threshold=probability_at(best.bin),
        bin=best.bin,
        labelled=labelled,
        answered=best.rows,
        right=best.right,
        bound=lowest_share(best.right, best.rows, level),
        trials=tuple(tried),
    )


def choose_sets(of_truth: Float64, at_least: float, confidence: float) -> Threshold:
    """Choose by sets; `of_truth` (n,) are the probabilities of the labelled rows' true classes.
    Raises UnprovenError."""
    labelled = len(of_truth)
    miss_rate = 1 - at_least
    level = 1 - confidence
    needed = rows_needed(0, miss_rate, level)
    if labelled < needed:
        raise UnprovenError(
            f"{labelled:,} labelled rows are too few: sets that hold {at_least:g} of the truth at"
            f" confidence {confidence:g} take {needed:,}"
        )
    rank = 1
    while rank < labelled and at_most(rank, labelled, miss_rate) <= level:
        rank += 1
    # a hair lower: that very row is often the pool's too, and another machine's exponential may
    # differ in its last bit, by which whoever writes would find other rows than were sent on
    threshold = float(np.sort(of_truth)[rank - 1]) * (1 - _HAIR)
    held = int((of_truth >= threshold).sum())
    bound = lowest_share(held, labelled, level)
    return Threshold(
        by="sets",
        threshold=threshold,
        labelled=labelled,
        answered=labelled,
        right=held,
        bound=bound,
    )


def _starts(labelled: int, rate: float, level: float) -> list[int]:
    """Where sequences start in `_SHARES`."""
    last = len(_SHARES) - 1
    first = min(1.0, _SPARE * rows_needed(1, rate, level / 2) / labelled)
    due = {bisect_left(_SHARES, first), bisect_left(_SHARES, max(first, _HALF))}
    return sorted(min(each, last) for each in due)


def _border(pool_bins: Int64, share: float) -> int:
    """The highest bin from which on at least this share of the pool lies."""
    from_here = np.cumsum(pool_bins[::-1])[::-1]
    enough = np.flatnonzero(from_here >= share * from_here[0])
    return int(enough[-1])


def _try(share: float, pool_bins: Int64, bins: Int64, right: Bool) -> Trial:
    border = _border(pool_bins, share)
    is_answered = bins >= border
    rows = int(is_answered.sum())
    found = int(right[is_answered].sum())
    answered = int(pool_bins[border:].sum()) / int(pool_bins.sum())
    return Trial(answered, border, rows, found, passed=False)


def _why(tried: Sequence[Trial], at_least: float, level: float) -> str:
    """Say how near the nearest trial came."""
    bounds = [(lowest_share(each.right, each.rows, level), each) for each in tried if each.rows]
    if not bounds:
        return "none of the labelled rows is among those that it is surest of"
    bound, best = max(bounds, key=lambda pair: pair[0])
    return (
        f"of the {best.rows:,} labelled rows that it is surest of, {best.right:,} are right, which"
        f" proves {bound:.3f} and not {at_least:g}"
    )
