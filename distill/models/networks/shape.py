"""What networks share that fold a row's numbers into a shape."""

from __future__ import annotations

import math
from collections.abc import Iterator

from distill.core.errors import JobError
from distill.spec.networks import NetworkInput
from distill.spec.pools import Features, ImageFeatures


def require_shape(shape: tuple[int, ...], given: NetworkInput) -> None:
    """Raise JobError where `shape` holds another number of numbers than a row has."""
    numbers = math.prod(shape)
    if numbers != given.in_features:
        raise JobError(
            f"{given.key}.shape = {list(shape)} holds {numbers} numbers, but a row has"
            f" {given.in_features}. Correct the shape."
        )


def misread_images(shape: tuple[int, ...], features: Features | None, pool: str) -> Iterator[str]:
    """Yield why images of a pool are not what `shape`, channels first, says."""
    if not isinstance(features, ImageFeatures):
        return
    height, width, channels = features.shape
    if shape != (channels, height, width):
        yield (
            f"shape = {list(shape)}: images of pools.{pool} are {height} high, {width}"
            f" wide, with {channels} channels. Write {[channels, height, width]}."
        )
