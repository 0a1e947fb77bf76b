"""Several parties' labels as one, row by row: how the consensus of a federated distillation is made
(Lin et al. 2020; Cheng et al. 2021), where parties exchange what they say of a public pool.

With p_m the probabilities of party m (of independent outputs, of each; of values, the values), of a
number over the n parties that labelled the row:

    mean       Σ p_m / n
    median     the middle one, or the mean of the two middle ones
    trimmed    the mean without the ⌊trim · n⌋ smallest and largest (Yin et al. 2018, Definition 2)

Exclusive classes are brought to a sum of 1 again, all alike where each has 0, and logits = log p.
Whatever fewer than half of the parties write, the median of a number lies within what the others
say of it; so does the trimmed mean while they are no more than ⌊trim · n⌋. The mean moves by as much
as one party wants.

By `dawid_skene` logits are the logarithms of what the parties' votes make of each class
(`annotators`), whatever else they said.

The disagreement of a row is that of an ensemble whose members weigh alike.

Shapes: M parties, B rows, W numbers of a row; NaN where a party did not label the row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import safetensors.numpy

from distill.labelers.annotators import Annotators, votes_of
from distill.labelers.base import Double, Inputs, Predictions, probabilities_of
from distill.labelers.recipe import Recipe
from distill.models.record import read_weights
from distill.spec.labels import Merge
from distill.spec.outputs import Outputs
from distill.storage.open import open_storage

# in place of a probability of 0, whose logarithm would be no number that is stored
_LEAST = np.finfo(np.float32).tiny


@dataclass(frozen=True)
class MergeLabeler:
    """Sees what parties wrote, their outputs side by side, and answers with what they agree on."""

    table: Merge
    outputs: Outputs
    width: int
    annotators: Annotators | None = None

    @classmethod
    def load(cls, recipe: Recipe) -> MergeLabeler:
        """Build it, with what was found of its parties. Raises StorageError."""
        assert recipe.merge is not None
        assert recipe.outputs is not None
        known = None
        if recipe.record is not None:
            content = read_weights(open_storage(recipe.folder), recipe.record)
            arrays = safetensors.numpy.load(content)
            known = Annotators(arrays["prior"], arrays["errors"])
        return cls(recipe.merge, recipe.outputs, recipe.width, known)

    def label(self, features: Inputs) -> Predictions:
        """Return the consensus (B, W) and the parties' disagreement (B,), of (B, M · W)."""
        numbers = features.shape[1]
        parties = numbers // self.width
        stacked = features.reshape(len(features), parties, self.width)
        said_MBW = np.moveaxis(stacked, 1, 0).astype(np.float64)
        if self.outputs.kind == "value":
            agreed_BW = self._combined(said_MBW)
            disagreement = _spread(said_MBW)
            return _as_float32(agreed_BW, disagreement)
        p_MBW = probabilities_of(said_MBW, self.outputs)
        agreed_BW = self._combined(p_MBW)
        if self.annotators is not None:
            log_agreed_BW, _ = self.annotators.log_posterior(votes_of(said_MBW))
            agreed_BW = np.exp(log_agreed_BW)
        if self.outputs.exclusive:
            total_B1 = agreed_BW.sum(axis=1, keepdims=True)
            # parties that are each sure of another class have a median of 0 for all of them: they
            # agree on nothing
            agreed_BW = np.where(total_B1 > 0, agreed_BW, 1)
            agreed_BW = agreed_BW / agreed_BW.sum(axis=1, keepdims=True)
        logits_BW = _log(agreed_BW)
        apart_MBW = _entropy(p_MBW)
        mixed_BW = _entropy(np.nanmean(p_MBW, axis=0))
        if not self.outputs.exclusive:
            no_MBW = 1 - p_MBW
            logits_BW = logits_BW - _log(1 - agreed_BW)
            apart_MBW = (apart_MBW + _entropy(no_MBW)) / self.width
            mixed_BW = (mixed_BW + _entropy(np.nanmean(no_MBW, axis=0))) / self.width
        own_MB = apart_MBW.sum(axis=2)
        disagreement_B = mixed_BW.sum(axis=1) - np.nanmean(own_MB, axis=0)
        return _as_float32(logits_BW, disagreement_B)

    def _combined(self, numbers_MBW: Double) -> Double:
        if self.table.by == "median":
            median_BW: Double = np.nanmedian(numbers_MBW, axis=0)
            return median_BW
        if self.table.by == "trimmed":
            return _trimmed_mean(numbers_MBW, self.table.trim)
        mean_BW: Double = np.nanmean(numbers_MBW, axis=0)
        return mean_BW


def _trimmed_mean(numbers_MBW: Double, trim: float) -> Double:
    ordered_MBW = np.sort(numbers_MBW, axis=0)  # NaN last
    there_B = np.isfinite(numbers_MBW[:, :, 0]).sum(axis=0)
    # 0.2 · 5 is 1, whatever its last bit
    left_out_B = np.floor(trim * there_B + 1e-9).astype(np.int64)
    place_M = np.arange(len(numbers_MBW))[:, None]
    is_above = place_M >= left_out_B
    above = there_B - left_out_B
    is_below = place_M < above
    is_kept_MB = is_above & is_below
    kept_MBW = np.where(is_kept_MB[:, :, None], ordered_MBW, 0)
    counted_B = is_kept_MB.sum(axis=0)
    mean_BW: Double = kept_MBW.sum(axis=0) / counted_B[:, None]
    return mean_BW


def _log(p: Double) -> Double:
    logarithm: Double = np.log(np.maximum(p, _LEAST))
    return logarithm


def _entropy(p: Double) -> Double:
    """−p log p of each number, 0 where it is 0."""
    log_p = _log(p)
    return -p * log_p


def _spread(values_MBW: Double) -> Double:
    """Root mean square over the numbers of the parties' spread."""
    variance_BW = np.nanvar(values_MBW, axis=0)
    deviation_B: Double = np.sqrt(variance_BW.mean(axis=1))
    return deviation_B


def _as_float32(outputs: Double, disagreement: Double) -> Predictions:
    # rounding may leave a disagreement of nothing just below 0
    at_least_0 = np.maximum(disagreement, 0)
    return Predictions(outputs.astype(np.float32), at_least_0.astype(np.float32))
