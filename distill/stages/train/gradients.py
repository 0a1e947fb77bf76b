"""One step's gradient over the *global* batch, in one of two ways that a job chooses by
`gradients`.

`workers`  each worker takes all its lanes at once, and torch's DistributedDataParallel averages; of
           a small network, the gradients meet in one exchange after the backward pass. As fast as
           a bare loop; another number of workers gives the same rows in every batch, and weights
           that differ in their last bits. A worker's loss is its share of the global batch's, so
           workers with more lanes than others (3 of 8) bend nothing; the one with the most is
           waited for.
`lanes`    each lane is taken alone, and the lanes' gradients are summed in a fixed binary tree:
           numbers of lanes split into even and odd positions, and so on down. Worker r of W holds
           the lanes ≡ r (mod W), which is a subtree where W is a power of two, and the workers'
           sums meet in a butterfly that is the rest of the tree (a + b is b + a to the last bit).
           Any other W, as a range of workers may give, sends all lanes' gradients to all and sums
           them there. So weights are **bit-equal** for any W of at most as many workers as lanes on
           CPU (tests/stages/train/test_gradients.py), dropout included, which is drawn by (seed,
           step, lane); not tried on GPUs. Memory holds one lane's activations, so it is gradient
           accumulation too. BatchNorm then normalises a lane by its own rows (`batch_norms`), so
           that all this holds with it as well. Not the default, for what it costs: 12% at 4,096
           rows a batch, and 84% at 512 (tests/benchmarks/results/train_cost.md).

Either takes a part of its rows after another where memory holds no more (`accumulate_batches`,
`token_budget`), and of a table the rows that the step's texts have (`table_rows`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distill.engine.protocol import WorkerContext
from distill.loader.dataset import Arrays
from distill.models.network import trained_parameters
from distill.stages.train.batch_norms import BatchNorms, normalising
from distill.stages.train.batches import Forward, batch_part, joint_outputs, on_device, seed_part
from distill.stages.train.combined_loss import Batch, CombinedLoss
from distill.stages.train.table_rows import TableRows, find_tables
from distill.stages.train.team import exchange_with, share_weights, sum_over_team
from distill.stages.train.token_budget import TokenBudget

# numbers of a network up to which its gradients are summed at once, after the backward pass. What
# DistributedDataParallel overlaps there is less than what it costs: of a text's student it was 0.6
# of 5.7 CPU-ms a step of 32 rows.
SMALL_NUMBERS = 1 << 16


class Gradients(Protocol):
    """Leaves the gradient of a step in the parameters."""

    loss: CombinedLoss

    @property
    def parameters(self) -> list[Tensor]:
        """What has a gradient after a step: parameters, and the step's rows of tables."""

    def backward(self, seed: int, step: int, batches: Sequence[Arrays]) -> Tensor:
        """Take one batch a dataset, this worker's lanes laid end to end. Returns this worker's
        (terms, 4) sums (`CombinedLoss`)."""


