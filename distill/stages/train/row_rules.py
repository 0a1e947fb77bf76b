"""Optimisers that move a row of a table only in the steps whose gradient has it, and end where the
plain ones do, to rounding.

A row without a gradient still moves under a plain optimiser: by its momentum, which fades, and by
the decay of weights. Both are known ahead, so nothing has to be done in the steps between. Of a row
with weights w and moments, kept is not w but where it would come to rest,

    settled = w − drift(step, moments),

which a step without a gradient leaves as it is, but for a factor that all rows share. So w is had
again at any later step as settled · factor + drift of the moments as they are by then.

`adamw`  drift is Σ_s c_s · m / (a_s · √v + ε) over the steps s to come, with a_s and c_s the same
         for all rows (Loshchilov & Hutter 2019, with the bias corrections of Kingma & Ba 2015). The
         sum over 200 steps, after which 0.9^200 is nothing, is a Gauss quadrature over the measure
         that c_s are on a_s: 2 nodes from step 512 on, where a_s hardly changes, more before. Its
         relative error is below 4e-7, about that of float32 itself
         (tests/stages/train/test_row_rules.py).
`sgd`    (w, b) moves by a 2 × 2 matrix a step, since the decay enters the momentum; S and R take it
         apart into a slow number, w − S·b, and a fast one, b − R·slow, each with a factor of its
         own. Without decay S is the sum of the coming rates · 0.9^k, and R is 0.

Shapes: U rows, H numbers of a row, T steps, N nodes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

HORIZON = 200  # steps after which a momentum has faded: 0.9^200 = 7e-10
_BLOCK = 256  # steps whose constants are computed at once
_NODES = ((16, 8), (64, 5), (512, 3))  # up to which step how many nodes are needed
_LAST_NODES = 2
# torch's own, which distill's jobs do not change
_BETA_1, _BETA_2, _EPSILON = 0.9, 0.999, 1e-8
_MOMENTUM = 0.9

# the learning rate of a step, from 0 on; for steps after the last one too
Rate = Callable[[int], float]
Numbers = npt.NDArray[np.float64]
Moments = Sequence[Tensor]


class RowRule(Protocol):
    """How rows of a table move. Steps are numbers of steps taken: 0 before the first."""

    names: tuple[str, ...]  # of the moments, as torch's optimiser has them

    def factors(self, step: int, last: Tensor) -> Tensor:
        """Return by what settled rows and each of their moments are to be multiplied, (1 + moments,
        U) float64, to be those after `step` steps of rows that were settled after `last` (U,) ones."""

    def rise(self, step: int, settled: Tensor, moments: Moments) -> Tensor:
        """Return the weights (U, H) of rows that were multiplied so, in place."""

    def move(self, step: int, weights: Tensor, gradient: Tensor, moments: Moments) -> None:
        """Take one step after `step` steps, in place."""

    def settle(self, step: int, weights: Tensor, moments: Moments) -> Tensor:
        """Return where rows come to rest, whose weights and moments after `step` steps these are;
        in place, and of the moments too what is kept."""


def read_rows(rule: RowRule, step: int, last: Tensor, settled: Tensor, moments: Moments) -> Tensor:
    """Return the weights (U, H) after `step` steps of rows that were settled after `last` (U,) ones.
    Brings `settled` and `moments` there in place."""
    factors = rule.factors(step, last)
    for part, factor in zip([settled, *moments], factors, strict=True):
        part.mul_(factor.to(part.dtype)[:, None])
    return rule.rise(step, settled, moments)


class AdamWRows:
    """AdamW, as `RowRule` has it."""

    names: tuple[str, ...] = ("exp_avg", "exp_avg_sq")

    def __init__(self, rate: Rate, decay: float) -> None:
        self.rate = rate
        self.decay = decay
        self._blocks: dict[int, tuple[Numbers, Numbers]] = {}
        # nodes and weights of one of the first steps
        self._first: tuple[int, list[float], list[float]] = (-1, [], [])
        self._kept = _Logarithms(self._kept_share)
        # logarithms of what a step leaves of weights, but for decay, and of moments, (3, 1)
        left = torch.tensor([[1.0], [_BETA_1], [_BETA_2]], dtype=torch.float64)
        self._fading = left.log()

    def factors(self, step: int, last: Tensor) -> Tensor:
        """Do as `RowRule` says."""
        self._fading = self._fading.to(last.device)
        factors = torch.exp(self._fading * (step - last))
        if self.decay:
            factors[0] = self._kept.product(last, step)
        return factors

    def rise(self, step: int, settled: Tensor, moments: Moments) -> Tensor:
        """Do as `RowRule` says."""
        return self._add_drift(step, settled, moments, 1.0)

    def move(self, step: int, weights: Tensor, gradient: Tensor, moments: Moments) -> None:
        """Do as `RowRule` says."""
        mean, square = moments
        # what torch.optim.AdamW calls: the function in front of it takes as long for a block of rows
        torch._fused_adamw_(
            [weights],
            [gradient],
            [mean],
            [square],
            [],
            # beside the weights: on a GPU its kernel reads the number there
            [torch.full((), step + 1.0, device=weights.device)],
            amsgrad=False,
            beta1=_BETA_1,
            beta2=_BETA_2,
            lr=self.rate(step),
            weight_decay=self.decay,
            eps=_EPSILON,
            maximize=False,
        )

    def settle(self, step: int, weights: Tensor, moments: Moments) -> Tensor:
        """Do as `RowRule` says."""
        return self._add_drift(step, weights, moments, -1.0)

    def _add_drift(self, step: int, rows: Tensor, moments: Moments, sign: float) -> Tensor:
        """Add to rows (U, H), in place, how far they still go against their momentum."""
        if not step:
            return rows
        mean, square = moments
        root = square.sqrt()
        divisor = torch.empty_like(root)
        for node, weight in zip(*self._nodes_at(step), strict=True):
            # m / (a · √v + ε), both divided by a
            torch.add(root, _EPSILON / node, out=divisor)
            rows.addcdiv_(mean, divisor, value=sign * weight / node)
        return rows

    def _nodes_at(self, step: int) -> tuple[list[float], list[float]]:
        block = step // _BLOCK
        start = block * _BLOCK
        if start not in self._blocks:
            self._blocks = {start: self._block(start)}
        nodes, weights = self._blocks[start]
        count = next((count for end, count in _NODES if step < end), _LAST_NODES)
        if count == nodes.shape[1]:
            row = step - start
            return nodes[row].tolist(), weights[row].tolist()
        # rows are settled after one step and read before the next: the same number of steps
        if self._first[0] != step:
            found = gauss_nodes(*self._measure(np.array([float(step)])), count)
            few_nodes, few_weights = (each[0].tolist() for each in found)
            self._first = (step, few_nodes, few_weights)
        return self._first[1:]

    def _kept_share(self, step: int) -> float:
        """What the decay of one step leaves of a weight."""
        return 1 - self.rate(step) * self.decay

    def _block(self, start: int) -> tuple[Numbers, Numbers]:
        """Nodes and weights (T, N) of a block of steps."""
        steps = np.arange(max(1, start), start + _BLOCK, dtype=np.float64)
        count = 3 if start < _NODES[-1][0] else _LAST_NODES
        nodes, weights = gauss_nodes(*self._measure(steps), count)
        if not start:
            # step 0 has no momentum
            nodes = np.vstack([nodes[:1], nodes])
            weights = np.vstack([weights[:1], weights])
        return nodes, weights

    def _measure(self, steps: Numbers) -> tuple[Numbers, Numbers]:
        """a_s and c_s (T, HORIZON) of the steps to come after each."""
        first = int(steps[0])
        rates = np.array([self.rate(first + ahead) for ahead in range(len(steps) + HORIZON)])
        decayed = rates * self.decay
        kept = 1 - decayed
        ahead = np.arange(1, HORIZON + 1)
        taken = steps[:, None] + ahead
        offset = (steps - first).astype(np.int64)[:, None] + ahead - 1
        # the settled weights decay from `step` on: each coming move is taken back to there
        decay = np.cumprod(kept[offset], axis=1) if self.decay else 1.0
        moves = rates[offset] / (1 - _BETA_1**taken) * _BETA_1**ahead / decay
        scales = _BETA_2 ** (ahead / 2) / np.sqrt(1 - _BETA_2**taken)
        return scales, moves


class SgdRows:
    """SGD with momentum, as `RowRule` has it."""

    names: tuple[str, ...] = ("momentum_buffer",)

    def __init__(self, rate: Rate, decay: float) -> None:
        self.rate = rate
        self.decay = decay
        self._blocks: dict[int, list[float]] = {}
        self._slow = _Logarithms(self._slow_factor)
        self._fast = _Logarithms(self._fast_factor)
        self._slopes = [0.0]

    def factors(self, step: int, last: Tensor) -> Tensor:
        """Do as `RowRule` says."""
        fast = self._fast.product(last, step)
        slow = self._slow.product(last, step) if self.decay else torch.ones_like(fast)
        return torch.stack([slow, fast])

    def rise(self, step: int, settled: Tensor, moments: Moments) -> Tensor:
        """Do as `RowRule` says."""
        (momentum,) = moments
        if self.decay:
            slope = self._slope(step)
            momentum.add_(settled, alpha=slope)
        reach = self._reach(step)
        return settled.add_(momentum, alpha=reach)

    def move(self, step: int, weights: Tensor, gradient: Tensor, moments: Moments) -> None:
        """Do as `RowRule` says."""
        (momentum,) = moments
        momentum.mul_(_MOMENTUM).add_(gradient)
        if self.decay:
            momentum.add_(weights, alpha=self.decay)
        weights.add_(momentum, alpha=-self.rate(step))

    def settle(self, step: int, weights: Tensor, moments: Moments) -> Tensor:
        """Do as `RowRule` says."""
        (momentum,) = moments
        settled = weights.sub_(momentum, alpha=self._reach(step))
        if self.decay:
            slope = self._slope(step)
            momentum.sub_(settled, alpha=slope)
        return settled

    def _slow_factor(self, step: int) -> float:
        return 1 - self.decay * (self.rate(step) + self._reach(step + 1))

    def _fast_factor(self, step: int) -> float:
        return _MOMENTUM + self.decay * self._reach(step)

    def _reach(self, step: int) -> float:
        """S after so many steps: how far a momentum of 1 still moves a weight."""
        block = step // _BLOCK
        start = block * _BLOCK
        if start not in self._blocks:
            # two are kept: the factors of a step need the S of the next one too
            newest = dict(list(self._blocks.items())[-1:])
            self._blocks = {**newest, start: self._reaches(start)}
        reaches = self._blocks[start]
        return reaches[step - start]

    def _reaches(self, start: int) -> list[float]:
        """S of a block of steps, backwards from where it no longer matters."""
        reaches = [0.0]
        for step in range(start + _BLOCK + HORIZON, start, -1):
            moved = self.rate(step - 1) + reaches[-1]
            reaches.append(_MOMENTUM * moved / (1 - self.decay * moved))
        return reaches[::-1][:_BLOCK]

    def _slope(self, step: int) -> float:
        """R after so many steps: the momentum that decay alone gives a settled weight of 1."""
        while len(self._slopes) <= step:
            before = len(self._slopes) - 1
            grown = self.decay + self._fast_factor(before) * self._slopes[-1]
            self._slopes.append(grown / self._slow_factor(before))
        return self._slopes[step]


class _Logarithms:
    """Products of factors of consecutive steps, by the sums of their logarithms."""

    def __init__(self, factor: Callable[[int], float]) -> None:
        self._factor = factor
        self._sums = [0.0]
        self._tensor = torch.zeros(1, dtype=torch.float64)

    def product(self, first: Tensor, stop: int) -> Tensor:
        """Return the product over the steps from `first` (U,) up to `stop`, (U,) float64."""
        while len(self._sums) <= stop:
            step = len(self._sums) - 1
            self._sums.append(self._sums[-1] + math.log(self._factor(step)))
        if len(self._tensor) <= stop:
            self._tensor = torch.tensor(self._sums, dtype=torch.float64)
        sums = self._tensor
        return (sums[stop] - sums[first.long().cpu()]).exp().to(first.device)


def gauss_nodes(points: Numbers, weights: Numbers, count: int) -> tuple[Numbers, Numbers]:
    """Return nodes and weights (T, N) whose sums are those over `points` and `weights` (T, S) for
    every polynomial of degree 2N − 1 (Golub & Welsch 1969)."""
    total = weights.sum(axis=1)
    before = np.zeros_like(points)
    polynomial = np.ones_like(points) / np.sqrt(total)[:, None]
    matrix = np.zeros((len(points), count, count))
    beta = np.zeros(len(points))
    for row in range(count):
        squared = polynomial**2
        weighted = weights * squared
        products = weighted * points
        alpha = products.sum(axis=1)
        matrix[:, row, row] = alpha
        if row + 1 == count:
            break
        following = (points - alpha[:, None]) * polynomial - beta[:, None] * before
        beta = np.sqrt((weights * following**2).sum(axis=1))
        matrix[:, row, row + 1] = beta
        matrix[:, row + 1, row] = beta
        before = polynomial
        polynomial = following / beta[:, None]
    nodes, vectors = np.linalg.eigh(matrix)
    return nodes, total[:, None] * vectors[:, 0, :] ** 2
