"""`linear`: nothing but the heads."""

from __future__ import annotations

from typing import Literal

from distill.spec.networks import BuiltNetwork, Network, NetworkInput, NetworkSize


class Linear(Network):
    """One affine map."""

    trial = "none"

    kind: Literal["linear"]

    def size(self, in_features: int) -> NetworkSize:
        return NetworkSize(0, in_features)

    def build(self, given: NetworkInput) -> BuiltNetwork:
        from torch import nn

        identity = nn.Identity()
        return BuiltNetwork(identity, given.in_features)
