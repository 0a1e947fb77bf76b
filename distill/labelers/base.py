"""What can teach: turns rows into soft labels, and knows no scheduler.

A `Recipe` is what a worker needs to build one: plain values and addresses, small enough to be sent anywhere. Nothing of a labeler is
unpickled from storage: networks are plans and safetensors, a user's own class travels as source text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from distill.job.source import Source
from distill.models import ModelRecord

Matrix = npt.NDArray[np.float32]


class Labeler(Protocol):
    """Rows in, soft labels out."""

    def label(self, features: Matrix) -> Matrix:
        """(B, F) float32 → (B, width) float32: logits of each class in the contract's order, or values. Row i answers row i."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to build a labeler on the machine where it works."""

    form: Literal["network", "eszsl", "custom"]
    folder: str = ""
    """URI of a trained model's folder."""
    record: ModelRecord | None = None
    source: Source | None = None
    name: str = ""
    """The class in `source`."""
    precision: str = "float32"
