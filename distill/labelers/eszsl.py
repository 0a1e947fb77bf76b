"""ESZSL: attribute-based zero-shot in closed form, fitted in one pass of any size over labelled rows.

With X (n, d) features and a constant 1, Y (n, z) one-hot over the z seen classes, S (z, a) their attributes:

    V = (XᵀX + γ·n·I)⁻¹ XᵀY S (SᵀS + λI)⁻¹                          Romera-Paredes & Torr 2015, eq. 5 (γ taken a row)
    logits(x) = scale · (xᵀ V S_allᵀ − calibration · [class is seen])     calibrated stacking: Chao et al. 2016, eq. 4

The pass keeps, of any rows, XᵀX, the classes' sums XᵀY, and a bounded sample (`sample`), which is every row where no class has more
than its share of the bound. The four constants are chosen on the sample, on the cluster too (`holdout`). V is then solved from the sums
over all rows.

Memory of a `Statistic`, whatever the rows and workers: 8·(d + 1)² bytes of XᵀX, 8·z·(d + 1) of XᵀY, and a sample of at most
`SAMPLE_ROWS` rows and `SAMPLE_BYTES` (at d = 1,024 and z = 40: 8 + 0.3 + 64 MiB). `merge` holds up to four of it at once, a split's
judging the sample twice and three matrices of XᵀX's size, `weights` three of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.holdout import Constants, Holdout
from distill.labelers.ridge import Double, attribute_side, feature_side, moments
from distill.labelers.sample import Numbers, RowSampler, Sample
from distill.models.record import ModelRecord, read_weights
from distill.pools.features import as_matrix
from distill.spec.models import Eszsl
from distill.storage.open import open_storage


@dataclass(frozen=True)
class Statistic:
    """What is kept of some rows."""

    gram: Double
    """XᵀX: (d + 1, d + 1)."""
    sums: Double
    """XᵀY, transposed: (z, d + 1). Its last column counts the classes' rows."""
    sample: Sample

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return int(self.gram.nbytes + self.sums.nbytes + self.sample.nbytes)


@dataclass(frozen=True)
class EszslFit:
    """A fit: `partial` of any rows, `merge` of any two, `choice` of the constants on their sample,
    and `weights`."""

    spec: Eszsl
    attributes: Double
    """(A, a) of all classes."""
    seen: npt.NDArray[np.int64]
    """(z,): where the target's classes stand among them."""

    @property
    def _sampler(self) -> RowSampler:
        return RowSampler(len(self.seen), self.spec.seed)

    def partial(self, features: Matrix, target: Numbers, row: Numbers) -> Statistic:
        """What is kept of some rows. `target` numbers the seen classes, `row` the rows within the
        pool."""
        gram, sums = moments(features, target, np.ones(len(self.seen)))
        return Statistic(gram, sums, self._sampler.take(features, target, row))

    def merge(self, first: Statistic, second: Statistic) -> Statistic:
        """What is kept of both's rows."""
        sample = self._sampler.merge(first.sample, second.sample)
        return Statistic(first.gram + second.gram, first.sums + second.sums, sample)

    def choice(self, statistic: Statistic) -> Holdout:
        """How to choose the constants, given what is kept of all rows. Raises LabelerError where a
        class has none."""
        rows = statistic.sums[:, -1]
        empty = np.flatnonzero(rows == 0)
        if len(empty):
            said = f"{len(empty)} of the {len(self.seen)} seen classes have no usable row"
            raise LabelerError(f"{said}. Compare the target's values with the pool's classes.")
        sampled = np.bincount(statistic.sample.target, minlength=len(rows))
        return Holdout(
            self.spec, self.attributes[self.seen], statistic.sample, rows / np.maximum(sampled, 1)
        )

    def weights(self, gram: Double, sums: Double, constants: Constants) -> dict[str, Matrix]:
        """What `EszslLabeler` is made of, given XᵀX and the classes' sums of all rows: `weight` (d
        + 1, A) and `bias` (A,)."""
        known = self.attributes[self.seen]
        (left,) = feature_side(gram, sums, known, (constants.feature_ridge,))
        (right,) = attribute_side(known, self.attributes, (constants.attribute_ridge,))
        bias = np.zeros(len(self.attributes))
        bias[self.seen] = -constants.calibration
        scaled = {"weight": left @ right * constants.scale, "bias": bias * constants.scale}
        return {name: values.astype(np.float32) for name, values in scaled.items()}


class EszslLabeler:
    """logits = [x, 1] · weight + bias over all described classes."""

    def __init__(self, weight: Matrix, bias: Matrix) -> None:
        self.weight, self.bias = weight, bias

    @classmethod
    def load(cls, folder: str, record: ModelRecord) -> EszslLabeler:
        """From storage, the weights' sha256 checked. Raises StorageError."""
        tensors = safetensors.numpy.load(read_weights(open_storage(folder), record))
        return cls(tensors["weight"], tensors["bias"])

    def label(self, features: Inputs) -> Matrix:
        logits: Matrix = as_matrix(features) @ self.weight[:-1] + self.weight[-1] + self.bias
        return logits
