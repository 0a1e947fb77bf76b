"""One temperature for a labeler's logits, found on labelled rows before anything is written, and
recorded in the contract.

    T = argmin −Σ log softmax(z / T)[truth]
    T = argmin −Σ log sigmoid(± z / T)            where outputs are independent

Guo et al. 2017, section 4.2. An overconfident teacher's soft labels are nearly hard, and how well
it is calibrated decides much of what a student learns (arXiv 2508.20224).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.core.errors import StorageError
from distill.core.schema import seal, unseal
from distill.labelers.base import Double, Labeler, Matrix, Predictions, as_predictions
from distill.labelers.converted import ConvertedLabeler
from distill.storage.base import Storage

_OCTAVE = 8
GRID = 2.0 ** (np.arange(-5 * _OCTAVE, 5 * _OCTAVE + 1) / _OCTAVE)  # temperatures from 1/32 to 32
UNCHANGED = int(np.argmin(np.abs(GRID - 1)))  # where temperature 1 stands in `GRID`
_DONE = "done.json"


@dataclass(frozen=True)
class Calibration:
    """The temperature that was found. `nll` are nats a row; a row and class where independent."""

    temperature: float
    rows: int
    nll_before: float
    nll_after: float


class CalibratedLabeler(ConvertedLabeler):
    """Another labeler's logits over the temperature."""

    def __init__(self, labeler: Labeler, temperature: float) -> None:
        super().__init__(labeler)
        self.temperature = temperature

    def convert(self, raw: Any) -> Predictions:
        """Return (rows, classes) logits."""
        predictions = as_predictions(raw)
        logits = np.asarray(predictions.outputs, np.float32)
        divided = logits / np.float32(self.temperature)
        return predictions._replace(outputs=divided)


def nll_over_grid(logits: Matrix, truth: npt.NDArray[Any]) -> Double:
    """Sum the negative log-likelihood over rows, at each temperature of `GRID`. `logits` (B, C);
    `truth` (B,) class numbers, or (B, C) of 0 and 1 where independent."""
    # at all temperatures at once, so rows of any number are labelled once and in any order
    z = logits.astype(np.float64)
    if truth.ndim == 2:
        return _independent_nll(z, truth)
    # exp must not overflow, and z / t is up to 32 times the logits
    z -= z.max(axis=1, keepdims=True)
    rows = np.arange(len(z))
    of_truth = z[rows, truth]
    sums = []
    for t in GRID:
        normalizer = np.log(np.exp(z / t).sum(axis=1))
        scaled = of_truth / t
        nll = normalizer - scaled
        total = nll.sum()
        sums.append(total)
    return np.array(sums)


def _independent_nll(z: Double, truth: npt.NDArray[Any]) -> Double:
    signed = np.where(truth > 0.5, z, -z)
    return np.array([np.logaddexp(0, -signed / t).sum() for t in GRID])


def best_temperature(nll: Double) -> float:
    """Return the temperature of the smallest sum, between the grid's points. Raises ValueError
    where the sum still falls at the grid's end."""
    lowest = int(np.argmin(nll))
    # at an end the labeler is always right or knows nothing: no temperature is the likeliest
    if lowest in (0, len(nll) - 1):
        raise ValueError(f"the likelihood still grows at temperature {GRID[lowest]:.3g}")
    # the sum is convex in 1/T: a parabola through the lowest three points, which stand a twelfth
    # apart, finds T to a few parts in a thousand
    left, middle, right = nll[lowest - 1 : lowest + 2]
    bend = left - 2 * middle + right
    shift = 0.0
    if bend > 0:
        shift = 0.5 * (left - right) / bend
    octaves = shift / _OCTAVE
    return float(GRID[lowest] * 2.0**octaves)


def read_calibration(folder: Storage) -> Calibration | None:
    """Read the stored calibration; None before it is found. Raises StorageError if damaged."""
    content = folder.read_or_none(_DONE)
    if content is None:
        return None
    url = folder.url(_DONE)
    try:
        plain = unseal(content, url)
        return Calibration(**plain)
    except TypeError as error:
        raise StorageError(f"{url} is no calibration: {error}. Delete it, and run again.") from None


def keep_calibration(folder: Storage, found: Calibration) -> Calibration:
    """Store a calibration, and return the stored one; the first writer wins."""
    body = asdict(found)
    sealed = seal(body)
    folder.put_if_absent(_DONE, sealed)
    stored = read_calibration(folder)
    assert stored is not None
    return stored
