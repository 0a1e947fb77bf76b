"""ESZSL: attribute-based zero-shot in closed form, fitted in one pass of any size over labelled
rows.

With X (n, d) features and a constant 1, Y (n, z) one-hot over the z seen classes, and S (z, a)
their attributes:

    V = (XᵀX + γ·n·I)⁻¹ XᵀY S (SᵀS + λI)⁻¹
    logits(x) = scale · (xᵀ V S_allᵀ − calibration · [class is seen])

V is eq. 5 of Romera-Paredes & Torr 2015, γ taken a row; calibrated stacking is eq. 4 of Chao et al.
2016.

The pass gathers, of any rows, XᵀX, the classes' sums XᵀY, and a bounded sample (`sample`), which is
every row where no class has more than its share of the bound. The four constants are chosen on the
sample, on the cluster too (`holdout`). V is then solved from the sums over all rows.

Memory of a `Statistic`, whatever the rows and workers: 8·(d + 1)² bytes of XᵀX, 8·z·(d + 1) of
XᵀY, and a sample of at most `SAMPLE_ROWS` rows and `SAMPLE_BYTES` (at d = 1,024 and z = 40: 8 + 0.3
+ 64 MiB). `merge` holds up to four of it at once, scoring a split the sample twice and three
matrices of XᵀX's size, `weights` three of these.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from distill.core.errors import LabelerError
from distill.labelers.base import Double, Matrix
from distill.labelers.eszsl.holdout import Constants, Holdout
from distill.labelers.eszsl.ridge import attribute_side, feature_side, moments
from distill.labelers.eszsl.sample import Numbers, RowSampler, Sample
from distill.spec.models import Eszsl


@dataclass(frozen=True)
class Statistic:
    """What the pass gathers of some rows."""

    gram: Double  # XᵀX: (d + 1, d + 1)
    sums: Double  # XᵀY, transposed: (z, d + 1). Its last column counts the classes' rows.
    sample: Sample

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return self.gram.nbytes + self.sums.nbytes + self.sample.nbytes


@dataclass(frozen=True)
class EszslFit:
    """A fit: `partial` of any rows, `merge` of any two, `choice` of the constants on their sample,
    and `weights`."""

    spec: Eszsl
    attributes: Double  # (A, a) of all classes
    seen: Numbers  # (z,): where the target's classes stand among them

    @property
    def _sampler(self) -> RowSampler:
        classes = len(self.seen)
        return RowSampler(classes, self.spec.seed)

    def partial(self, features: Matrix, target: Numbers, row: Numbers) -> Statistic:
        """Gather some rows. `target` numbers the seen classes, `row` the rows within the pool."""
        classes = len(self.seen)
        once = np.ones(classes)
        gram, sums = moments(features, target, once)
        sample = self._sampler.take(features, target, row)
        return Statistic(gram, sums, sample)

    def merge(self, first: Statistic, second: Statistic) -> Statistic:
        """Return the statistic of both's rows."""
        sample = self._sampler.merge(first.sample, second.sample)
        gram = first.gram + second.gram
        sums = first.sums + second.sums
        return Statistic(gram, sums, sample)

    def choice(self, statistic: Statistic) -> Holdout:
        """Return how to choose the constants, given the statistic of all rows. Raises LabelerError
        where a class has no row."""
        rows = statistic.sums[:, -1]
        classes = len(self.seen)
        is_empty = rows == 0
        empty = int(np.sum(is_empty))
        if empty:
            raise LabelerError(
                f"{empty} of the {classes} seen classes have no usable row. Compare the target's"
                " values with the pool's classes."
            )
        sample = statistic.sample
        sampled = np.bincount(sample.target, minlength=classes)
        # a class beyond its share of the sample is drawn in part, each row standing for more
        rows_for_one = rows / np.maximum(sampled, 1)
        known = self.attributes[self.seen]
        return Holdout(self.spec, known, sample, rows_for_one)

    def weights(self, gram: Double, sums: Double, constants: Constants) -> dict[str, Matrix]:
        """Solve for the weights of an `EszslLabeler`, given XᵀX and the classes' sums of all rows:
        `weight` (d + 1, A) and `bias` (A,)."""
        known = self.attributes[self.seen]
        (left,) = feature_side(gram, sums, known, [constants.feature_ridge])
        (right,) = attribute_side(known, self.attributes, [constants.attribute_ridge])
        # calibrated stacking and the scale do not depend on x, so they go into the weights
        product = left @ right
        weight = product * constants.scale
        bias = np.zeros(len(self.attributes))
        bias[self.seen] = -constants.calibration
        bias *= constants.scale
        return {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
