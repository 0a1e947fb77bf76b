"""How a training ends, on every engine: what its work raised, and which parts were given up."""

from __future__ import annotations

import traceback
from collections.abc import Mapping

from distill.core.errors import DistillError, TrainingError, UnlearnableError


def failure_text(error: BaseException, rank: int) -> str:
    """Return a DistillError's own message, of any other error the traceback. Call it while the
    error is handled."""
    if isinstance(error, DistillError):
        return str(error)
    return f"training raised on rank {rank}:\n{traceback.format_exc()}"


def training_error(failure: str, given_up: Mapping[str, str]) -> TrainingError:
    """Return what to raise for a failure, or else for parts that were given up: part → reason."""
    reasons = [f"{part}: {reason}" for part, reason in given_up.items()]
    if failure:
        return TrainingError("\n".join([failure, *reasons]))
    return UnlearnableError("\n".join(reasons))
