"""ESZSL: attribute-based zero-shot in closed form, fitted in two passes of any size over labelled rows.

With X (n, d) features and a constant 1, Y (n, z) one-hot over the z seen classes, S (z, a) their attributes:

    V = (XᵀX + γ·n·I)⁻¹ XᵀY S (SᵀS + λI)⁻¹                          Romera-Paredes & Torr 2015, eq. 5 (γ taken a row)
    logits(x) = scale · (xᵀ V S_allᵀ − calibration · [class is seen])     calibrated stacking: Chao et al. 2016, eq. 4

The four constants are chosen on labelled rows alone: classes are held out in pairs as if they were unseen, all others but a fold of
their rows are fitted, and the constants with the smallest negative log-likelihood on the held-out rows win, pseudo-seen and
pseudo-unseen rows weighing the same. (Measured on digits: likelihood chose the same constants on every split, the harmonic mean of
accuracies did not.) Pass 1 sums XᵀX and Xᵀ1 by class group and row fold; pass 2 scores the candidates on at most `SCORED_ROWS` rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import safetensors.numpy

from distill.errors import LabelerError
from distill.job import Eszsl
from distill.labelers.base import Matrix, Seen
from distill.models import ModelRecord, read_weights
from distill.pool import as_matrix
from distill.storage import open_storage

Double = npt.NDArray[np.float64]
Statistic = Mapping[str, Double]

FOLDS = 4
GROUPS = 16
HOLDOUTS = 120
SCORED_ROWS = 20_000


class EszslFit:
    """The state of a fit between passes: `partial` on any rows, statistics added up, then `update`, until `weights` is there."""

    def __init__(self, spec: Eszsl, attributes: Double, seen: npt.NDArray[np.int64], rows: int) -> None:
        """`attributes` (A, a) of all classes; `seen` (z,) where the target's classes stand among them; `rows` of the labelled pool."""
        self.spec, self.attributes, self.seen, self.rows = spec, attributes, seen, rows
        draw = np.random.default_rng(spec.seed)
        self.group_of = draw.permutation(len(seen)) % min(GROUPS, len(seen))
        pairs = list(itertools.combinations(range(min(GROUPS, len(seen))), 2))
        self.holdouts = [pairs[number] for number in sorted(draw.permutation(len(pairs))[:HOLDOUTS])]
        self._gram: Double | None = None
        self._sums: Double | None = None
        self._candidates: Double | None = None
        self.weights: dict[str, npt.NDArray[np.float32]] | None = None
        self.chosen: dict[str, float] = {}

    def partial(self, features: Matrix, target: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> Statistic:
        """What some rows add to the statistics of the pass under way. `row` numbers rows within the pool."""
        x = _with_constant(features)
        return self._moments(x, target, row % FOLDS) if self._candidates is None else self._scores(x, target, row)

    def update(self, statistic: Statistic) -> None:
        """End a pass with the sum of all its partial statistics."""
        if self._candidates is None:
            self._gram, self._sums = statistic["gram"], statistic["sums"]
            empty = np.flatnonzero(self._sums[:, :, -1].sum(axis=1) == 0)
            if len(empty):
                said = f"{len(empty)} of the {len(self.seen)} seen classes have no usable row"
                raise LabelerError(f"{said}. Compare the target's values with the pool's classes.")
            self._candidates = np.stack([self._solve_holdout(pair, fold) for pair, fold in self._splits()])
        else:
            self._choose(statistic["loss"], statistic["count"])

    def _splits(self) -> list[tuple[tuple[int, int], int]]:
        return list(itertools.product(self.holdouts, range(FOLDS)))

    def _moments(self, x: Double, target: npt.NDArray[np.int64], fold: npt.NDArray[np.int64]) -> Statistic:
        width, groups = x.shape[1], int(self.group_of.max()) + 1
        gram, sums = np.zeros((groups, FOLDS, width, width)), np.zeros((len(self.seen), FOLDS, width))
        for number, part in itertools.product(range(len(self.seen)), range(FOLDS)):
            mine = x[(target == number) & (fold == part)]
            gram[self.group_of[number], part] += mine.T @ mine
            sums[number, part] = mine.sum(axis=0)
        return {"gram": gram, "sums": sums}

    def _solve_holdout(self, pair: tuple[int, int], fold: int) -> Double:
        classes = np.flatnonzero(~np.isin(self.group_of, pair))
        groups = [group for group in range(int(self.group_of.max()) + 1) if group not in pair]
        return self._solve(classes, groups, [part for part in range(FOLDS) if part != fold], self.attributes[self.seen])

    def _solve(self, classes: npt.NDArray[np.int64], groups: list[int], folds: list[int], described: Double) -> Double:
        """V Sᵀ for every (γ, λ), fitted on some classes and folds, for the classes in `described`: (γ, λ, d, classes)."""
        assert self._gram is not None
        assert self._sums is not None
        gram = self._gram[groups][:, folds].sum(axis=(0, 1))
        sums = self._sums[classes][:, folds].sum(axis=1).T
        known = self.attributes[self.seen][classes]
        values, vectors = np.linalg.eigh(gram)
        rows = gram[-1, -1]
        sides = [
            np.linalg.solve(known.T @ known + ridge * np.eye(known.shape[1]), described.T)
            for ridge in self.spec.attribute_ridges
        ]
        solved = [
            vectors @ ((vectors.T @ sums) / (values[:, None] + ridge * rows)) @ known
            for ridge in self.spec.feature_ridges
        ]
        return np.array([[left @ right for right in sides] for left in solved])

    def _scores(self, x: Double, target: npt.NDArray[np.int64], row: npt.NDArray[np.int64]) -> Statistic:
        """Negative log-likelihood of every candidate on rows that its fit did not see: by holdout and by pseudo-seen or -unseen."""
        assert self._candidates is not None
        scored = (row // FOLDS) % max(1, self.rows // SCORED_ROWS) == 0
        x, target, fold = x[scored], target[scored], (row % FOLDS)[scored]
        spec = self.spec
        grid = (len(spec.feature_ridges), len(spec.attribute_ridges), len(spec.calibrations), len(spec.scales))
        loss, count = np.zeros((len(self.holdouts), 2, *grid)), np.zeros((len(self.holdouts), 2))
        for number, (pair, part) in enumerate(self._splits()):
            seen = ~np.isin(self.group_of, pair)
            mine = fold == part
            scores = np.einsum("bd,gldc->glbc", x[mine], self._candidates[number])
            for (c, calibration), (s, scale) in itertools.product(enumerate(spec.calibrations), enumerate(spec.scales)):
                wrong = _negative_log_likelihood(scale * (scores - calibration * seen), target[mine])
                for side, rows in enumerate((seen[target[mine]], ~seen[target[mine]])):
                    loss[number // FOLDS, side, :, :, c, s] += wrong[..., rows].sum(axis=-1)
            for side, rows in enumerate((seen[target[mine]], ~seen[target[mine]])):
                count[number // FOLDS, side] += rows.sum()
        return {"loss": loss, "count": count}

    def _choose(self, loss: Double, count: Double) -> None:
        usable = (count > 0).all(axis=1)
        mean = (loss[usable] / count[usable][:, :, None, None, None, None]).mean(axis=(0, 1))
        g, lam, c, s = np.unravel_index(mean.argmin(), mean.shape)
        spec = self.spec
        self.chosen = {
            "feature_ridge": spec.feature_ridges[g],
            "attribute_ridge": spec.attribute_ridges[lam],
            "calibration": spec.calibrations[c],
            "scale": spec.scales[s],
            "held_out_nll": float(mean.min()),
        }
        every = np.arange(len(self.seen))
        weight = self._solve(every, list(range(int(self.group_of.max()) + 1)), list(range(FOLDS)), self.attributes)[
            g, lam
        ]
        bias = np.zeros(len(self.attributes))
        bias[self.seen] = spec.calibrations[c]
        scale = spec.scales[s]
        self.weights = {"weight": (weight * scale).astype(np.float32), "bias": (-bias * scale).astype(np.float32)}


class EszslLabeler:
    """logits = [x, 1] · weight + bias over all described classes."""

    def __init__(self, weight: Matrix, bias: Matrix) -> None:
        self.weight, self.bias = weight, bias

    @classmethod
    def load(cls, folder: str, record: ModelRecord) -> EszslLabeler:
        """From storage, the weights' sha256 checked. Raises StorageError."""
        tensors = safetensors.numpy.load(read_weights(open_storage(folder), record))
        return cls(tensors["weight"], tensors["bias"])

    def label(self, features: Seen) -> Matrix:
        logits: Matrix = as_matrix(features) @ self.weight[:-1] + self.weight[-1] + self.bias
        return logits


def add_statistics(first: Statistic, second: Statistic) -> Statistic:
    """Statistics of two sets of rows to those of their union."""
    return {name: first[name] + second[name] for name in first}


def _with_constant(features: Matrix) -> Double:
    return np.hstack([features.astype(np.float64), np.ones((len(features), 1))])


def _negative_log_likelihood(logits: Double, target: npt.NDArray[np.int64]) -> Double:
    """−log softmax over the last axis at each row's target: (…, rows, classes) → (…, rows)."""
    top = logits.max(axis=-1, keepdims=True)
    normalizer = np.log(np.exp(logits - top).sum(axis=-1)) + top[..., 0]
    chosen: Double = normalizer - logits[..., np.arange(len(target)), target]
    return chosen
