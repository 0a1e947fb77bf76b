"""Several labelers as one: the mean of what they say, and how far they disagree, a row. The rows are read and decoded once.

With w the members' shares, p_m what member m says, H the entropy in nats:

    exclusive      p = Σ w_m p_m, logits = log p       disagreement = H(p) − Σ w_m H(p_m)        Jensen–Shannon (Lin 1991, eq. 4.1)
    independent    the same for each output            disagreement = its mean over the outputs
    values         v = Σ w_m v_m                       disagreement = root mean square over the numbers of their spread √(Σ w_m (v_m − v)²)

Of logits it lies between 0, where all say the same, and the entropy of the shares, log 2 for two: how much one would learn by being told
which member is right, and so how little a student should trust the row (Lakshminarayanan et al. 2017, section 2.4; their KL to the mean).
Calibration divides the mean's logits by a temperature, and leaves the disagreement as the members had it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.labelers.base import (
    Inputs,
    Labeler,
    Matrix,
    Member,
    Predictions,
    checked_predictions,
    finished,
    prepared,
)
from distill.spec.outputs import Outputs

Double = npt.NDArray[np.float64]

_BLOCK_NUMBERS = 1 << 18
"""Outputs of all members that are worked on at once: some MB with the copies that it takes,
whatever the number of classes."""


class EnsembleLabeler:
    """Asks each of its members about every batch."""

    def __init__(
        self, members: Sequence[Member], labelers: Sequence[Labeler], outputs: Outputs, width: int
    ) -> None:
        self.members, self.labelers = members, labelers
        self.outputs, self.width = outputs, width

    def prepare(self, features: Inputs) -> tuple[int, list[Any]]:
        """The number of rows, and what each member makes of them; each has its own, since a labeler
        may write into what it is given."""
        return len(features), [prepared(labeler, features.copy()) for labeler in self.labelers]

    def label(self, features: Any) -> Any:
        """Of what `prepare` made: what each member says, a list of (B, width)."""
        rows, given = features
        return [self._said(number, each, rows) for number, each in enumerate(given)]

    def finish(self, said: list[Matrix]) -> Predictions:
        """Their outputs together (B, width), and their disagreement (B,)."""
        rows = len(said[0])
        shares, together = (
            np.array([member.share for member in self.members]),
            _together(self.outputs),
        )
        block = max(1, _BLOCK_NUMBERS // (len(said) * self.width))
        with np.errstate(
            invalid="ignore", divide="ignore"
        ):  # what is no number stays none, and its row is rejected
            parts = [
                together(
                    np.stack([each[start : start + block] for each in said]).astype(np.float64),
                    shares,
                )
                for start in range(0, rows, block)
            ]
        return Predictions(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def _said(self, number: int, given: Any, rows: int) -> Matrix:
        """One member's outputs, in the ensemble's order of classes. Raises ValueError that names
        it."""
        member, labeler = self.members[number], self.labelers[number]
        answered = finished(labeler, labeler.label(given))
        try:
            outputs = checked_predictions(labeler, answered, rows, self.width).outputs
        except ValueError as error:
            raise ValueError(f"member {number} ({member.said}): {error}") from None
        # a copy either way: the labeler may write its next answer into the same array
        return outputs.copy() if member.places is None else outputs[:, list(member.places)]


def _together(outputs: Outputs) -> Callable[[Double, Double], Predictions]:
    if outputs.kind == "value":
        return _values
    return _exclusive if outputs.exclusive else _independent


def _exclusive(logits_MBC: Double, shares_M: Double) -> Predictions:
    log_p_MBC = logits_MBC - _log_sum(logits_MBC, axis=2)[..., None]
    log_mean_BC = _log_sum(log_p_MBC + np.log(shares_M)[:, None, None], axis=0)
    own_MB = _entropy(log_p_MBC).sum(axis=2)
    return _answers(log_mean_BC, _entropy(log_mean_BC).sum(axis=1) - shares_M @ own_MB)


def _independent(logits_MBC: Double, shares_M: Double) -> Predictions:
    said_MBC2 = -np.logaddexp(
        0, -np.stack([logits_MBC, -logits_MBC], axis=-1)
    )  # log p and log (1 − p)
    log_mean_BC2 = _log_sum(said_MBC2 + np.log(shares_M)[:, None, None, None], axis=0)
    own_MB = _entropy(said_MBC2).sum(axis=3).mean(axis=2)
    apart_B = _entropy(log_mean_BC2).sum(axis=2).mean(axis=1) - shares_M @ own_MB
    return _answers(log_mean_BC2[..., 0] - log_mean_BC2[..., 1], apart_B)


def _values(values_MBW: Double, shares_M: Double) -> Predictions:
    mean_BW = np.tensordot(shares_M, values_MBW, 1)
    spread_BW = np.tensordot(shares_M, np.square(values_MBW - mean_BW), 1)
    return _answers(mean_BW, np.sqrt(spread_BW.mean(axis=1)))


def _answers(outputs: Double, disagreement: Double) -> Predictions:
    with np.errstate(over="ignore"):
        return Predictions(
            outputs.astype(np.float32), np.maximum(disagreement, 0).astype(np.float32)
        )


def _log_sum(values: Double, axis: int) -> Double:
    largest = values.max(axis=axis, keepdims=True)
    made: Double = np.log(np.exp(values - largest).sum(axis=axis)) + largest.squeeze(axis)
    return made


def _entropy(log_p: Double) -> Double:
    """−p log p, element by element; 0 where p is 0."""
    made: Double = -np.exp(log_p) * np.maximum(log_p, np.finfo(np.float64).min)
    return made
