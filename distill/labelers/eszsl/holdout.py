"""Chooses the constants of a zero-shot classifier: the likeliest on classes that are held out as if
nobody had labelled them.

Seen classes are dealt to groups, and each class's rows to folds. For each of many pairs of groups
and each fold, the classifier is fitted on the other groups' rows of the other folds, and every
combination of constants is scored by the negative log-likelihood of the fold's rows: the mean over
pseudo-seen rows and that over pseudo-unseen ones (of the pair) weigh the same. The smallest mean
over all pairs wins.

All of it happens on a sample, in which a row stands for `weights` rows of its class: sums over the
sample estimate the pool's, in which γ is taken a row. Splits are scored apart from each other, on
any machines, and of a split its losses alone are sent back.

A split costs a Gram matrix of the sample, a solution of order d for each γ, and exponentials for
every class of every scored row, so pairs become fewer as rows or outputs become wider: `PAIRS`
(every pair of `GROUPS`) up to 256 numbers or classes, from there on in proportion to 1/width², and
never fewer than `GROUPS`. At any number, each group is held out about as often as the others.
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
from distill.labelers.base import Double, log_sum_exp
from distill.labelers.eszsl.ridge import (
    attribute_side,
    blocks,
    feature_side,
    moments,
    with_constant,
)
from distill.labelers.eszsl.sample import Numbers, Sample
from distill.spec.models import Eszsl

FOLDS = 4
GROUPS = 16
PAIRS = 120
_NARROW = 256  # numbers in a row, and classes, up to which every pair is held out

Mask = npt.NDArray[np.bool_]


class Split(NamedTuple):
    """One pair of class groups and one fold of the rows, neither of them fitted."""

    pair: tuple[int, int]
    fold: int


@dataclass(frozen=True)
class Score:
    """The losses of every combination of constants on one split, for its pseudo-seen rows and its
    pseudo-unseen ones."""

    pair: tuple[int, int]
    loss: Double  # (2, γ, λ, calibrations, scales): sums of negative log-likelihoods
    count: Double  # (2,): rows, as many as they stand for


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
    attributes: Double  # (z, a) of the seen classes
    sample: Sample
    weights: Double  # (z,): rows of the pool for one in the sample, of each class

    # once a process, in which many splits of one holdout are scored
    @cached_property
    def group_of(self) -> Numbers:
        """(z,): which group a class is held out with."""
        classes = len(self.attributes)
        order = np.random.default_rng(self.spec.seed).permutation(classes)
        groups = min(GROUPS, classes)
        return order % groups

    @cached_property
    def fold_of(self) -> Numbers:
        """(m,): the fold of a sampled row. Rows of a class, in the sample's order, take turns."""
        target = self.sample.target
        # by row number, whole classes would be held out where rows lie class after class in turn:
        # on digits, 14% of test rows right in place of 78%
        within_class = np.arange(len(target)) - np.searchsorted(target, target)
        return within_class % FOLDS

    @property
    def splits(self) -> list[Split]:
        """In an order that does not matter."""
        return [Split(pair, fold) for pair, fold in itertools.product(self._pairs, range(FOLDS))]

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        """Neighbours on the ring of groups, then those one apart, and so on: each round holds every
        group out twice."""
        classes = len(self.attributes)
        groups = min(GROUPS, classes)

        def apart(pair: tuple[int, int]) -> int:
            """How far two groups are from each other on the ring."""
            distance = pair[1] - pair[0]
            other_way = groups - distance
            return min(distance, other_way)

        pairs = list(itertools.combinations(range(groups), 2))
        pairs.sort(key=lambda pair: (apart(pair), pair))
        numbers = self.sample.features.shape[1]
        width = max(numbers, classes)
        # on one core, 64 splits take 0.6 s each at d = 1,024 and 40 classes, 2.3 at 256 and 1,000
        affordable = PAIRS * _NARROW**2 // width**2
        most = min(PAIRS, affordable)
        count = max(GROUPS, most)
        return pairs[:count]

    def score(self, split: Split) -> list[Score]:
        """Score every combination of constants on one split. A list of one, so that lists of scores
        add up; of none where the split leaves no row to fit."""
        features = self.sample.features
        target = self.sample.target
        unseen_class = np.isin(self.group_of, split.pair)
        in_fold = self.fold_of == split.fold
        is_seen = ~unseen_class[target]
        fitted = ~in_fold & is_seen
        if not fitted.any():
            return []
        gram, sums = moments(features[fitted], target[fitted], self.weights)
        known = self.attributes[~unseen_class]
        lefts = feature_side(gram, sums[~unseen_class], known, self.spec.feature_ridges)
        # rows are scored against all classes, those held out too, as they will be labelled
        rights = attribute_side(known, self.attributes, self.spec.attribute_ridges)
        scored = np.flatnonzero(in_fold)
        loss = self._grid_losses(scored, lefts, rights, unseen_class)
        count = self._counts(target[scored], unseen_class)
        return [Score(split.pair, loss, count)]

    def _counts(self, target: Numbers, unseen_class: Mask) -> Double:
        unseen = unseen_class[target]
        weights = self.weights[target]
        of_seen = weights[~unseen]
        seen_rows = of_seen.sum()
        of_unseen = weights[unseen]
        unseen_rows = of_unseen.sum()
        rows = [seen_rows, unseen_rows]
        return np.array(rows)

    def _grid_losses(
        self, rows: Numbers, lefts: list[Double], rights: list[Double], unseen_class: Mask
    ) -> Double:
        """`Score.loss` of some rows of the sample, given both sides of V for each γ and λ."""
        spec = self.spec
        grid = (len(lefts), len(rights), len(spec.calibrations), len(spec.scales))
        loss = np.zeros((2, *grid))
        width = max(lefts[0].shape[0], len(unseen_class))
        # in blocks, since a block's scores are as many doubles as its rows times all classes
        for block in blocks(len(rows), width):
            x = with_constant(self.sample.features[rows[block]])
            target = self.sample.target[rows[block]]
            for left_number, left in enumerate(lefts):
                # once a γ: the product with λ's side is the cheaper one, of a numbers a row
                attributes = x @ left
                for right_number, right in enumerate(rights):
                    scores = attributes @ right
                    losses = self._losses(scores, target, unseen_class)
                    loss[:, left_number, right_number] += losses
        return loss

    def _losses(self, scores: Double, target: Numbers, unseen_class: Mask) -> Double:
        """Σ of −log p(target), pseudo-seen rows apart from -unseen, for each calibration and scale:
        (rows, z) → (2, calibrations, scales)."""
        calibrations = np.array(self.spec.calibrations)[:, None]
        weights = self.weights[target]
        unseen = unseen_class[target]
        losses = np.empty((2, len(calibrations), len(self.spec.scales)))
        rows = np.arange(len(target))
        for number, scale in enumerate(self.spec.scales):
            logits = scale * scores
            # calibration moves all seen classes together, so their normaliser and the others' are
            # taken once a scale, and joined for each calibration
            shift = scale * calibrations
            seen_mass = log_sum_exp(logits[:, ~unseen_class], axis=1) - shift
            unseen_mass = log_sum_exp(logits[:, unseen_class], axis=1)
            normalizer = np.logaddexp(seen_mass, unseen_mass)
            of_target = logits[rows, target] - shift * ~unseen
            unweighted = normalizer - of_target
            nll = unweighted * weights
            losses[0, :, number] = nll[:, ~unseen].sum(axis=1)
            losses[1, :, number] = nll[:, unseen].sum(axis=1)
        return losses

    def best(self, scores: Sequence[Score]) -> Constants:
        """Return the constants that all splits together find likeliest. Raises LabelerError where
        there were too few rows to say."""
        means = []
        for pair in self._pairs:
            of_pair = [score for score in scores if score.pair == pair]
            loss = np.sum([score.loss for score in of_pair], axis=0)
            count = np.sum([score.count for score in of_pair], axis=0)
            # of a pair without rows of its classes one mean is missing, and half would decide
            if np.all(count > 0):
                mean_loss = loss / count[:, None, None, None, None]
                pair_mean = mean_loss.mean(axis=0)
                means.append(pair_mean)
        if not means:
            raise LabelerError(
                f"{len(self.sample)} labelled rows are too few to hold out classes and rows."
                " Label more of them."
            )
        # by likelihood: on digits it chose the same constants on every split, where the harmonic
        # mean of accuracies did not
        mean = np.mean(means, axis=0)
        flat = mean.argmin()
        lowest = np.unravel_index(flat, mean.shape)
        feature_ridge, attribute_ridge, calibration, scale = lowest
        spec = self.spec
        return Constants(
            feature_ridge=spec.feature_ridges[feature_ridge],
            attribute_ridge=spec.attribute_ridges[attribute_ridge],
            calibration=spec.calibrations[calibration],
            scale=spec.scales[scale],
            held_out_nll=float(mean.min()),
        )
