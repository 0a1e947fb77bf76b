"""How often each party mistakes which class for which, found from their votes alone: Dawid & Skene
1979, by expectation and maximisation.

A party's vote of a row is the class that it finds likeliest; where it did not label the row it
abstains. With the class k of a row unknown, p_k how common it is, and e_m[k, v] how often party m
says v where it is k:

    expectation     q_k ∝ p_k Π_m e_m[k, v_m]              over the parties that voted
    maximisation    p_k = mean of q_k,  e_m[k, v] = Σ q_k [v_m = v] / Σ q_k

The first q are the shares of the votes. A pass adds up C + M · C² numbers over the rows, whatever
their count, so that it is a fold. Votes are taken to be wrong independently of each other, given
the class; `count_pairs` looks where they are not, by what the other parties say: what is found of
a pair from its own votes is that it is right.

Shapes: M parties, B rows, C classes.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from distill.labelers.base import Double, log_sum_exp

_LEAST_COUNT = 1e-10  # in place of a count of 0, so that no class is ruled out by one vote
# a logarithm: where the others are surer than this, their class is taken for the row's
_SURE = np.log(0.9)
ABSTAINED = -1
Votes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Annotators:
    """What is known of the parties."""

    prior: Double  # (C,)
    errors: Double  # e[m, k, v], (M, C, C)

    def log_posterior(self, votes_MB: Votes) -> tuple[Double, Double]:
        """Return log q (B, C) of rows, and how likely their votes are, as a logarithm (B,)."""
        joint_BC = np.repeat(np.log(self.prior)[None, :], votes_MB.shape[1], axis=0)
        log_errors_MCC = np.log(self.errors)
        for votes_B, log_errors_CC in zip(votes_MB, log_errors_MCC, strict=True):
            voted = votes_B != ABSTAINED
            joint_BC[voted] += log_errors_CC.T[votes_B[voted]]
        evidence_B = log_sum_exp(joint_BC, axis=1)
        return joint_BC - evidence_B[:, None], evidence_B


class Counts(NamedTuple):
    """What a pass adds up."""

    rows: float
    log_likelihood: float
    of_class: Double  # rows of each class (C,)
    votes: Double  # of each party, by class and vote (M, C, C)


def votes_of(outputs_MBC: Double) -> Votes:
    """Return what each party votes (M, B); NaN abstains."""
    abstains_MB = np.isnan(outputs_MBC[:, :, 0])
    filled_MBC = np.nan_to_num(outputs_MBC, nan=0.0, posinf=np.inf, neginf=-np.inf)
    best_MB = filled_MBC.argmax(axis=2)
    return np.where(abstains_MB, ABSTAINED, best_MB)


def count(votes_MB: Votes, classes: int, known: Annotators | None) -> Counts:
    """Add up rows that somebody voted on; `known` is None in the first pass."""
    is_vote = votes_MB != ABSTAINED
    voted = is_vote.any(axis=0)
    votes_MB = votes_MB[:, voted]
    evidence = 0.0
    if known is None:
        q_BC = _shares(votes_MB, classes)
    else:
        log_q_BC, evidence_B = known.log_posterior(votes_MB)
        q_BC = np.exp(log_q_BC)
        evidence = float(evidence_B.sum())
    votes_MCC = np.zeros((len(votes_MB), classes, classes))
    for party, votes_B in enumerate(votes_MB):
        there = votes_B != ABSTAINED
        np.add.at(votes_MCC[party].T, votes_B[there], q_BC[there])
    return Counts(float(votes_MB.shape[1]), evidence, q_BC.sum(axis=0), votes_MCC)


def add_counts(one: Counts, other: Counts) -> Counts:
    """Merge two."""
    return Counts(
        one.rows + other.rows,
        one.log_likelihood + other.log_likelihood,
        one.of_class + other.of_class,
        one.votes + other.votes,
    )


def maximise(counts: Counts) -> Annotators:
    """Return what is known of the parties after a pass."""
    share_C = counts.of_class / counts.rows
    least_MCC = np.maximum(counts.votes, _LEAST_COUNT)
    errors_MCC = least_MCC / least_MCC.sum(axis=2, keepdims=True)
    return Annotators(np.maximum(share_C, _LEAST_COUNT), errors_MCC)


class PairCounts(NamedTuple):
    """What the look for pairs that err together adds up, over rows whose class the other parties
    are sure of, P pairs."""

    of_class: Double  # (P, C)
    first: Double  # votes of the pair's first party, by class (P, C, C)
    second: Double
    alike: Double  # rows on which both said the same wrong class (P,)


def count_pairs(votes_MB: Votes, known: Annotators) -> PairCounts:
    """Add up some rows."""
    log_q_BC, _ = known.log_posterior(votes_MB)
    classes = len(known.prior)
    parts = []
    for one, other in pairs_of(len(votes_MB)):
        # what the others alone make of the row
        left_BC = log_q_BC.copy()
        for party in (one, other):
            voted = votes_MB[party] != ABSTAINED
            left_BC[voted] -= np.log(known.errors[party]).T[votes_MB[party][voted]]
        left_BC -= log_sum_exp(left_BC, axis=1)[:, None]
        largest_B = left_BC.max(axis=1)
        sure = largest_B > _SURE
        both = sure & (votes_MB[one] != ABSTAINED) & (votes_MB[other] != ABSTAINED)
        rest_BC = left_BC[both]
        truth_B = rest_BC.argmax(axis=1)
        first_B = votes_MB[one][both]
        second_B = votes_MB[other][both]
        wrong_alike_B = (first_B == second_B) & (first_B != truth_B)
        tables = (
            np.bincount(truth_B, minlength=classes),
            _table(truth_B, first_B, classes),
            _table(truth_B, second_B, classes),
            wrong_alike_B.sum(),
        )
        parts.append(tables)
    stacked = [np.asarray(np.stack(each), np.float64) for each in zip(*parts, strict=True)]
    return PairCounts(*stacked)


def add_pairs(one: PairCounts, other: PairCounts) -> PairCounts:
    """Merge two."""
    return PairCounts(*(a + b for a, b in zip(one, other, strict=True)))


def suspicious_pair(counts: PairCounts, parties: int) -> tuple[int, int, float] | None:
    """Return the pair of parties that is wrong in the same way most beyond what it would be if each
    erred by itself, with how many times as often; None where chance explains all pairs.

    One pair: where it weighs twice, what the others are taken to get wrong is not to be trusted."""
    rows_PC = np.maximum(counts.of_class, 1)
    wrong_CC = 1 - np.eye(counts.of_class.shape[1])
    chance_PCC = counts.first * counts.second / rows_PC[:, :, None] * wrong_CC
    expected_P = chance_PCC.sum(axis=(1, 2))
    excess_P = counts.alike - expected_P
    deviations_P = excess_P / np.sqrt(expected_P + 1)
    # of very many rows chance explains little, and then it has to matter too
    is_suspicious_P = (deviations_P > 4) & (excess_P > 0.25 * expected_P)
    if not is_suspicious_P.any():
        return None
    worst = int(np.where(is_suspicious_P, deviations_P, 0).argmax())
    first, second = pairs_of(parties)[worst]
    return first, second, float(counts.alike[worst] / max(expected_P[worst], 1.0))


def pairs_of(parties: int) -> list[tuple[int, int]]:
    """Return all pairs of so many parties."""
    return list(itertools.combinations(range(parties), 2))


def _table(truth_B: Votes, votes_B: Votes, classes: int) -> Double:
    cells = np.bincount(truth_B * classes + votes_B, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.float64)


def _shares(votes_MB: Votes, classes: int) -> Double:
    share_BC = np.zeros((votes_MB.shape[1], classes))
    for votes_B in votes_MB:
        is_vote = votes_B != ABSTAINED
        there = np.flatnonzero(is_vote)
        share_BC[there, votes_B[there]] += 1
    total_B1: Double = share_BC.sum(axis=1, keepdims=True)
    return share_BC / total_B1
