"""Networks as a job names them: a trunk, and heads on it; a head may bring a network of its own (θ beside θ_S).

Shapes: B rows, F numbers a row, L n-grams of a text, H trunk width.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from distill.errors import JobError
from distill.job import Cnn, Linear, Mlp, Network, NgramBag, Rnn
from distill.models.record import NetworkPlan


class MultiHead(nn.Module):
    """`forward(x_BF)` answers every head: name → (B, width). Text comes as places of its n-grams, (B, L) int32."""

    def __init__(self, plan: NetworkPlan) -> None:
        super().__init__()
        self.ngrams = plan.model if isinstance(plan.model, NgramBag) else None
        """How its texts are hashed; None where it sees numbers."""
        own = {name: head.model for name, head in plan.heads.items() if head.model is not None}
        # torch keeps modules beside its own attributes, so names are prefixed: a head may be called `values` or `train`
        self.trunk = _trunk(plan.model, plan.in_features) if len(own) < len(plan.heads) else None
        self.own = nn.ModuleDict({f"head_{name}": _trunk(model, plan.in_features) for name, model in own.items()})
        self.heads = nn.ModuleDict(
            {
                f"head_{name}": nn.Linear(trunk_width(head.model or plan.model, plan.in_features), head.width)
                for name, head in plan.heads.items()
            }
        )

    def forward(self, x_BF: Tensor) -> dict[str, Tensor]:
        hidden_BH = self.trunk(x_BF) if self.trunk is not None else x_BF
        return {
            key.removeprefix("head_"): head(self.own[key](x_BF) if key in self.own else hidden_BH)
            for key, head in self.heads.items()
        }


def build_network(plan: NetworkPlan, seed: int = 0) -> MultiHead:
    """A network with its initial weights drawn from `seed`. The caller's random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MultiHead(plan)


def parameter_count(network: nn.Module) -> int:
    """Trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())


def head_parameters(plan: NetworkPlan) -> dict[str, int]:
    """Trainable numbers of the part that answers each head."""
    alone = {name: NetworkPlan(plan.in_features, plan.model, {name: head}) for name, head in plan.heads.items()}
    with torch.device("meta"):
        return {name: parameter_count(MultiHead(part)) for name, part in alone.items()}


def trunk_width(model: Network, in_features: int) -> int:
    """H of a trunk. Raises JobError where a model's shape does not fit the features."""
    if isinstance(model, Linear):
        return in_features
    if isinstance(model, Mlp):
        return model.hidden[-1]
    if isinstance(model, NgramBag):
        return model.hidden
    if math.prod(model.shape) != in_features:
        raise JobError(
            f"model.shape = {list(model.shape)} holds {math.prod(model.shape)} numbers, but a row has {in_features}. Correct the shape."
        )
    return model.hidden


def _trunk(model: Network, in_features: int) -> nn.Module:
    trunk_width(model, in_features)
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
        return nn.Sequential(nn.Unflatten(1, model.shape), LastState(model), *_dropout(model.dropout))
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
        self.gru = nn.GRU(model.shape[1], model.hidden, model.layers, batch_first=True, dropout=between)

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
        *layers, nn.Flatten(), nn.Linear(channels * height * width, model.hidden), nn.ReLU(), *_dropout(model.dropout)
    )


def _dropout(rate: float) -> list[nn.Module]:
    return [nn.Dropout(rate)] if rate else []
