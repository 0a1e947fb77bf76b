"""`cnn`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from distill.models.networks.shape import misread_images, require_shape
from distill.spec.base import Positive
from distill.spec.networks import BuiltNetwork, Network, NetworkInput, NetworkSize
from distill.spec.pools import Features

if TYPE_CHECKING:
    from torch import nn

_POOLED_FROM = 4
"""The least side of an image that is still pooled to its half."""


class Cnn(Network):
    """3×3 convolutions with ReLU, each followed by 2×2 max pooling while the image allows; then one
    hidden layer."""

    trial = "shape"

    kind: Literal["cnn"]
    shape: tuple[Positive, Positive, Positive]
    """Channels, height, width: how the feature vector is folded into an image."""
    channels: Annotated[tuple[Positive, ...], Field(min_length=1)] = (32, 64)
    hidden: Positive = 64
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def misread(self, features: Features | None, pool: str) -> Iterator[str]:
        yield from super().misread(features, pool)
        yield from misread_images(self.shape, features, pool)

    def require_fit(self, given: NetworkInput) -> None:
        require_shape(self.shape, given)

    def size(self, in_features: int) -> NetworkSize:  # noqa: ARG002  the shape says it
        first, height, width = self.shape
        layers = pairwise((first, *self.channels))
        weights = sum(9 * before * after for before, after in layers)
        for _ in self.channels:
            if min(height, width) >= _POOLED_FROM:
                height //= 2
                width //= 2
        weights += self.channels[-1] * height * width * self.hidden
        return NetworkSize(weights, self.hidden)

    def build(self, given: NetworkInput) -> BuiltNetwork:
        from torch import nn

        from distill.models.layers import dropout

        self.require_fit(given)
        channels, height, width = self.shape
        layers: list[nn.Module] = [nn.Unflatten(1, self.shape)]
        for after in self.channels:
            layers += [nn.Conv2d(channels, after, 3, padding=1), nn.ReLU(inplace=True)]
            channels = after
            if min(height, width) >= _POOLED_FROM:
                halved = nn.MaxPool2d(2)
                layers.append(halved)
                height //= 2
                width //= 2
        pixels = height * width
        hidden = nn.Linear(channels * pixels, self.hidden)
        layers += [nn.Flatten(), hidden, nn.ReLU(inplace=True), *dropout(self.dropout)]
        module = nn.Sequential(*layers)
        return BuiltNetwork(module, self.hidden)
