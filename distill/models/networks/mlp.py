"""`mlp`."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from distill.spec.base import Positive
from distill.spec.networks import BuiltNetwork, Network, NetworkInput, NetworkSize

if TYPE_CHECKING:
    from torch import nn


class Mlp(Network):
    """Fully connected layers with ReLU between."""

    trial = "none"

    kind: Literal["mlp"]
    hidden: Annotated[tuple[Positive, ...], Field(min_length=1)]
    """Width of each hidden layer."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def size(self, in_features: int) -> NetworkSize:
        layers = pairwise((in_features, *self.hidden))
        # + 1, the bias
        weights = sum((before + 1) * after for before, after in layers)
        return NetworkSize(weights, self.hidden[-1])

    def build(self, given: NetworkInput) -> BuiltNetwork:
        from torch import nn

        from distill.models.layers import dropout

        layers: list[nn.Module] = []
        for before, after in pairwise((given.in_features, *self.hidden)):
            layers += [nn.Linear(before, after), nn.ReLU(inplace=True), *dropout(self.dropout)]
        module = nn.Sequential(*layers)
        return BuiltNetwork(module, self.hidden[-1])
