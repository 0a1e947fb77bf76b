"""Several labelers as one: the mean of their outputs, and how far they disagree, a row. The rows
are read and decoded once.

With w the members' shares, p_m the probabilities of member m, v_m its values, and H the entropy in
nats:

    exclusive      p = Σ w_m p_m, logits = log p
                   disagreement = H(p) − Σ w_m H(p_m)            Jensen–Shannon (Lin 1991, eq. 4.1)
    independent    the same for each output; disagreement = its mean over the outputs
    values         v = Σ w_m v_m
                   disagreement = root mean square over the numbers
                                  of their spread √(Σ w_m (v_m − v)²)

Of logits it lies between 0, where all are the same, and the entropy of the shares, log 2 for two:
how much one would learn by knowing which member is right, and so how little a student should trust
the row (Lakshminarayanan et al. 2017, section 2.4; their KL to the mean). Calibration divides the
mean's logits by a temperature, and leaves the disagreement as the members had it.

Shapes: M members, B rows, C classes, W numbers of a value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from distill.labelers.base import (
    Double,
    Inputs,
    Labeler,
    Matrix,
    Predictions,
    checked_predictions,
    finish_batch,
    log_sum_exp,
    prepare_batch,
)
from distill.labelers.recipe import Member
from distill.spec.outputs import Outputs

# outputs of all members that are worked on at once: some MB with the copies that it takes, whatever
# the number of classes
_BLOCK_NUMBERS = 1 << 18


class EnsembleLabeler:
    """Asks each of its members about every batch."""

    def __init__(
        self, members: Sequence[Member], labelers: Sequence[Labeler], outputs: Outputs, width: int
    ) -> None:
        self.members = members
        self.labelers = labelers
        self.outputs = outputs
        self.width = width

    def prepare(self, features: Inputs) -> tuple[int, list[Any]]:
        """Return the number of rows, and the batch as each member prepares it."""
        prepared = []
        for labeler in self.labelers:
            # each has its own copy, since a labeler may write into what it is given
            copied = features.copy()
            batch = prepare_batch(labeler, copied)
            prepared.append(batch)
        return len(features), prepared

    def label(self, features: Any) -> Any:
        """Return the outputs of each member, a list of (B, width), of what `prepare` returned."""
        rows, prepared = features
        return [self._outputs(number, batch, rows) for number, batch in enumerate(prepared)]

    def finish(self, raw: list[Matrix]) -> Predictions:
        """Return the members' mean (B, width), and their disagreement (B,)."""
        shares = np.array([member.share for member in self.members])
        combine = _combination(self.outputs)
        parts = []
        # what is no number stays none, and its row is rejected
        with np.errstate(invalid="ignore", divide="ignore"):
            for block in self._blocks(len(raw[0])):
                stacked = np.stack([outputs[block] for outputs in raw])
                exact = stacked.astype(np.float64)
                part = combine(exact, shares)
                parts.append(part)
        joined = [np.concatenate(each) for each in zip(*parts, strict=True)]
        return Predictions(*joined)

    def _blocks(self, rows: int) -> Iterator[slice]:
        # cut rows so that all members' outputs of a block are `_BLOCK_NUMBERS`
        count = len(self.members)
        numbers = count * self.width
        fitting = _BLOCK_NUMBERS // numbers
        step = max(1, fitting)
        for start in range(0, rows, step):
            stop = start + step
            yield slice(start, stop)

    def _outputs(self, number: int, prepared: Any, rows: int) -> Matrix:
        """Return one member's outputs, in the ensemble's order of classes. Raises ValueError that
        names the member."""
        member = self.members[number]
        labeler = self.labelers[number]
        unfinished = labeler.label(prepared)
        raw = finish_batch(labeler, unfinished)
        try:
            predictions = checked_predictions(labeler, raw, rows, self.width)
        except ValueError as error:
            raise ValueError(f"member {number} ({member.name}): {error}") from None
        outputs = predictions.outputs
        # a copy either way: the labeler may write its next outputs into the same array
        if member.columns is None:
            return outputs.copy()
        order = list(member.columns)
        return outputs[:, order]


def _combination(outputs: Outputs) -> Callable[[Double, Double], Predictions]:
    if outputs.kind == "value":
        return _mean_value
    if outputs.exclusive:
        return _exclusive_mixture
    return _independent_mixture


def _exclusive_mixture(logits_MBC: Double, shares_M: Double) -> Predictions:
    normalizer_MB = log_sum_exp(logits_MBC, axis=2)
    log_p_MBC = logits_MBC - normalizer_MB[..., None]
    # in logarithms throughout: a probability may be smaller than float64 can hold
    log_shares_M = np.log(shares_M)
    weighted_MBC = log_p_MBC + log_shares_M[:, None, None]
    log_mean_BC = log_sum_exp(weighted_MBC, axis=0)
    entropy_MBC = _entropy(log_p_MBC)
    entropy_MB = entropy_MBC.sum(axis=2)
    entropy_BC = _entropy(log_mean_BC)
    entropy_B = entropy_BC.sum(axis=1)
    inner_B = shares_M @ entropy_MB
    apart_B = entropy_B - inner_B
    return _as_float32(log_mean_BC, apart_B)


def _independent_mixture(logits_MBC: Double, shares_M: Double) -> Predictions:
    # the last axis of 2 is yes and no: log p and log (1 − p)
    both_MBC2 = np.stack([logits_MBC, -logits_MBC], axis=-1)
    log_p_MBC2 = -np.logaddexp(0, -both_MBC2)
    log_shares_M = np.log(shares_M)
    weighted_MBC2 = log_p_MBC2 + log_shares_M[:, None, None, None]
    log_mean_BC2 = log_sum_exp(weighted_MBC2, axis=0)
    entropy_MBC2 = _entropy(log_p_MBC2)
    entropy_MBC = entropy_MBC2.sum(axis=3)
    entropy_MB = entropy_MBC.mean(axis=2)
    entropy_BC2 = _entropy(log_mean_BC2)
    entropy_BC = entropy_BC2.sum(axis=2)
    entropy_B = entropy_BC.mean(axis=1)
    inner_B = shares_M @ entropy_MB
    apart_B = entropy_B - inner_B
    logits_BC = log_mean_BC2[..., 0] - log_mean_BC2[..., 1]
    return _as_float32(logits_BC, apart_B)


def _mean_value(values_MBW: Double, shares_M: Double) -> Predictions:
    mean_BW = np.tensordot(shares_M, values_MBW, 1)
    gaps_MBW = values_MBW - mean_BW
    squares_MBW = np.square(gaps_MBW)
    spread_BW = np.tensordot(shares_M, squares_MBW, 1)
    spread_B = spread_BW.mean(axis=1)
    deviation_B = np.sqrt(spread_B)
    return _as_float32(mean_BW, deviation_B)


def _as_float32(outputs: Double, disagreement: Double) -> Predictions:
    # rounding may leave a disagreement of nothing just below 0, of which a weight would be above 1
    disagreement = np.maximum(disagreement, 0)
    with np.errstate(over="ignore"):
        return Predictions(outputs.astype(np.float32), disagreement.astype(np.float32))


def _entropy(log_p: Double) -> Double:
    """−p log p, element by element; 0 where p is 0."""
    # 0 · −∞ is no number, 0 · the smallest float is 0
    finite = np.maximum(log_p, np.finfo(np.float64).min)
    entropy: Double = -np.exp(log_p) * finite
    return entropy
