"""Which constants a zero-shot classifier should have: the likeliest on classes that are held out as
if nobody had labelled them.

Seen classes are dealt to groups, and each class's rows to folds. For each of many pairs of groups
and each fold, the classifier is fitted on the other groups' rows of the other folds, and every
combination of constants is judged by the negative log-likelihood of the fold's rows: the mean over
pseudo-seen rows and that over pseudo-unseen ones (of the pair) weigh the same. The smallest mean
over all pairs wins. (Measured on digits: likelihood chose the same constants on every split, the
harmonic mean of accuracies did not. Folds by row number would hold whole classes out where rows lie
class after class in turn: 14% of test rows right in place of 78%.)

All of it happens on a sample, in which a row stands for `weights` rows of its class: sums over the
sample estimate the pool's, in which γ is taken a row. Splits are judged apart from each other, on
any machines, and a split answers with its losses alone.

A split costs a Gram matrix of the sample, a solution of order d for each γ, and exponentials for
every class of every judged row, so pairs become fewer as rows or answers become wider: `PAIRS`
(every pair of `GROUPS`) up to 256 numbers or classes, from there on in proportion to 1/width², and
never fewer than `GROUPS`. At any number, each group is held out about as often as the others.
(Measured on one core: 64 splits at d = 1,024 and 40 classes 0.6 s each, at d = 256 and 1,000
classes 2.3 s.)
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from distill.core.errors import LabelerError
from distill.labelers.ridge import (
    Double,
    attribute_side,
    blocks,
    feature_side,
    moments,
    with_constant,
)
from distill.labelers.sample import Sample
from distill.spec.models import Eszsl

FOLDS = 4
GROUPS = 16
PAIRS = 120
_NARROW = 256
"""Numbers in a row, and classes, up to which every pair is held out."""


class Split(NamedTuple):
    """One pair of class groups and one fold of the rows, neither of them fitted."""

    pair: tuple[int, int]
    fold: int


@dataclass(frozen=True)
class Score:
    """What one split says of every combination of constants, for its pseudo-seen rows and its
    pseudo-unseen ones."""

    pair: tuple[int, int]
    loss: Double
    """(2, γ, λ, calibrations, scales): sums of negative log-likelihoods."""
    count: Double
    """(2,): rows, as many as they stand for."""


@dataclass(frozen=True)
class Constants:
    """The combination that won."""

    feature_ridge: float
    attribute_ridge: float
    calibration: float
    scale: float
    held_out_nll: float


@dataclass(frozen=True)
class Holdout:
    """A choice of constants: `score` every one of `splits`, anywhere, then take the `best`."""

    spec: Eszsl
    attributes: Double
    """(z, a) of the seen classes."""
    sample: Sample
    weights: Double
    """(z,): rows of the pool for one in the sample, of each class."""

    @cached_property
    def group_of(self) -> npt.NDArray[np.int64]:
        """(z,): which group a class is held out with."""
        classes = len(self.attributes)
        return np.random.default_rng(self.spec.seed).permutation(classes) % min(GROUPS, classes)

    @cached_property
    def fold_of(self) -> npt.NDArray[np.int64]:
        """(m,): the fold of a sampled row. Each class's rows, in the sample's random order, are
        dealt in turn."""
        target = self.sample.target
        return (np.arange(len(target)) - np.searchsorted(target, target)) % FOLDS

    @property
    def splits(self) -> list[Split]:
        """In an order that does not matter."""
        return [Split(pair, fold) for pair, fold in itertools.product(self._pairs, range(FOLDS))]

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        """Neighbours on the ring of groups, then those one apart, and so on: each round holds every
        group out twice."""
        groups = min(GROUPS, len(self.attributes))
        every = sorted(
            itertools.combinations(range(groups), 2),
            key=lambda pair: (min(pair[1] - pair[0], groups - pair[1] + pair[0]), pair),
        )
        width = max(self.sample.features.shape[1], len(self.attributes))
        return every[: max(GROUPS, min(PAIRS, PAIRS * _NARROW**2 // width**2))]

    def score(self, split: Split) -> list[Score]:
        """A list of one, so that lists of scores add up; of none where the split leaves no row to
        fit."""
        sample, held = self.sample, np.isin(self.group_of, split.pair)
        apart = self.fold_of == split.fold
        fitted = ~apart & ~held[sample.target]
        if not fitted.any():
            return []
        gram, sums = moments(sample.features[fitted], sample.target[fitted], self.weights)
        known = self.attributes[~held]
        lefts = feature_side(gram, sums[~held], known, self.spec.feature_ridges)
        rights = attribute_side(known, self.attributes, self.spec.attribute_ridges)
        judged = np.flatnonzero(apart)
        unseen, weights = held[sample.target[judged]], self.weights[sample.target[judged]]
        count = np.array([weights[~unseen].sum(), weights[unseen].sum()])
        loss = np.zeros(
            (2, len(lefts), len(rights), len(self.spec.calibrations), len(self.spec.scales))
        )
        for part in blocks(len(judged), max(gram.shape[0], len(held))):
            x, target = with_constant(sample.features[judged[part]]), sample.target[judged[part]]
            for g, left in enumerate(lefts):
                shown = x @ left
                for r, right in enumerate(rights):
                    loss[:, g, r] += self._losses(shown @ right, target, held)
        return [Score(split.pair, loss, count)]

    def _losses(
        self, scores: Double, target: npt.NDArray[np.int64], held: npt.NDArray[np.bool_]
    ) -> Double:
        """Σ of −log p(target), pseudo-seen rows apart from -unseen, for each calibration and scale:
        (rows, z) → (2, calibrations, scales).

        Calibration moves all seen classes together, so their normaliser and the others' are taken
        once a scale and joined for each.
        """
        calibrations = np.array(self.spec.calibrations)[:, None]
        weights, unseen = self.weights[target], held[target]
        losses = np.empty((2, len(calibrations), len(self.spec.scales)))
        for number, scale in enumerate(self.spec.scales):
            logits = scale * scores
            seen_mass = _log_sum_exp(logits[:, ~held]) - scale * calibrations
            normalizer = np.logaddexp(seen_mass, _log_sum_exp(logits[:, held]))
            chosen = logits[np.arange(len(target)), target] - scale * calibrations * ~unseen
            wrong = (normalizer - chosen) * weights
            losses[:, :, number] = wrong[:, ~unseen].sum(axis=1), wrong[:, unseen].sum(axis=1)
        return losses

    def best(self, scores: Sequence[Score]) -> Constants:
        """The constants that all splits together find likeliest. Raises LabelerError where there
        were too few rows to say."""
        means = []
        for pair in self._pairs:
            mine = [score for score in scores if score.pair == pair]
            loss, count = (
                np.sum([score.loss for score in mine], axis=0),
                np.sum([score.count for score in mine], axis=0),
            )
            if np.all(count > 0):
                means.append((loss / count[:, None, None, None, None]).mean(axis=0))
        if not means:
            raise LabelerError(
                f"{len(self.sample)} labelled rows are too few to hold out classes and rows. Label"
                " more of them."
            )
        mean, spec = np.mean(means, axis=0), self.spec
        g, r, c, s = np.unravel_index(mean.argmin(), mean.shape)
        return Constants(
            feature_ridge=spec.feature_ridges[g],
            attribute_ridge=spec.attribute_ridges[r],
            calibration=spec.calibrations[c],
            scale=spec.scales[s],
            held_out_nll=float(mean.min()),
        )


def _log_sum_exp(logits: Double) -> Double:
    """(rows, classes) → (rows,)."""
    top = logits.max(axis=1)
    found: Double = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
    return found
