"""The protocol of a labeler: rows in, soft labels out. A labeler knows no scheduler.

`predict` asks a labeler about one batch from beginning to end. The labelling loop
(`distill.stages.label.inference`) calls the three steps apart, so that they overlap:
`prepare_batch`, `label`, `finish_batch`.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from distill.pools.features import writable
from distill.spec.outputs import Outputs

Matrix = npt.NDArray[np.float32]
Double = npt.NDArray[np.float64]
# features of a batch, as `distill.pools.features.decode_features` makes them
Inputs = npt.NDArray[np.generic]


class Predictions(NamedTuple):
    """Soft labels of B rows."""

    outputs: Matrix  # (B, width)
    disagreement: Matrix | None = None  # (B,), of an ensemble's members


class Labeler(Protocol):
    """Rows in, soft labels out.

    A class of the user's own has `revision` and `classes` (or `kind = "value"` and `width`), and
    `precision` where it computes in half of the bits: other hardware may then answer less alike
    (`tolerance` in the contract). `answers = "probabilities"` says that it answers with these
    instead of logits. What else than an array it may answer with is in `distill.labelers.answers`.

    A class may also have `prepare(features)`, whose result `label` is then given instead: what
    needs no device (cutting text into tokens), done ahead, while other rows are on the device. And
    `finish(raw)`, given what `label` returned: what is left to do and needs no device. Each of the
    three is called with the same batches, never by two threads at once, and must not depend on
    their order. While one works, the next rows may be in the one before it; so what `prepare`
    returns, and what `label` hands to `finish`, must stay as it is when they are called again: new
    arrays."""

    def label(self, features: Any) -> Matrix | Predictions:
        """Label B rows: (B, width) float32, logits of each class in the contract's order, or
        values. Row i answers row i.

        `features` is (B, F) float32 for vectors, (B, H, W, C) uint8 for images, (B,) of str for
        text; or what `prepare` returned."""


def predict(labeler: Labeler, features: Inputs, width: int) -> Predictions:
    """Label a batch, `width` numbers a row. Raises what the labeler raises, and ValueError where
    its outputs have another shape."""
    raw = raw_predict(labeler, features)
    rows = len(features)
    return checked_predictions(labeler, raw, rows, width)


def raw_predict(labeler: Labeler, features: Inputs) -> Any:
    """Label a batch, and return whatever comes of it: prepared, labelled, finished, not checked."""
    prepared = prepare_batch(labeler, features)
    raw = labeler.label(prepared)
    return finish_batch(labeler, raw)


def prepare_batch(labeler: Labeler, features: Inputs) -> Any:
    """Return a batch as the labeler's `label` takes it."""
    # decoded rows may lie in Arrow's or Ray's memory, which a labeler cannot write to
    rows = writable(features)
    prepare = getattr(labeler, "prepare", None)
    if prepare is None:
        return rows
    return prepare(rows)


def finish_batch(labeler: Labeler, raw: Any) -> Any:
    """Return what the labeler's `finish` makes of what `label` returned; unchanged without one."""
    if not has_finish(labeler):
        return raw
    return labeler.finish(raw)  # type: ignore[attr-defined]  # has_finish


def has_finish(labeler: Labeler) -> bool:
    """Tell whether the labeler has work left after `label`."""
    return getattr(labeler, "finish", None) is not None


def as_predictions(raw: Any) -> Predictions:
    """Return what a labeler returned, by the names of its parts."""
    if isinstance(raw, Predictions):
        return raw
    return Predictions(raw)


def checked_predictions(labeler: Labeler, raw: object, rows: int, width: int) -> Predictions:
    """Return a labeler's result as outputs (rows, width); (rows,) stands for (rows, 1). Raises
    ValueError for any other shape.

    Never reshaped otherwise: a transposed result has as many numbers."""
    predictions = as_predictions(raw)
    # what float32 cannot hold becomes infinite, and its row is rejected when it is encoded
    with np.errstate(over="ignore"):
        outputs = np.asarray(predictions.outputs, np.float32)
    due = (rows, width)
    columns_too = (*outputs.shape, 1)
    if outputs.ndim > 2 or columns_too[:2] != due:
        hint = _width_hint(labeler, outputs.shape, rows)
        raise ValueError(
            f"label() answered with shape {outputs.shape} for {rows} rows, where {due} is due{hint}"
        )
    matrix = outputs.reshape(due)
    return Predictions(matrix, predictions.disagreement)


def _width_hint(labeler: Labeler, shape: tuple[int, ...], rows: int) -> str:
    """Say how to declare the width that a labeler of values has, if that is all that is wrong."""
    has_values = getattr(labeler, "kind", "") == "value"
    if not has_values or len(shape) != 2 or shape[0] != rows:
        return ""
    width = shape[1]
    return f". Declare `width = {width}` in the class."


def probabilities_of(outputs: Double, meaning: Outputs) -> Double:
    """Return the probabilities that logits (…, classes) mean; values as they are."""
    if meaning.kind == "value":
        return outputs
    if not meaning.exclusive:
        # as a tangent, which overflows nowhere
        tangent = np.tanh(0.5 * outputs)
        yes: Double = 0.5 * (1.0 + tangent)
        return yes
    # less the largest, so that no exponential overflows
    odds = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    probabilities: Double = odds / odds.sum(axis=-1, keepdims=True)
    return probabilities


def log_sum_exp(values: Double, axis: int) -> Double:
    """log Σ exp over an axis."""
    largest = values.max(axis=axis, keepdims=True)
    odds = np.exp(values - largest)
    total = odds.sum(axis=axis)
    log_total: Double = np.log(total) + largest.squeeze(axis)
    return log_total
