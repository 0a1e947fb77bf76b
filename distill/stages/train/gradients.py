"""One step's gradient over the *global* batch, in one of two ways that a job chooses by `gradients`.

`workers`  each worker takes all its lanes at once, and torch's DistributedDataParallel averages. As fast as a bare loop; another number of workers
           gives the same rows in every batch, and weights that differ in their last bits. A worker's loss is its share of the global batch's, so
           workers with more lanes than others (3 of 8) bend nothing; the one with the most is waited for.
`lanes`    each lane is taken alone, and the lanes' gradients are summed in a fixed binary tree: numbers of lanes split into even and odd
           places, and so on down. Worker r of W holds the lanes ≡ r (mod W), which is a subtree where W is a power of two, and the workers'
           sums meet in a butterfly that is the rest of the tree (a + b is b + a to the last bit). Any other W, as a range of workers may give, sends
           all lanes' gradients to all and sums them there. So weights are **bit-equal** for any W of at most as many workers as lanes on CPU
           (tests/stages/train/test_gradients.py), dropout included, which is drawn by (seed, step, lane); not tried on GPUs. Memory holds one lane's
           activations, so it is gradient accumulation too. It costs 12% at 4,096 rows a batch, and 84% at 512 (tests/benchmarks/results/train_cost.md),
           so it is not the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from distill.engine.protocol import WorkerContext
from distill.loader.dataset import Arrays
from distill.models.network import as_tensor, trained_parameters
from distill.stages.train.combined_loss import Batch, CombinedLoss

Answer = Callable[[Tensor], Mapping[str, Tensor]]
"""Features of all sources → every head's outputs."""


class Gradients(Protocol):
    """Leaves the gradient of a step in the parameters."""

    loss: CombinedLoss

    def backward(self, seed: int, step: int, batches: Sequence[Arrays]) -> Tensor:
        """One batch a source, this worker's lanes laid end to end. Returns this worker's (terms, 4)
        sums (`CombinedLoss`)."""


class WorkerGradients:
    """All lanes of a worker at once; the mean over workers by DDP."""

    def __init__(
        self,
        network: nn.Module,
        loss: CombinedLoss,
        context: WorkerContext,
        answer: Callable[[nn.Module], Answer],
    ) -> None:
        self.network, self.loss, self.context = network, loss, context
        self.answer = answer(
            DistributedDataParallel(network, process_group=context.group)
            if context.workers > 1
            else network
        )

    def backward(self, seed: int, step: int, batches: Sequence[Arrays]) -> Tensor:
        """As `Gradients` says."""
        _begin_drawing(self.context.device, seed, step, self.context.rank)
        tensors = [_on_device(batch, self.context.device) for batch in batches]
        known = self.loss.known(tensors)
        meeting = (
            dist.all_reduce(known, group=self.context.group, async_op=True)
            if self.context.workers > 1
            else None
        )
        _no_gradients(self.network)
        answered = _answered(self.answer, tensors)
        if meeting is not None:  # what the workers told each other while they answered
            meeting.wait()
        loss, summed = self.loss(answered, tensors, known)
        (loss * self.context.workers).backward()  # type: ignore[no-untyped-call]  # DDP averages
        return summed


