"""What can teach: turns rows into soft labels, and knows no scheduler.

A `Recipe` is what a worker needs to build one: plain values and addresses, small enough to be sent anywhere. Nothing of a labeler is
unpickled from storage: networks are plans and safetensors, a user's own class travels as source text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from distill.job import Ready
from distill.job.source import PythonFile
from distill.models import ModelRecord
from distill.models.files import ModelFiles

Matrix = npt.NDArray[np.float32]
Seen = npt.NDArray[np.generic]
"""What `distill.pool.decode_features` makes of rows."""


class Labeler(Protocol):
    """Rows in, soft labels out.

    A class may also have `prepare(features)`, whose answer `label` is then given instead: what needs no device (cutting text into tokens), done
    for one fragment while another one's rows are on the device. It is called with the same batches, never by two threads at once, and must not depend on their order.
    """

    def label(self, features: Seen) -> Matrix:
        """B rows → (B, width) float32: logits of each class in the contract's order, or values. Row i answers row i.

        `features` is (B, F) float32 for vectors, (B, H, W, C) uint8 for images, (B,) of str for text.
        """


def prepared(labeler: Labeler, features: Seen) -> Any:
    """A batch as `label` takes it."""
    prepare = getattr(labeler, "prepare", None)
    return features if prepare is None else prepare(features)


def ask(labeler: Labeler, features: Seen, width: int) -> Matrix:
    """What the labeler says of a batch, (rows, width). Raises what it raises, ValueError for another shape."""
    return checked_answer(labeler.label(prepared(labeler, features)), len(features), width)


def checked_answer(answered: object, rows: int, width: int) -> Matrix:
    """A labeler's answer as (rows, width); (rows,) stands for (rows, 1). Raises ValueError for any other shape.

    Never reshaped otherwise: a transposed answer has as many numbers. What float32 cannot hold becomes infinite.
    """
    with np.errstate(over="ignore"):
        made = np.asarray(answered, np.float32)
    if (*made.shape, 1)[:2] != (rows, width) or made.ndim > 2:
        raise ValueError(f"label() answered with shape {made.shape} for {rows} rows, where {(rows, width)} is due")
    return made.reshape(rows, width)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to build a labeler on the machine where it works."""

    form: Literal["network", "eszsl", "custom", "ready"]
    folder: str = ""
    """URI of a trained model's folder."""
    record: ModelRecord | None = None
    source: PythonFile | None = None
    name: str = ""
    """The class in `source`."""
    ready: Ready | None = None
    files: ModelFiles | None = None
    """Of a ready labeler's model."""
    precision: str = "float32"
    temperature: float = 1.0
    """Its logits are divided by this: what calibration found."""
