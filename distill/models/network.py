"""Networks as a job names them: a trunk, and heads on it; a head may bring a network of its own (θ
beside θ_S). Either may be a module of the user's (`own`); heads stay ours.

Shapes: B rows, F numbers a row, L n-grams of a text, H trunk width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from distill.core.errors import JobError
from distill.models.custom import custom_width, make_custom, require_trainable
from distill.models.custom_source import TRUNK, head_key
from distill.models.record import NetworkPlan
from distill.pools.features import writable
from distill.spec.models import Cnn, CustomModel, Linear, Mlp, Network, NgramBag, Rnn, ngrams_of


class MultiHead(nn.Module):
    """`forward(x_BF)` answers every head: name → (B, width). Text comes as places of its n-grams,
    (B, L) int32."""

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.ngrams = ngrams_of(plan.model)
        """How its texts are hashed; None where it sees numbers."""
        own = {name: head.model for name, head in plan.heads.items() if head.model is not None}
        # torch keeps modules beside its own attributes, so names are prefixed: a head may be called
        # `values` or `train`
        trunk, shared = _made(plan, TRUNK, plan.model) if len(own) < len(plan.heads) else (None, 0)
        made = {name: _made(plan, head_key(name), model) for name, model in own.items()}
        self.trunk = trunk
        self.own = nn.ModuleDict({f"head_{name}": module for name, (module, _) in made.items()})
        self.heads = nn.ModuleDict(
            {
                f"head_{name}": nn.Linear(made[name][1] if name in made else shared, head.width)
                for name, head in plan.heads.items()
            }
        )

    def forward(self, x_BF: Tensor) -> dict[str, Tensor]:
        hidden_BH = self.trunk(x_BF) if self.trunk is not None else x_BF
        return {
            key.removeprefix("head_"): head(self.own[key](x_BF) if key in self.own else hidden_BH)
            for key, head in self.heads.items()
        }


def as_tensor(features: npt.NDArray[np.generic], device: str) -> Tensor:
    """What a network takes of a pool's features, (B, F) float32 on `device`; places of n-grams stay
    integers (B, L).

    Images travel as bytes (B, H, W, C) and become there what `distill.pools.as_matrix` makes of
    them, on a CPU to the last bit.
    """
    moved = torch.from_numpy(writable(features)).to(device)
    if moved.ndim != 4:
        return moved if moved.dtype == torch.int32 else moved.float()
    return moved.permute(0, 3, 1, 2).float().reshape(len(moved), -1).div_(255)


def build_network(plan: NetworkPlan, seed: int = 0) -> MultiHead:
    """A network with its initial weights drawn from `seed`. The caller's random state is left as it
    was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MultiHead(plan)


def require_custom_trainable(plan: NetworkPlan) -> None:
    """Refuse networks of the user's own that others would not have alike, before any work. Raises
    JobError."""
    for key, model in plan.own.items():
        require_trainable(partial(_seeded, plan, key, model), model, plan.in_features, key)


def parameter_count(network: nn.Module) -> int:
    """Numbers of all parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def head_parameters(network: MultiHead) -> dict[str, int]:
    """Numbers of the part that answers each head: its own network or the trunk, and itself."""
    below = {key: parameter_count(own) for key, own in network.own.items()}
    shared = parameter_count(network.trunk) if network.trunk is not None else 0
    return {
        key.removeprefix("head_"): below.get(key, shared) + parameter_count(head)
        for key, head in network.heads.items()
    }


def trained_parameters(network: nn.Module) -> list[nn.Parameter]:
    """All but those that a network of the user's own has frozen."""
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies on this side that share no memory, with each other (safetensors wants that, and a
    module of the user's own may have one tensor under two names) or with what trains on."""
    return {
        name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()
    }


def trunk_width(model: Network, in_features: int, key: str = TRUNK) -> int:
    """H of a network of ours. Raises JobError by its key where its shape does not fit the features."""
    if isinstance(model, Linear):
        return in_features
    if isinstance(model, Mlp):
        return model.hidden[-1]
    if isinstance(model, NgramBag):
        return model.hidden
    assert not isinstance(model, CustomModel)
    if math.prod(model.shape) != in_features:
        raise JobError(
            f"{key}.shape = {list(model.shape)} holds {math.prod(model.shape)} numbers, but a row"
            f" has {in_features}. Correct the shape."
        )
    return model.hidden


def _made(plan: NetworkPlan, key: str, model: Network) -> tuple[nn.Module, int]:
    """The network under `key`, and its H."""
    if not isinstance(model, CustomModel):
        width = trunk_width(model, plan.in_features, key)
        return _trunk(model, plan.in_features), width
    module = make_custom(model, plan.in_features, plan.code[key], key)
    return module, custom_width(module, model, plan.in_features, key)


def _seeded(plan: NetworkPlan, key: str, model: Network, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _made(plan, key, model)[0]


def _trunk(model: Network, in_features: int) -> nn.Module:
    if isinstance(model, Mlp):
        layers = [
            layer
            for before, after in pairwise((in_features, *model.hidden))
            for layer in (nn.Linear(before, after), nn.ReLU(), *_dropout(model.dropout))
        ]
        return nn.Sequential(*layers)
    if isinstance(model, NgramBag):
        return nn.Sequential(_bag(model), *_dropout(model.dropout))
    if isinstance(model, Rnn):
        return nn.Sequential(
            nn.Unflatten(1, model.shape), LastState(model), *_dropout(model.dropout)
        )
    return _convolutions(model) if isinstance(model, Cnn) else nn.Identity()


def _bag(model: NgramBag) -> nn.EmbeddingBag:
    """The mean over a text's n-grams, zeros where it has none; drawn as fastText does."""
    bag = nn.EmbeddingBag(model.buckets + 1, model.hidden, mode="mean", padding_idx=0)
    with torch.no_grad():
        bag.weight.uniform_(-1 / model.hidden, 1 / model.hidden)
        bag.weight[0] = 0
    return bag


class LastState(nn.Module):
    """A GRU's state after the last step: (B, steps, numbers) → (B, H)."""

    def __init__(self, model: Rnn) -> None:
        super().__init__()
        between = model.dropout if model.layers > 1 else 0.0
        self.gru = nn.GRU(
            model.shape[1], model.hidden, model.layers, batch_first=True, dropout=between
        )

    def forward(self, steps_BSN: Tensor) -> Tensor:
        _, states_LBH = self.gru(steps_BSN)
        last: Tensor = states_LBH[-1]
        return last


def _convolutions(model: Cnn) -> nn.Module:
    channels, height, width = model.shape
    layers: list[nn.Module] = [nn.Unflatten(1, model.shape)]
    for after in model.channels:
        layers += [nn.Conv2d(channels, after, 3, padding=1), nn.ReLU()]
        channels = after
        if min(height, width) >= 4:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
    return nn.Sequential(
        *layers,
        nn.Flatten(),
        nn.Linear(channels * height * width, model.hidden),
        nn.ReLU(),
        *_dropout(model.dropout),
    )


def _dropout(rate: float) -> list[nn.Module]:
    return [nn.Dropout(rate)] if rate else []
