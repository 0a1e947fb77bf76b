"""Gradients that hide each row: sampled by Poisson, clipped one by one, noised once (DP-SGD).

    g = ( Σ_{i in the sample} c_i · min(1, C / ‖c_i‖)  +  σ C z ) / (q N),     z ~ N(0, I)

over the rows of all workers. c_i is the gradient of the combined loss at row i alone, and q N the
sample's mean size: a number that no row changes. A step may have no row; then it is noise.

**Sampling.** Row i is in step t where the i-th of N uniform numbers drawn for (secret, t) is below
q. All workers draw the same N numbers and take those of their own rows, so the sample is the same
for any number of workers.

**Noise.** Rank 0 alone adds it, to its own sum, before the workers' sums are added up: once for all.

**The secret** is 128 random bits of the operating system, drawn by rank 0 whenever a process group
begins, told to the other ranks and kept nowhere. A seed of the job would not do: whoever knows it
knows the samples, which hide nothing then, and the noise. So a training that was killed goes on
from its newest checkpoint with samples of its own. No step is paid twice by that: what the dead
process had done since its checkpoint was never written, so what is there is one path of T steps.

Per-row gradients are opacus' (`GradSampleModule`, Yousefpour et al. 2021).

Shapes: B rows, P numbers of a parameter.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from distill.core.errors import UnlearnableError
from distill.core.failpoints import reach
from distill.loader.dataset import LOADER_BYTES, Arrays
from distill.models.network import trained_parameters
from distill.stages.train.batches import joint_outputs, on_device
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.private_account import PrivateAccount
from distill.stages.train.step import forward_maker
from distill.stages.train.team import from_rank_0, sum_over_team
from distill.stages.train.training_setup import TrainingSetup

Rows = npt.NDArray[np.int64]
_SAMPLE, _NOISE = range(2)
"""What is drawn for a step: streams of its own each."""


def fresh_secret() -> int:
    """Return 128 bits that nobody can draw again."""
    return int.from_bytes(os.urandom(16))


class PrivateGradients:
    """Noisy sums of clipped gradients over Poisson samples."""

    def __init__(self, setup: TrainingSetup, account: PrivateAccount) -> None:
        from opacus.grad_sample import GradSampleModule

        training = setup.plan.training
        assert training.private is not None
        self.context = setup.context
        self.account = account
        self.clip = training.private.clip
        self.loss = CombinedLoss(setup.plan.terms, setup.context.device)
        self.secret = from_rank_0(fresh_secret(), setup.context)
        (self.source,) = setup.plan.sources
        self.rows = _own_rows(setup)
        self.row_numbers: Rows = self.rows["row"].astype(np.int64)
        share = training.batch_rows // (setup.context.workers * training.accumulate_batches)
        self.rows_at_once = max(1, share)
        _take_nothing_in_place(setup.trained.modules())
        try:
            sampled = GradSampleModule(setup.trained, loss_reduction="sum", strict=True)
        except NotImplementedError as error:
            raise UnlearnableError(
                f"{setup.plan.name}: training.private needs each row's own gradient, which this"
                f" network does not have: {error}. Use one without BatchNorm and such layers."
            ) from None
        self.forward = forward_maker(training, setup.context.device)(sampled)
        self.parameters: list[Tensor] = list(trained_parameters(setup.trained))

    def backward(self, seed: int, step: int, batches: Sequence[Arrays]) -> Tensor:  # noqa: ARG002
        """Leave the noisy mean gradient of a step in the parameters. Returns nothing of the rows:
        their losses are not protected."""
        chosen = self._sample(step)
        total = [torch.zeros_like(each) for each in self.parameters]
        for part in self._parts(chosen):
            self._add_clipped(part, step, total)
        if self.context.rank == 0:
            self._add_noise(step, total)
        flat = torch.cat([each.flatten() for each in total])
        summed = sum_over_team(flat, self.context)
        mean = summed / (self.account.sample_rate * self.source.rows)
        parts = torch.split(mean, [each.numel() for each in self.parameters])
        for parameter, gradient in zip(self.parameters, parts, strict=True):
            parameter.grad = gradient.view_as(parameter)
        reach("private.step")
        return torch.zeros(len(self.loss.terms), 4, device=self.context.device)

    def _sample(self, step: int) -> Rows:
        """Where this worker's rows of a step stand among its rows."""
        numbers = self._draw(step, _SAMPLE).random(self.source.rows)
        is_chosen = numbers[self.row_numbers] < self.account.sample_rate
        return np.flatnonzero(is_chosen)

    def _draw(self, step: int, stream: int) -> np.random.Generator:
        # each step and stream has 2⁶⁴ blocks of its own
        counter = [0, step, stream, 0]
        return np.random.Generator(np.random.Philox(key=self.secret, counter=counter))

    def _parts(self, chosen: Rows) -> Iterator[Arrays]:
        """The chosen rows, as many at once as memory is meant to hold gradients of."""
        for start in range(0, len(chosen), self.rows_at_once):
            some = chosen[start : start + self.rows_at_once]
            yield {name: values[some] for name, values in self.rows.items()}

    def _add_clipped(self, part: Arrays, step: int, total: Sequence[Tensor]) -> None:
        """Add the clipped gradients of some rows to `total`."""
        batch = on_device(part, self.context.device)
        # dropout may be drawn from what is known: it hides nothing
        torch.manual_seed(step)
        outputs = joint_outputs(self.forward, [batch])
        # a sum over rows, each by itself
        known = torch.ones(len(self.loss.terms), device=self.context.device)
        loss, _ = self.loss(outputs, [batch], known)
        with warnings.catch_warnings():
            # opacus' hooks want the layers' own gradients alone, and not those of what comes in
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            loss.backward()  # type: ignore[no-untyped-call]
        own = [self._row_gradients(each, len(part["row"])) for each in self.parameters]
        squares_B = torch.stack([each.flatten(1).square().sum(dim=1) for each in own]).sum(dim=0)
        # a gradient that is no number adds nothing; the weights would be none either
        scale_B = (self.clip / squares_B.sqrt().clamp(min=1e-12)).clamp(max=1.0)
        scale_B = torch.where(squares_B.isfinite(), scale_B, 0.0)
        for sum_P, gradients_BP in zip(total, own, strict=True):
            finite_BP = torch.nan_to_num(gradients_BP, nan=0.0, posinf=0.0, neginf=0.0)
            sum_P.add_(torch.einsum("b,b...->...", scale_B, finite_BP))

    def _row_gradients(self, parameter: Tensor, rows: int) -> Tensor:
        """Each row's gradient of a parameter, (B, …), taken off it; zeros of one that no term
        learns."""
        sampled = getattr(parameter, "grad_sample", None)
        parameter.grad = None
        if sampled is None:
            return parameter.new_zeros(rows, *parameter.shape)
        parameter.grad_sample = None  # type: ignore[attr-defined]
        gradients: Tensor = sampled
        return gradients

    def _add_noise(self, step: int, total: Sequence[Tensor]) -> None:
        draw = self._draw(step, _NOISE)
        scale = self.account.noise * self.clip
        for sum_P in total:
            noise = scale * draw.standard_normal(tuple(sum_P.shape))
            sum_P.add_(torch.from_numpy(noise).to(sum_P))