class LaneGradients:
    """Lane by lane, in a fixed tree."""

    def __init__(
        self,
        network: nn.Module,
        loss: CombinedLoss,
        context: WorkerContext,
        answer: Callable[[nn.Module], Answer],
        lanes: int,
    ) -> None:
        self.network, self.loss, self.context, self.answer = network, loss, context, answer(network)
        self.total, self.lanes = lanes, range(context.rank, lanes, context.workers)

    def backward(self, seed: int, step: int, batches: Sequence[Arrays]) -> Tensor:
        """As `Gradients` says."""
        tensors = [_on_device(batch, self.context.device) for batch in batches]
        lanes = [
            [_part(batch, number, len(self.lanes)) for batch in tensors]
            for number in range(len(self.lanes))
        ]
        known = self._over_lanes(lambda place: self.loss.known(lanes[place]))
        sums: list[Tensor] = []

        def gradient(place: int) -> Tensor:
            _begin_drawing(self.context.device, seed, step, self.lanes[place])
            _no_gradients(self.network)
            loss, summed = self.loss(_answered(self.answer, lanes[place]), lanes[place], known)
            loss.backward()  # type: ignore[no-untyped-call]
            sums.append(summed)
            return _flat(self.network)

        _spread(self._over_lanes(gradient), self.network)
        return torch.stack(sums).sum(dim=0)

    def _over_lanes(self, made: Callable[[int], Tensor]) -> Tensor:
        """The sum over the lanes of all workers, `made` from the place of each of mine."""
        places, workers = range(len(self.lanes)), self.context.workers
        if workers & (workers - 1):
            gathered = self._gathered(torch.stack([made(place) for place in places]))
            return _tree(range(self.total), lambda lane: gathered[lane % workers][lane // workers])
        mine, distance = _tree(places, made), workers // 2
        while distance:
            mine = mine + _exchanged(mine, self.context.rank ^ distance, self.context.group)
            distance //= 2
        return mine

    def _gathered(self, mine: Tensor) -> list[Tensor]:
        """Each worker's lanes; those of a worker with fewer are filled up."""
        most = -(-self.total // self.context.workers)
        mine = torch.cat([mine, mine.new_zeros(most - len(mine), *mine.shape[1:])])
        gathered = [torch.empty_like(mine) for _ in range(self.context.workers)]
        dist.all_gather(gathered, mine, group=self.context.group)
        return gathered


def _on_device(batch: Arrays, device: str) -> Batch:
    """Arrays as tensors, which may share a CPU's memory with them."""
    return {
        name: (
            as_tensor(values, device) if name == "features" else torch.from_numpy(values).to(device)
        )
        for name, values in batch.items()
    }


def _answered(answer: Answer, batches: Sequence[Batch]) -> list[dict[str, Tensor]]:
    """Each source's answers, from one pass over the rows of all."""
    features = [batch["features"] for batch in batches]
    if len(features) == 1:
        return [dict(answer(features[0]))]
    outputs = answer(torch.cat(features))
    sizes = [len(batch["row"]) for batch in batches]
    parts = zip(*(torch.split(outputs[head], sizes) for head in outputs), strict=True)
    return [dict(zip(outputs, part, strict=True)) for part in parts]


def _part(batch: Batch, number: int, parts: int) -> Batch:
    rows = len(batch["row"]) // parts
    return {name: values[number * rows : (number + 1) * rows] for name, values in batch.items()}


def _tree(places: Sequence[int], made: Callable[[int], Tensor]) -> Tensor:
    """Even places, then odd ones, each likewise; as many tensors are held as the tree is deep."""
    if len(places) == 1:
        return made(places[0])
    return _tree(places[0::2], made) + _tree(places[1::2], made)


def _exchanged(mine: Tensor, partner: int, group: dist.ProcessGroup | None) -> Tensor:
    theirs = torch.empty_like(mine)
    operations = [
        dist.P2POp(dist.isend, mine.contiguous(), group=group, group_peer=partner),
        dist.P2POp(dist.irecv, theirs, group=group, group_peer=partner),
    ]
    for request in dist.batch_isend_irecv(operations):
        request.wait()
    return theirs


def _flat(network: nn.Module) -> Tensor:
    """All gradients end to end; zeros where there is none."""
    weights = trained_parameters(network)
    gradients = [torch.zeros_like(each) if each.grad is None else each.grad for each in weights]
    return torch.cat([gradient.flatten() for gradient in gradients])


def _spread(flat: Tensor, network: nn.Module) -> None:
    parameters = trained_parameters(network)
    for each, part in zip(
        parameters, torch.split(flat, [each.numel() for each in parameters]), strict=True
    ):
        each.grad = part.view_as(each)


def _no_gradients(network: nn.Module) -> None:
    for each in network.parameters():
        each.grad = None


def _begin_drawing(device: str, *position: int) -> None:
    """What is drawn from here on depends on the position alone. `torch.manual_seed` would do, but
    formats a stack for each kind of device that is not there: 0.8 ms a step."""
    seed = int(np.random.SeedSequence(position).generate_state(1)[0])
    torch.default_generator.manual_seed(seed)
    if device != "cpu":
        torch.cuda.manual_seed_all(seed)
