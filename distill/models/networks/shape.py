"""What networks share that fold a row's numbers into a shape."""

from __future__ import annotations

import math

from distill.core.errors import JobError
from distill.spec.networks import NetworkInput


def require_shape(shape: tuple[int, ...], given: NetworkInput) -> None:
    """Raise JobError where `shape` holds another number of numbers than a row has."""
    numbers = math.prod(shape)
    if numbers != given.in_features:
        raise JobError(
            f"{given.key}.shape = {list(shape)} holds {numbers} numbers, but a row has"
            f" {given.in_features}. Correct the shape."
        )
