"""BatchNorm in training: which rows its statistics are of, and who moves the running ones.

`frozen`  layers normalise by their running statistics, as in evaluation, and these stay.
`sync`    by those of a step's rows, Σ over all workers' (Ioffe & Szegedy 2015; over workers as
          torch's SyncBatchNorm). One worker is torch's own BatchNorm, and more are one to rounding.
          With `gradients = "lanes"` a lane is normalised by its own rows (ghost batches, Hoffer et
          al. 2017), since memory holds one lane, and the running statistics take the mean of the
          lanes', summed in the lanes' tree: so weights and statistics are bit-equal for any number
          of workers, but others than those of `gradients = "workers"`.

Rows of weight 0 to every term are in no statistics: padding, and what was rejected; where a step
has no other, the running ones serve.

It is `torch.nn.functional.batch_norm` that is answered here while a network computes, so that every
layer on it is covered, timm's with an activation within too. Layers, their parameters and buffers
stay what they are, in exports as well.

Shapes: B rows, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from distill.core.errors import UnlearnableError
from distill.engine.protocol import WorkerContext
from distill.stages.train.combined_loss import Batch
from distill.stages.train.team import sum_over_team

Way = Literal["frozen", "workers", "lanes"]


@dataclass(frozen=True)
class _Layer:
    """What a layer asks torch's function for, beside its input."""

    running_mean: Tensor | None
    running_var: Tensor | None
    weight: Tensor | None = None
    bias: Tensor | None = None
    training: bool = False
    momentum: float = 0.1
    eps: float = 1e-5

    def by_running(self, given: Tensor) -> Tensor:
        """Normalise by the running statistics."""
        means = self.running_mean, self.running_var
        return functional.batch_norm(given, *means, self.weight, self.bias, eps=self.eps)

    def by_own(self, given: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise by the input's own statistics. Returns these too, mean and variance (C,)."""
        mean = torch.zeros(given.shape[1], device=given.device)
        variance = torch.zeros_like(mean)
        # a momentum of 1 leaves this batch's own
        answer = functional.batch_norm(
            given, mean, variance, self.weight, self.bias, training=True, momentum=1.0, eps=self.eps
        )
        return answer, mean, variance

    def by_rows(
        self, given: Tensor, used: Tensor, add_up: Callable[[Tensor], Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Normalise by the rows that are used, (B,), of all whose sums `add_up` adds. Returns their
        statistics too."""
        numbers = given.float()
        across = [0, *range(2, given.ndim)]
        by_channel = (1, -1, *(1,) * (given.ndim - 2))
        used_rows = used.view(-1, *(1,) * (given.ndim - 1)).to(numbers.dtype)
        count = used_rows.sum().reshape(1) * math.prod(given.shape[2:])
        sums = add_up(torch.cat([(numbers * used_rows).sum(across), count]))
        last = sums[-1]
        total = last.detach()
        mean = sums[:-1] / total
        centred = numbers - mean.view(by_channel)
        squares = add_up((centred.square() * used_rows).sum(across))
        scale = torch.rsqrt(squares / total + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        answer = centred * scale.view(by_channel)
        if self.bias is not None:
            answer = answer + self.bias.view(by_channel)
        # torch keeps the unbiased variance
        variance = squares.detach() / (total - 1).clamp_min(1)
        return answer.to(given.dtype), mean.detach(), variance


class BatchNorms:
    """The BatchNorm layers of one network while it is trained."""

    def __init__(self, network: nn.Module, way: Way, context: WorkerContext) -> None:
        self.way = way
        self.context = context
        layers = [each for each in network.modules() if isinstance(each, _BatchNorm)]
        self.layers = [layer for layer in layers if layer.running_mean is not None]
        # by the buffer that a layer hands over, since it is not told which layer calls
        self._numbers = {id(layer.running_mean): each for each, layer in enumerate(self.layers)}
        self._used = torch.ones(1, dtype=torch.bool)
        self._is_any_used = True
        self._lane: dict[int, tuple[Tensor, Tensor]] = {}

    @contextmanager
    def over(self, batches: Sequence[Batch]) -> Iterator[None]:
        """While it lasts, what computes normalises by these batches' rows, laid end to end."""
        self._used = torch.cat([_used_rows(batch) for batch in batches])
        count = self._used.sum()
        if self.way == "workers":
            count = sum_over_team(count, self.context)
        self._is_any_used = bool(count)
        counts = [_tracked(layer).clone() for layer in self.layers]
        with _Answering(self._batch_norm):
            yield
        if self.way != "workers":
            # a lane is no step
            for layer, before in zip(self.layers, counts, strict=True):
                _tracked(layer).copy_(before)

    def lane_statistics(self) -> Tensor:
        """Return means and variances of the lane that was computed last, and of each layer whether
        it has any, end to end: to be summed over lanes."""
        parts = [torch.zeros(0, device=self._used.device)]
        for number, layer in enumerate(self.layers):
            means = _mean(layer)
            zeros = torch.zeros_like(means)
            mean, variance = self._lane.get(number, (zeros, zeros))
            known = mean.new_full((1,), float(number in self._lane))
            parts += [mean, variance, known]
        self._lane = {}
        return torch.cat(parts)

    def move(self, summed: Tensor) -> None:
        """Move the running statistics by the mean of all lanes' (`lane_statistics`, summed)."""
        if self.way != "lanes":
            return
        start = 0
        for layer in self.layers:
            mean, variance = _mean(layer), layer.running_var
            assert variance is not None
            channels = len(mean)
            sums = summed[start : start + 2 * channels]
            lanes = summed[start + 2 * channels]
            start += 2 * channels + 1
            _tracked(layer).add_(1)
            if lanes > 0:
                momentum = _momentum(layer)
                mean.lerp_(sums[:channels] / lanes, momentum)
                variance.lerp_(sums[channels:] / lanes, momentum)

    def _batch_norm(self, given: Tensor, *told: Any, **named: Any) -> Tensor:
        """Answer as torch's function does."""
        layer = _Layer(*told, **named)
        may_move = layer.training and self.way != "frozen" and self._is_any_used
        used = _rows_of(self._used, given)
        if self.way == "lanes" and not bool(used.any()):
            may_move = False
        if not may_move:
            return layer.by_running(given)
        is_alone = self.way == "lanes" or self.context.workers == 1
        if is_alone and bool(used.all()):
            answer, mean, variance = layer.by_own(given)
        else:
            add_up = _as_it_is if is_alone else partial(_add_up, self.context)
            answer, mean, variance = layer.by_rows(given, used, add_up)
        self._record(layer, mean, variance)
        return answer

    def _record(self, layer: _Layer, mean: Tensor, variance: Tensor) -> None:
        if layer.running_mean is None or layer.running_var is None:
            return
        if self.way == "lanes":
            self._lane[self._numbers[id(layer.running_mean)]] = (mean, variance)
            return
        layer.running_mean.lerp_(mean, layer.momentum)
        layer.running_var.lerp_(variance, layer.momentum)


@contextmanager
def normalising(norms: BatchNorms | None, batches: Sequence[Batch]) -> Iterator[None]:
    """While it lasts, the network's BatchNorm layers normalise by these rows."""
    if norms is None:
        yield
        return
    with norms.over(batches):
        yield


class _Answering(TorchFunctionMode):
    """Answers one function of torch while it is entered."""

    def __init__(self, answer: Callable[..., Tensor]) -> None:
        super().__init__()
        self.answer = answer

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        if func is functional.batch_norm:
            return self.answer(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


class _TeamSum(torch.autograd.Function):
    """The sum over all workers, and of its gradients too."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, group: dist.ProcessGroup | None) -> Tensor:
        ctx.group = group
        total = values.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total, group=ctx.group)
        return total, None


def _add_up(context: WorkerContext, values: Tensor) -> Tensor:
    total: Tensor = _TeamSum.apply(values, context.group)  # type: ignore[no-untyped-call]
    return total


def _as_it_is(values: Tensor) -> Tensor:
    return values


def _mean(layer: _BatchNorm) -> Tensor:
    assert layer.running_mean is not None
    return layer.running_mean


def _tracked(layer: _BatchNorm) -> Tensor:
    assert layer.num_batches_tracked is not None
    return layer.num_batches_tracked


def _momentum(layer: _BatchNorm) -> float:
    """The share of a step's statistics in the running ones; without one they are the mean so far."""
    return 1 / float(_tracked(layer)) if layer.momentum is None else layer.momentum


def _used_rows(batch: Batch) -> Tensor:
    """Whether some term counts a row, (B,)."""
    weights = [values > 0 for name, values in batch.items() if name.endswith(".weight")]
    stacked = torch.stack(weights)
    return stacked.any(dim=0)


def _rows_of(used: Tensor, given: Tensor) -> Tensor:
    """Which rows of a layer's input are used."""
    # a network may make several rows of each of the batch's, in order
    each, rest = divmod(len(given), len(used))
    if rest or not each:
        raise UnlearnableError(
            f"batch_norm: a layer is given {len(given)} rows of a batch of {len(used)}, so that"
            " nobody knows which of them are padding. Keep the batch first in what the network's"
            " BatchNorm layers see."
        )
    return used if each == 1 else used.repeat_interleave(each)
