"""Noise that nobody can draw again, from the operating system's random bytes.

No seed exists that could be stored, logged or guessed: what hides a vote must not follow from
anything that lies beside the labels. Only the argmax of noisy counts leaves a process, and never a
noisy number, so the last bits of the samples (Mironov 2012) tell nothing.
"""

from __future__ import annotations

import os
from typing import Protocol

import numpy as np

from distill.core.dp.renyi import Double

_BITS = 53  # of a float64's fraction


class Noise(Protocol):
    """A source of noise."""

    def normal(self, shape: tuple[int, ...]) -> Double:
        """Return independent standard normal numbers."""

    def laplace(self, shape: tuple[int, ...]) -> Double:
        """Return independent Laplace numbers of scale 1."""


class SecretNoise:
    """Noise of the operating system."""

    def normal(self, shape: tuple[int, ...]) -> Double:
        """Return independent standard normal numbers (Box & Muller 1958)."""
        radius = np.sqrt(-2 * np.log(_uniform(shape)))
        angle = 2 * np.pi * _uniform(shape)
        numbers: Double = radius * np.cos(angle)
        return numbers

    def laplace(self, shape: tuple[int, ...]) -> Double:
        """Return independent Laplace numbers of scale 1, as a difference of two exponentials."""
        first = _uniform(shape)
        up = np.log(first)
        second = _uniform(shape)
        down = np.log(second)
        numbers: Double = down - up
        return numbers


def _uniform(shape: tuple[int, ...]) -> Double:
    """Numbers strictly between 0 and 1."""
    numbers = np.prod(shape)
    count = int(numbers)
    whole = np.frombuffer(os.urandom(8 * count), np.uint64) >> np.uint64(64 - _BITS)
    # half a step up, so that no logarithm is of 0
    between = (whole.astype(np.float64) + 0.5) * 2.0**-_BITS
    return between.reshape(shape)