class WorkerGradients:
    """All lanes of a worker at once; summed over workers by DDP, or by itself where it is small."""

    def __init__(
        self,
        network: nn.Module,
        loss: CombinedLoss,
        context: WorkerContext,
        make_forward: Callable[[nn.Module], Forward],
        *,
        parts: int = 1,
        norms: BatchNorms | None = None,
        budget: TokenBudget | None = None,
    ) -> None:
        self.network = network
        self.loss = loss
        self.context = context
        self.parts = parts
        self.norms = norms
        self.budget = budget
        self._unsummed: Callable[[], AbstractContextManager[Any]] = nullcontext
        self.tables = list(find_tables(network).values())
        self.trained = trained_parameters(network)
        model = network
        self._is_small = sum(each.numel() for each in self.trained) <= SMALL_NUMBERS
        if self._is_small:
            # as DistributedDataParallel does: what is drawn may differ between kinds of CPUs
            share_weights(network, context)
        elif context.workers > 1:
            # it sums while the backward pass still runs, bucket by bucket; buffers are the same on
            # all workers
            model = DistributedDataParallel(
                network, process_group=context.group, broadcast_buffers=False
            )
            self._unsummed = model.no_sync
        self.forward = make_forward(model)

    @property
    def parameters(self) -> list[Tensor]:
        """See `Gradients`."""
        return [*self.trained, *(rows.weight for rows in self.tables)]

    def backward(self, seed: int, step: int, batches: Sequence[Arrays]) -> Tensor:
        """Do as `Gradients` says."""
        workers = self.context.workers
        tensors = [on_device(batch, self.context.device) for batch in batches]
        known = self.loss.known(tensors)
        _take_rows(self.tables, tensors, self.context)
        # summed over the workers while the network computes
        summing = None
        if workers > 1:
            summing = dist.all_reduce(known, group=self.context.group, async_op=True)
        _clear_gradients(self.parameters)
        sums = []
        parts = self._parts(tensors)
        for number, part in enumerate(parts):
            seed_part(self.context.device, number, seed, step, self.context.rank)
            is_last = number + 1 == len(parts)
            _join_rows(self.trained)
            with nullcontext() if is_last else self._unsummed():
                with normalising(self.norms, part):
                    outputs = joint_outputs(self.forward, part)
                if summing is not None and not number:
                    summing.wait()
                loss, part_sums = self.loss(outputs, part, known)
                if not self._is_small:
                    loss = loss * workers  # since DDP averages
                loss.backward()  # type: ignore[no-untyped-call]
            sums.append(part_sums)
        _make_dense(self.trained)
        self._sum_over_team()
        stacked = torch.stack(sums)
        return stacked.sum(dim=0)

    def _sum_over_team(self) -> None:
        """Sum what DDP did not."""
        if self.context.workers == 1:
            return
        moved = self.parameters if self._is_small else [rows.weight for rows in self.tables]
        if not moved:
            return
        total = sum_over_team(_flat_gradient(moved), self.context)
        if not self._is_small:
            total /= self.context.workers
        _set_gradient(total, moved)

    def _parts(self, batches: Sequence[Batch]) -> list[list[Batch]]:
        """What is computed at once, one batch a dataset each."""
        if self.budget is not None:
            lanes = range(self.context.rank, self.budget.lanes, self.context.workers)
            return self.budget.parts(batches, len(lanes))
        numbers = range(self.parts)
        return [[batch_part(batch, number, self.parts) for batch in batches] for number in numbers]


