"""`distill show` on the terminal: rows beside what the labeler says of them."""

from __future__ import annotations

import logging
import textwrap
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from distill.cli.terminal import print_table
from distill.labelers.base import probabilities_of
from distill.models.networks.cnn import Cnn
from distill.spec.outputs import Outputs
from distill.stages.label.preview import Preview

log = logging.getLogger(__name__)

_Shape = tuple[int, int]
"""Height and width."""
_SHADES = " ░▒▓█"
_SHOWN_NUMBERS = 6
_SHOWN_CLASSES = 3
_SHOWN_LETTERS = 200
# each takes two letters, so that a row fits a terminal of 80
_SHOWN_PIXELS = 20
_LINE_LETTERS = 28


def print_preview(networks: Iterable[object], name: str, preview: Preview) -> None:
    """Print one table row a pool row: what is seen of it, drawn where it is an image, and what the
    labeler says. A vector that one of the `networks` takes for a grey image is one."""
    shapes = _grey_image_shapes(networks)
    rows = []
    for number, features in enumerate(preview.features):
        rows.append([str(number), _features_text(features, shapes), _labels_text(preview, number)])
    title = f"labels.{name} on {preview.pool}, {preview.shard}"
    print_table(title, ["row", "features", "says"], rows)
    for note in preview.notes:
        log.warning("labels.%s: %s", name, note)


def _features_text(features: str | npt.NDArray[np.generic], shapes: Mapping[int, _Shape]) -> str:
    if isinstance(features, str):
        if len(features) > _SHOWN_LETTERS:
            features = f"{features[: _SHOWN_LETTERS - 1]}…"
        return _folded(features)
    numbers = features.astype(np.float32)
    if numbers.ndim == 3:
        grey = numbers.mean(axis=2)
        return _shaded(grey)
    width = len(numbers)
    shape = shapes.get(width)
    if shape is not None:
        grey = numbers.reshape(shape)
        return _shaded(grey)
    text = " ".join(f"{value:.3g}" for value in numbers[:_SHOWN_NUMBERS])
    if len(numbers) > _SHOWN_NUMBERS:
        text += f" … ({len(numbers)} numbers)"
    return text


def _grey_image_shapes(networks: Iterable[object]) -> dict[int, _Shape]:
    """Return, by the width of a vector, the grey image that the first network sees in it."""
    shapes: dict[int, _Shape] = {}
    for network in networks:
        if isinstance(network, Cnn):
            channels, height, across = network.shape
            if channels == 1:
                shapes.setdefault(height * across, (height, across))
    return shapes


def _shaded(image: npt.NDArray[np.float32]) -> str:
    """Return grey as letters; of a large image every so many lines and columns."""
    step = max(1, -(-max(image.shape) // _SHOWN_PIXELS))
    image = image[::step, ::step]
    low = float(image.min())
    high = float(image.max())
    shares = (image - low) / max(high - low, 1e-9)
    levels = (shares * (len(_SHADES) - 1)).round().astype(int)
    # a letter is about twice as high as wide
    lines = ["".join(_SHADES[level] * 2 for level in line) for line in levels]
    return "\n".join(lines)


def _labels_text(preview: Preview, number: int) -> str:
    if number in preview.rejected:
        code, message = preview.rejected[number]
        return _folded(f"rejected ({code}): {message}")
    outputs = preview.outputs[number].astype(np.float64)
    text = _outputs_text(outputs, preview.meaning)
    if preview.disagreement is not None:
        text += f"\ndisagreement {preview.disagreement[number]:.3g}"
    return text


def _outputs_text(outputs: npt.NDArray[np.float64], meaning: Outputs) -> str:
    if meaning.kind == "value":
        return " ".join(f"{value:.4g}" for value in outputs[:_SHOWN_NUMBERS])
    (shares,) = probabilities_of(outputs[None], meaning)
    best = np.argsort(-shares)[:_SHOWN_CLASSES]
    return "\n".join(f"{meaning.classes[each]}  {100 * shares[each]:5.1f}%" for each in best)


def _folded(text: str) -> str:
    return textwrap.fill(text, _LINE_LETTERS)
