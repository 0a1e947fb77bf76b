"""`rnn`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from distill.models.networks.shape import require_shape
from distill.spec.base import Positive
from distill.spec.networks import BuiltNetwork, Network, NetworkInput, NetworkSize


class Rnn(Network):
    """A GRU over a sequence; what it remembers after the last step is seen by the heads."""

    trial = "shape"

    kind: Literal["rnn"]
    shape: tuple[Positive, Positive]
    """Steps, and numbers a step: how the feature vector is folded into a sequence."""
    hidden: Positive = 64
    layers: Positive = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Between layers, and before the heads."""

    def require_fit(self, given: NetworkInput) -> None:
        require_shape(self.shape, given)

    def size(self, in_features: int) -> NetworkSize:  # noqa: ARG002  the shape says it
        numbers = self.shape[1]
        # a GRU has three gates, each over the step and the state; layers above see states alone
        weights = 3 * self.hidden * (numbers + self.hidden)
        weights += (self.layers - 1) * 6 * self.hidden**2
        return NetworkSize(weights, self.hidden)

    def build(self, given: NetworkInput) -> BuiltNetwork:
        from torch import nn

        from distill.models.layers import LastState, dropout

        self.require_fit(given)
        numbers = self.shape[1]
        between = self.dropout if self.layers > 1 else 0.0  # of one layer torch warns
        gru = nn.GRU(numbers, self.hidden, self.layers, batch_first=True, dropout=between)
        folded = nn.Unflatten(1, self.shape)
        module = nn.Sequential(folded, LastState(gru), *dropout(self.dropout))
        return BuiltNetwork(module, self.hidden)