class LaneGradients:
    """Lane by lane, in a fixed tree."""

    def __init__(
        self,
        network: nn.Module,
        loss: CombinedLoss,
        context: WorkerContext,
        make_forward: Callable[[nn.Module], Forward],
        lanes: int,
        *,
        norms: BatchNorms | None = None,
        budget: TokenBudget | None = None,
    ) -> None:
        self.network = network
        self.loss = loss
        self.context = context
        self.norms = norms
        self.budget = budget
        self.forward = make_forward(network)
        self.tables = list(find_tables(network).values())
        self.trained = trained_parameters(network)
        self.total = lanes
        self.lanes = range(context.rank, lanes, context.workers)

    @property
    def parameters(self) -> list[Tensor]:
        """See `Gradients`."""
        return [*self.trained, *(rows.weight for rows in self.tables)]

    def backward(self, seed: int, step: int, batches: Sequence[Arrays]) -> Tensor:
        """Do as `Gradients` says."""
        numbers = range(len(self.lanes))
        tensors = [on_device(batch, self.context.device) for batch in batches]
        lanes = [
            [batch_part(batch, number, len(numbers)) for batch in tensors] for number in numbers
        ]
        known = self._sum_over_lanes(lambda number: self.loss.known(lanes[number]))
        _take_rows(self.tables, tensors, self.context)
        moved = self.parameters
        sums: list[Tensor] = []

        def gradient(number: int) -> Tensor:
            _clear_gradients(moved)
            lane = lanes[number]
            parts = [lane] if self.budget is None else self.budget.parts(lane, 1)
            for place, part in enumerate(parts):
                seed_part(self.context.device, place, seed, step, self.lanes[number])
                _join_rows(moved)
                with normalising(self.norms, part):
                    outputs = joint_outputs(self.forward, part)
                loss, part_sums = self.loss(outputs, part, known)
                loss.backward()  # type: ignore[no-untyped-call]
                sums.append(part_sums)
            flat = _flat_gradient(moved)
            if self.norms is None:
                return flat
            return torch.cat([flat, self.norms.lane_statistics()])

        total = self._sum_over_lanes(gradient)
        numbers_moved = sum(each.numel() for each in moved)
        _set_gradient(total[:numbers_moved], moved)
        if self.norms is not None:
            self.norms.move(total[numbers_moved:])
        stacked = torch.stack(sums)
        return stacked.sum(dim=0)

    def _sum_over_lanes(self, compute: Callable[[int], Tensor]) -> Tensor:
        """The sum over the lanes of all workers, `compute`d from the number of each of mine."""
        workers = self.context.workers
        numbers = range(len(self.lanes))
        is_power_of_two = not workers & (workers - 1)
        if not is_power_of_two:
            gathered = self._gather(torch.stack([compute(number) for number in numbers]))
            return _tree_sum(
                range(self.total), lambda lane: gathered[lane % workers][lane // workers]
            )
        # a worker's lanes are a subtree of the whole where W is a power of two
        total = _tree_sum(numbers, compute)
        distance = workers // 2
        while distance:
            partner = self.context.rank ^ distance
            # both partners add the same two: a + b is b + a to the last bit
            total = total + exchange_with(total, partner, self.context.group)
            distance //= 2
        return total

    def _gather(self, lanes: Tensor) -> list[Tensor]:
        """Each worker's lanes."""
        # a worker with fewer lanes fills up: all_gather wants the same of all
        most = -(-self.total // self.context.workers)
        # all_gather wants the same shape of all
        padding = lanes.new_zeros(most - len(lanes), *lanes.shape[1:])
        parts = [lanes, padding]
        padded = torch.cat(parts)
        gathered = [torch.empty_like(padded) for _ in range(self.context.workers)]
        dist.all_gather(gathered, padded, group=self.context.group)
        return gathered


def _tree_sum(numbers: Sequence[int], compute: Callable[[int], Tensor]) -> Tensor:
    """Even positions, then odd ones, each likewise."""
    # as many tensors are held as the tree is deep
    if len(numbers) == 1:
        return compute(numbers[0])
    return _tree_sum(numbers[0::2], compute) + _tree_sum(numbers[1::2], compute)


def _take_rows(
    tables: Sequence[TableRows], batches: Sequence[Batch], context: WorkerContext
) -> None:
    """Make ready the rows that this step's texts have."""
    for rows in tables:
        rows.take([batch["features"] for batch in batches], context)


def _flat_gradient(parameters: Sequence[Tensor]) -> Tensor:
    """All gradients end to end; zeros where there is none."""
    # a head that no term of this lane learns has none
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    return torch.cat([_dense(gradient).flatten() for gradient in gradients])


def _set_gradient(flat: Tensor, parameters: Sequence[Tensor]) -> None:
    """The inverse of `_flat_gradient`."""
    parts = torch.split(flat, [each.numel() for each in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def _join_rows(parameters: Sequence[Tensor]) -> None:
    """Have each row once in the gradients of rows that the parts before have left: the next part's
    are copied behind them."""
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()


def _make_dense(parameters: Sequence[Tensor]) -> None:
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = _dense(parameter.grad)


def _dense(gradient: Tensor) -> Tensor:
    """Of a table that gives the rows of a step (`give_rows`), or a module of the user's own, whole."""
    return gradient.to_dense() if gradient.is_sparse else gradient


def _clear_gradients(parameters: Sequence[Tensor]) -> None:
    for parameter in parameters:
        parameter.grad = None
