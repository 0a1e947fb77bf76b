"""What a network costs a row beside its time, which no other work on the machine changes: the
floating-point operations of its products and convolutions, by torch's own counter (a multiplication
and an addition are two), and the most bytes that its weights and the numbers of a batch take at
once.

What is no network of torch's has neither.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from distill.labelers.base import Labeler, raw_predict


def network_costs(labeler: Labeler, batch: npt.NDArray[np.generic]) -> Mapping[str, float]:
    """Return `flops_per_row`, `weight_bytes` and `batch_bytes` of a labeler asked about a batch once;
    what is not known is left out."""
    counter = FlopCounterMode(display=False)
    live = _LiveBytes()
    with counter, live:
        raw_predict(labeler, batch)
    if not live.most:
        return {}
    most = float(live.most)
    costs = {"batch_bytes": most}
    flops = counter.get_total_flops()
    if flops:
        costs["flops_per_row"] = flops / len(batch)
    weights = _weight_bytes(getattr(labeler, "network", None))
    return {**costs, "weight_bytes": weights} if weights else costs


def _weight_bytes(network: object) -> float:
    if not isinstance(network, torch.nn.Module):
        return 0.0
    tensors = [*network.parameters(), *network.buffers()]
    return float(sum(tensor.numel() * tensor.element_size() for tensor in tensors))


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's has no types
    """The most bytes that tensors take at once which are made while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most = 0
        self._live = 0
        # tensors that show a storage, by its address: views share one
        self._users: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {_address(each) for each in tree_leaves((args, kwargs)) if _is_tensor(each)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            # what was there before, as weights and the batch itself, is not made here
            if _is_tensor(tensor) and (
                _address(tensor) in self._users or _address(tensor) not in given
            ):
                self._see(tensor)
        return result

    def _see(self, tensor: torch.Tensor) -> None:
        address = _address(tensor)
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        if address not in self._users:
            self._live += size
            self.most = max(self.most, self._live)
        self._users[address] = self._users.get(address, 0) + 1
        weakref.finalize(tensor, self._leave, address, size)

    def _leave(self, address: int, size: int) -> None:
        self._users[address] -= 1
        if not self._users[address]:
            del self._users[address]
            self._live -= size


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _address(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
