"""`distill show` on the terminal: rows beside what is said of them."""

from __future__ import annotations

import textwrap

import numpy as np
import numpy.typing as npt

from distill.cli.terminal import print_table
from distill.job.job import Job
from distill.models.networks.cnn import Cnn
from distill.spec.outputs import Outputs
from distill.stages.label.preview import Preview

_SHADES = " ░▒▓█"
_SHOWN_NUMBERS = 6
_SHOWN_CLASSES = 3
_SHOWN_LETTERS = 200
_SHOWN_PIXELS = 20
"""Each takes two letters, so that a row fits a terminal of 80."""
_LINE_LETTERS = 28


def print_preview(job: Job, name: str, preview: Preview) -> None:
    """One table row a pool row: what is seen of it, drawn where it is an image, and the answer."""
    rows = [
        [str(number), _drawn(features, job), _said(preview, number)]
        for number, features in enumerate(preview.features)
    ]
    print_table(
        f"labels.{name} on {preview.pool}, {preview.shard}", ["row", "features", "says"], rows
    )


def _drawn(features: str | npt.NDArray[np.generic], job: Job) -> str:
    if isinstance(features, str):
        return _folded(
            features if len(features) <= _SHOWN_LETTERS else f"{features[: _SHOWN_LETTERS - 1]}…"
        )
    numbers = features.astype(np.float32)
    if numbers.ndim == 3:
        return _shaded(numbers.mean(axis=2))
    shape = _image_shape(job, len(numbers))
    if shape is not None:
        return _shaded(numbers.reshape(shape))
    more = f" … ({len(numbers)} numbers)" if len(numbers) > _SHOWN_NUMBERS else ""
    return " ".join(f"{value:.3g}" for value in numbers[:_SHOWN_NUMBERS]) + more


def _image_shape(job: Job, width: int) -> tuple[int, int] | None:
    models = [fit.model for fit in job.fit.values()] + [
        student.model for student in job.students.values()
    ]
    shapes = [model.shape for model in models if isinstance(model, Cnn)]
    return next(
        (
            (height, across)
            for channels, height, across in shapes
            if channels == 1 and height * across == width
        ),
        None,
    )


def _shaded(image: npt.NDArray[np.float32]) -> str:
    """Grey as letters; of a large image every so many lines and columns."""
    step = max(1, -(-max(image.shape) // _SHOWN_PIXELS))
    image = image[::step, ::step]
    low, high = float(image.min()), float(image.max())
    levels = ((image - low) / max(high - low, 1e-9) * (len(_SHADES) - 1)).round().astype(int)
    return "\n".join("".join(_SHADES[level] * 2 for level in line) for line in levels)


def _said(preview: Preview, number: int) -> str:
    if number in preview.rejected:
        code, message = preview.rejected[number]
        return _folded(f"rejected ({code}): {message}")
    apart = (
        f"\ndisagreement {preview.disagreement[number]:.3g}"
        if preview.disagreement is not None
        else ""
    )
    return _answer(preview.outputs[number].astype(np.float64), preview.meaning) + apart


def _answer(outputs: npt.NDArray[np.float64], meaning: Outputs) -> str:
    if meaning.kind == "value":
        return " ".join(f"{value:.4g}" for value in outputs[:_SHOWN_NUMBERS])
    shares = _softmax(outputs) if meaning.exclusive else 1 / (1 + np.exp(-outputs))
    best = np.argsort(-shares)[:_SHOWN_CLASSES]
    return "\n".join(f"{meaning.classes[each]}  {100 * shares[each]:5.1f}%" for each in best)


def _folded(text: str) -> str:
    return textwrap.fill(text, _LINE_LETTERS)


def _softmax(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    odds = np.exp(logits - logits.max())
    made: npt.NDArray[np.float64] = odds / odds.sum()
    return made
