"""What is done with batches between a loader and a network, whatever way gradients are summed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from distill.loader.dataset import Arrays
from distill.models.network import as_tensor
from distill.stages.train.combined_loss import Batch

# features of all datasets → every head's outputs
Forward = Callable[[Tensor], Mapping[str, Tensor]]


def on_device(batch: Arrays, device: str) -> Batch:
    """Arrays as tensors, which may share a CPU's memory with them."""
    tensors = {}
    for name, values in batch.items():
        if name == "features":
            tensors[name] = as_tensor(values, device)
        else:
            tensors[name] = torch.from_numpy(values).to(device)
    return tensors


def joint_outputs(forward: Forward, batches: Sequence[Batch]) -> list[dict[str, Tensor]]:
    """Each dataset's outputs by head, from one pass over the rows of all."""
    features = [batch["features"] for batch in batches]
    if len(features) == 1:
        first = features[0]
        only = forward(first)
        return [dict(only)]
    # DDP wants one forward pass for each backward pass
    joined = torch.cat(features)
    outputs = forward(joined)
    sizes = [len(batch["row"]) for batch in batches]
    by_head = {head: torch.split(values, sizes) for head, values in outputs.items()}
    numbers = range(len(batches))
    return [{head: parts[number] for head, parts in by_head.items()} for number in numbers]


def batch_part(batch: Batch, number: int, parts: int) -> Batch:
    """One of so many near-equal parts of a batch."""
    if parts == 1:
        return batch
    numbers = batch["row"]
    rows = len(numbers)
    done = rows * number
    start = done // parts
    stop = rows * (number + 1) // parts
    return {name: values[start:stop] for name, values in batch.items()}


def seed_part(device: str, number: int, *position: int) -> None:
    """Seed one part of a batch; the draws of the first are those of a batch in one part."""
    _seed_draws(device, *position, *([number] if number else []))


def _seed_draws(device: str, *position: int) -> None:
    """Make what is drawn from here on depend on the position alone."""
    seed = int(np.random.SeedSequence(position).generate_state(1)[0])
    # `torch.manual_seed` would do, but formats a stack for each kind of device that is not there:
    # 0.8 ms a step
    torch.default_generator.manual_seed(seed)
    if device != "cpu":
        torch.cuda.manual_seed_all(seed)
