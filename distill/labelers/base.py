"""What can teach: turns rows into soft labels, and knows no scheduler.

A `Recipe` is what a worker needs to build one: plain values and addresses, small enough to be sent
anywhere. Nothing of a labeler is unpickled from storage: networks are plans and safetensors, a
user's own class travels as source text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from distill.core.source import PythonFile
from distill.models.custom_source import Code
from distill.models.files import ModelFiles
from distill.models.record import ModelRecord
from distill.pools.features import writable
from distill.spec.outputs import Outputs
from distill.spec.ready import Ready

Matrix = npt.NDArray[np.float32]
Inputs = npt.NDArray[np.generic]
"""What `distill.pools.decode_features` makes of rows."""


class Predictions(NamedTuple):
    """What is said of B rows."""

    outputs: Matrix
    """(B, width)."""
    disagreement: Matrix | None = None
    """(B,), of an ensemble's members."""


class Labeler(Protocol):
    """Rows in, soft labels out.

    A class of the user's own has `revision` and `classes` (or `kind = "value"` and `width`), and
    `precision` where it computes in half of the bits: other hardware may then answer less alike
    (`tolerance` in the contract).

    A class may also have `prepare(features)`, whose answer `label` is then given instead: what
    needs no device (cutting text into tokens), done ahead, while other rows are on the device. And
    `finish(answer)`, given what `label` answered: what is left to do and needs no device. Each of
    the three is called with the same batches, never by two threads at once, and must not depend on
    their order. While one works, the next rows may be in the one before it; so what `prepare`
    returns, and what `label` hands to `finish`, must stay as it is when they are called again: new
    arrays.
    """

    def label(self, features: Inputs) -> Matrix | Predictions:
        """B rows → (B, width) float32: logits of each class in the contract's order, or values. Row
        i answers row i.

        `features` is (B, F) float32 for vectors, (B, H, W, C) uint8 for images, (B,) of str for
        text.
        """


def prepared(labeler: Labeler, features: Inputs) -> Any:
    """A batch as `label` takes it."""
    prepare, features = getattr(labeler, "prepare", None), writable(features)
    return features if prepare is None else prepare(features)


def finished(labeler: Labeler, answered: Any) -> Any:
    """What the labeler makes of its `label`'s answer."""
    return labeler.finish(answered) if finishes(labeler) else answered  # type: ignore[attr-defined]  # it may have one


def finishes(labeler: Labeler) -> bool:
    """Whether it has more to do after `label`."""
    return getattr(labeler, "finish", None) is not None


def ask(labeler: Labeler, features: Inputs, width: int) -> Predictions:
    """What the labeler says of a batch. Raises what it raises, ValueError for another shape."""
    return checked_predictions(labeler, say(labeler, features), len(features), width)


def say(labeler: Labeler, features: Inputs) -> Any:
    """Its answer as it comes: prepared, asked, finished."""
    return finished(labeler, labeler.label(prepared(labeler, features)))


def as_predictions(answered: Any) -> Predictions:
    """What a labeler answered, by the names of its parts."""
    return answered if isinstance(answered, Predictions) else Predictions(answered)


def checked_predictions(labeler: Labeler, answered: object, rows: int, width: int) -> Predictions:
    """A labeler's answer as outputs (rows, width); (rows,) stands for (rows, 1). Raises ValueError
    for any other shape.

    Never reshaped otherwise: a transposed answer has as many numbers. What float32 cannot hold
    becomes infinite.
    """
    said = as_predictions(answered)
    with np.errstate(over="ignore"):
        made = np.asarray(said.outputs, np.float32)
    if (*made.shape, 1)[:2] != (rows, width) or made.ndim > 2:
        own = (
            getattr(labeler, "kind", "") == "value" and made.shape[:1] == (rows,) and made.ndim == 2
        )
        declare = f". Declare `width = {made.shape[1]}` in the class." if own else ""
        raise ValueError(
            f"label() answered with shape {made.shape} for {rows} rows, where {(rows, width)} is"
            f" due{declare}"
        )
    return Predictions(made.reshape(rows, width), said.disagreement)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to build a labeler on the machine where it works."""

    form: Literal["network", "eszsl", "custom", "ready", "ensemble"]
    folder: str = ""
    """URI of a trained model's folder."""
    record: ModelRecord | None = None
    code: Code = field(default_factory=dict)
    """Sources of what the user wrote of a trained network."""
    source: PythonFile | None = None
    """The user's own labeler, or what the user wrote of a ready one's network."""
    name: str = ""
    """The class in `source`."""
    ready: Ready | None = None
    files: ModelFiles | None = None
    """Of a ready labeler's model."""
    precision: str = "float32"
    temperature: float = 1.0
    """Its logits are divided by this: what calibration found."""
    members: tuple[Member, ...] = ()
    outputs: Outputs | None = None
    """What an ensemble's members say together."""
    width: int = 0
    """Numbers in a row of an ensemble's outputs."""

    def parts(self) -> Iterator[Recipe]:
        """This one, or those of the members."""
        if self.form == "ensemble":
            yield from (member.recipe for member in self.members)
        else:
            yield self


@dataclass(frozen=True)
class Member:
    """One labeler of an ensemble."""

    said: str
    """For people: kind and name."""
    recipe: Recipe
    share: float
    places: tuple[int, ...] | None
    """Where the ensemble's classes stand among its own; None where they are the same."""