def _take_nothing_in_place(modules: Iterable[Any]) -> None:
    """Have activations write elsewhere: hooks on modules refuse what is changed in place."""
    for each in modules:
        if getattr(each, "inplace", False):
            each.inplace = False


def _own_rows(setup: TrainingSetup) -> Arrays:
    """All rows of this worker, decoded: each may be in any step. Raises UnlearnableError where
    memory is not meant to hold them."""
    (source,) = setup.plan.sources
    context = setup.context
    own_bytes = source.rows * source.row_bytes // context.workers
    if own_bytes > LOADER_BYTES:
        workers = -(-source.rows * source.row_bytes // LOADER_BYTES)
        raise UnlearnableError(
            f"{setup.plan.name}: training.private draws from all rows at every step, and"
            f" {own_bytes / 1e9:.3g} GB of them a worker are more than is held. Take"
            f" {workers} workers, or fewer rows."
        )
    chunks = source.chunks(setup.plan.most_chunk_rows)[context.rank :: context.workers]
    if not chunks:
        chunks = source.chunks(setup.plan.most_chunk_rows)[:1]
        return {name: values[:0] for name, values in source.load(chunks[0]).items()}
    loaded = [source.load(chunk) for chunk in chunks]
    return {name: np.concatenate([each[name] for each in loaded]) for name in loaded[0]}
