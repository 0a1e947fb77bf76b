"""Numbers that look drawn and are not: the finaliser of splitmix64 (Steele et al. 2014)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]

GOLDEN = 0x9E3779B97F4A7C15  # odd, so that multiplying by it loses nothing


def mixed(hashes: Hashes) -> Hashes:
    """Mix each number so that every bit of what comes out hangs on every bit of it.

    What is stored rests on this: tests pin it."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))
