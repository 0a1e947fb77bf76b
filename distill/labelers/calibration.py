"""One temperature for a labeler's logits, found on labelled rows before anything is written, and recorded in the contract.

    T = argmin −Σ log softmax(z / T)[truth]             independent outputs: −Σ log sigmoid(± z / T)        Guo et al. 2017, section 4.2

An overconfident teacher's soft labels are nearly hard, and how well it is calibrated decides much of what a student learns (arXiv 2508.20224).
The sum is taken at `GRID` at once, so rows of any number are asked once and in any order; it is convex in 1/T, and a parabola through
the lowest three of the grid's points, which stand a twelfth apart, finds T to a few parts in a thousand.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.core.errors import StorageError
from distill.core.schema import seal, unseal
from distill.labelers.base import (
    Inputs,
    Labeler,
    Matrix,
    Predictions,
    as_predictions,
    finished,
    finishes,
    prepared,
)
from distill.storage.base import Storage

Double = npt.NDArray[np.float64]

_OCTAVE = 8
GRID = 2.0 ** (np.arange(-5 * _OCTAVE, 5 * _OCTAVE + 1) / _OCTAVE)
"""Temperatures from 1/32 to 32."""
UNCHANGED = int(np.argmin(np.abs(GRID - 1)))
_DONE = "done.json"


@dataclass(frozen=True)
class Calibration:
    """What was found. `nll` are nats a row (independent outputs: a row and class)."""

    temperature: float
    rows: int
    nll_before: float
    nll_after: float


class CalibratedLabeler:
    """Another labeler's logits over the temperature."""

    def __init__(self, labeler: Labeler, temperature: float) -> None:
        self.labeler, self.temperature = labeler, temperature

    def prepare(self, features: Inputs) -> Any:
        """What the other one makes of them."""
        return prepared(self.labeler, features)

    def label(self, features: Any) -> Any:
        """What the other one says."""
        answered = self.labeler.label(features)
        return answered if finishes(self.labeler) else self._divided(answered)

    def finish(self, answered: Any) -> Predictions:
        """(rows, classes) logits."""
        return (
            self._divided(finished(self.labeler, answered)) if finishes(self.labeler) else answered
        )

    def _divided(self, answered: Any) -> Predictions:
        outputs, disagreement = as_predictions(answered)
        return Predictions(
            np.asarray(outputs, np.float32) / np.float32(self.temperature), disagreement
        )


def nll_over_grid(logits: Matrix, truth: npt.NDArray[Any]) -> Double:
    """Summed over rows, at each temperature of `GRID`. `logits` (B, C); `truth` (B,) class numbers,
    or (B, C) of 0 and 1 where independent."""
    z = logits.astype(np.float64)
    if truth.ndim == 2:
        signed = np.where(truth > 0.5, z, -z)
        return np.array([np.logaddexp(0, -signed / t).sum() for t in GRID])
    z -= z.max(axis=1, keepdims=True)
    of_truth = z[np.arange(len(z)), truth]
    return np.array([(np.log(np.exp(z / t).sum(axis=1)) - of_truth / t).sum() for t in GRID])


def best_temperature(nll: Double) -> float:
    """Where the sum is smallest, between the grid's points. Raises ValueError where it still falls
    at the grid's end."""
    lowest = int(np.argmin(nll))
    if lowest in (0, len(nll) - 1):
        raise ValueError(f"the likelihood still grows at temperature {GRID[lowest]:.3g}")
    left, middle, right = nll[lowest - 1 : lowest + 2]
    bend = left - 2 * middle + right
    shift = 0.5 * (left - right) / bend if bend > 0 else 0.0
    return float(GRID[lowest] * 2.0 ** (shift / _OCTAVE))


def read_calibration(folder: Storage) -> Calibration | None:
    """What is stored; None before it is found. Raises StorageError where it is damaged."""
    content = folder.read_or_none(_DONE)
    if content is None:
        return None
    try:
        return Calibration(**unseal(content, folder.url(_DONE)))
    except TypeError as error:
        raise StorageError(
            f"{folder.url(_DONE)} is no calibration: {error}. Delete it, and run again."
        ) from None


def keep_calibration(folder: Storage, found: Calibration) -> Calibration:
    """Store it; the first writer wins."""
    folder.put_if_absent(_DONE, seal(asdict(found)))
    kept = read_calibration(folder)
    assert kept is not None
    return kept
