"""Networks as a student has them: a trunk, and heads on it; a head may bring a network of its own
(θ beside θ_S). Which networks there are is no matter here: each is a class of its own
(`distill.models.networks`). Heads are affine maps.

Shapes: B rows, F numbers of a row, L n-grams or tokens of a text, H numbers that a head sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from distill.models.custom_source import TRUNK, head_key
from distill.models.record import NetworkPlan
from distill.models.trainable import require_trainable, require_used_parameters
from distill.pools.features import writable
from distill.spec.networks import BuiltNetwork, NetworkInput, TextTokens

# before the names of heads in module dictionaries, where torch keeps its own attributes too: a head
# may be called `values` or `train`
HEAD_PREFIX = "head_"
Tensors = Mapping[str, Tensor]
"""Weights by their names."""


class MultiHead(nn.Module):
    """`forward(x_BF)` answers every head: name → (B, width). Text comes as places of its n-grams or
    as tokens, (B, L) int32."""

    def __init__(self, plan: NetworkPlan, stored: Tensors | None = None) -> None:
        """`stored` are the weights that it will be given, of a network that was trained before:
        what it began as is then not opened."""
        super().__init__()
        self.ngrams = plan.model.text_hashing
        """How its texts are hashed; None where it sees numbers or tokens."""
        self.trunk: nn.Module | None = None
        widths = {}
        # weights are drawn in this order, whatever the order of the heads
        if any(head.model is None for head in plan.heads.values()):
            self.trunk, trunk_width = _built(plan, TRUNK, "trunk.", stored)
            widths = dict.fromkeys(plan.heads, trunk_width)
        own = {}
        for name, head in plan.heads.items():
            if head.model is not None:
                key = f"{HEAD_PREFIX}{name}"
                own[key], widths[name] = _built(plan, head_key(name), f"own.{key}.", stored)
        self.own = nn.ModuleDict(own)
        heads = {
            f"{HEAD_PREFIX}{name}": nn.Linear(widths[name], head.width)
            for name, head in plan.heads.items()
        }
        self.heads = nn.ModuleDict(heads)
        self.tokens: TextTokens | None = _tokens_of(self)
        """How its texts become tokens; None where it sees something else."""

    def forward(self, x_BF: Tensor) -> dict[str, Tensor]:
        shared_BH = x_BF if self.trunk is None else self.trunk(x_BF)
        outputs = {}
        for key, head in self.heads.items():
            seen_BH = self.own[key](x_BF) if key in self.own else shared_BH
            outputs[key.removeprefix(HEAD_PREFIX)] = head(seen_BH)
        return outputs


def as_tensor(features: npt.NDArray[np.generic], device: str) -> Tensor:
    """Move a pool's features to `device` as a network takes them, (B, F) float32; places of n-grams
    and tokens stay integers (B, L).

    Images travel as bytes (B, height, width, channels) and become there what
    `distill.pools.features.as_matrix` makes of them, on a CPU to the last bit.
    """
    moved = torch.from_numpy(writable(features)).to(device)
    is_image = moved.ndim == 4
    if not is_image:
        return moved if moved.dtype == torch.int32 else moved.float()
    by_channel = moved.permute(0, 3, 1, 2).float()
    return by_channel.reshape(len(moved), -1).div_(255)


def build_network(plan: NetworkPlan, seed: int = 0) -> MultiHead:
    """Build a network, its initial weights drawn from `seed`. The caller's random state is left as
    it was. Raises JobError where it does not fit the rows."""
    # no devices: weights are drawn on the CPU, and to ask for each GPU's state would start it
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MultiHead(plan)


def require_custom_trainable(plan: NetworkPlan, *, batch_norm: bool = False) -> None:
    """Refuse networks from outside distill that others would not have alike, before any work;
    `batch_norm`: whether the job says how statistics of BatchNorm are kept. Raises JobError."""
    for key, model in plan.networks.items():
        if model.trial == "training":
            build = partial(_seeded, plan, key)
            require_trainable(build, model, plan.input_of(key), batch_norm=batch_norm)


def require_used(plan: NetworkPlan) -> None:
    """Refuse encoders some of whose parameters no answer depends on, as workers would wait for their
    gradients. Raises JobError."""
    for key, model in plan.networks.items():
        if model.trial == "shape" and model.text_tokens is not None:
            module = _seeded(plan, key, 0).module
            with torch.random.fork_rng(devices=[]):  # of dropout
                require_used_parameters(module, model, plan.input_of(key))


def parameter_count(network: nn.Module) -> int:
    """Return how many numbers all parameters have."""
    return sum(parameter.numel() for parameter in network.parameters())


def head_parameters(network: MultiHead) -> dict[str, int]:
    """Count the numbers of the part that answers each head: its own network or the trunk, and
    itself."""
    shared = 0 if network.trunk is None else parameter_count(network.trunk)
    below = {key: parameter_count(own) for key, own in network.own.items()}
    return {
        key.removeprefix(HEAD_PREFIX): below.get(key, shared) + parameter_count(head)
        for key, head in network.heads.items()
    }


def trained_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Return all parameters but those that a network of the user's own has frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to this side, so that they share no memory with each other or with what trains
    on."""
    # safetensors refuses shared memory, and a module may have one tensor under two names
    return {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }


def _built(
    plan: NetworkPlan, key: str, prefix: str = "", stored: Tensors | None = None
) -> BuiltNetwork:
    given: NetworkInput = plan.input_of(key)
    if stored is not None:
        own = {
            name.removeprefix(prefix): value
            for name, value in stored.items()
            if name.startswith(prefix)
        }
        given = replace(given, stored=own)
    return plan.networks[key].build(given)


def _tokens_of(network: nn.Module) -> TextTokens | None:
    """How the first of its modules that reads tokens does so."""
    for module in network.modules():
        tokens: TextTokens | None = getattr(module, "tokens", None)
        if tokens is not None and module is not network:
            return tokens
    return None


def _seeded(plan: NetworkPlan, key: str, seed: int) -> BuiltNetwork:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _built(plan, key)
