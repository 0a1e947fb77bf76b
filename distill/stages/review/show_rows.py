"""Rows that were chosen for people, read again to be shown: what a reader of features sees of them,
so that no private column is among it, what each label set says, and why people should look."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from distill.loader.dataset import Arrays
from distill.loader.sampler import Chunk
from distill.plan.review import ReviewStep
from distill.pools.row_cache import read_chunk
from distill.spec.pools import ImageFeatures, TextFeatures
from distill.stages.review.find_rows import Found, ReviewedRows

# what a record has beside the place that people fill
COLUMNS = ("shard", "row", "given", "reasons", "says", "keys", "text", "png", "numbers", "shard_id")
_MOST_NUMBERS = 256  # of a vector

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ShowRows:
    """`show()` → one record a row, in the order in which people should see them."""

    reviewed: ReviewedRows
    chosen: Mapping[int, list[str]]
    found: Found
    thresholds: Array | None

    def __call__(self) -> list[dict[str, Any]]:
        return [self._record(row, reasons) for row, reasons in self.chosen.items()]

    def _record(self, row: int, reasons: list[str]) -> dict[str, Any]:
        dataset = self.reviewed.dataset
        step = self.reviewed.step
        chunk = dataset.chunk_of(row)
        rows = dataset.load(chunk)
        probabilities = self.reviewed.probabilities(rows)[:, 0]
        given = ""
        if step.truth is not None:
            (number,) = self.reviewed.given(rows).tolist()
            given = step.classes[number] if number >= 0 else ""
        shard = step.pool.inventory.shard(chunk.shard)
        key = shard.key
        record: dict[str, Any] = {"shard": key, "row": chunk.start, place_of_labels(step): None}
        record["given"] = given or None
        record["reasons"] = [self._reason(reason, row, given, probabilities) for reason in reasons]
        pairs = zip(step.labels, probabilities, strict=True)
        record["says"] = [_word(each.name, step.classes, said) for each, said in pairs]
        return {**record, **self._keys(chunk), **self._seen(rows), "shard_id": shard.id}

    def _reason(self, reason: str, row: int, given: str, said: Array) -> dict[str, Any]:
        worst = self.found[reason]
        (place,) = np.flatnonzero(worst.row == row).tolist()
        worst_rows = worst.of[place]
        of = int(worst_rows)
        step = self.reviewed.step
        first = step.labels[0]
        name = first.name
        if reason == "suspects":
            assert self.thresholds is not None
            likely = step.classes[of]
            sure = f"{said[0][of]:.0%}"
            usual = f"{self.thresholds[of]:.0%}"
            why = (
                f"given as {given!r}; {name} says {likely!r} ({sure}, of such rows usually {usual})"
            )
        elif reason == "disagreement":
            words = [
                f"{each.name} {step.classes[int(each_said.argmax())]!r}"
                for each, each_said in zip(step.labels, said, strict=True)
            ]
            listed = ", ".join(words)
            why = f"label sets disagree: {listed}"
        elif reason == "slices":
            why = f"students are weak on {step.slices[of].text}"
        else:
            why = f"{name} is sure to {said[0].max():.0%} only"
        return {"reason": reason, "score": float(worst.score[place]), "why": why}

    def _keys(self, chunk: Chunk) -> dict[str, Any]:
        """The pool's key columns."""
        # people know rows by their keys
        keys = self.reviewed.step.pool.spec.keys
        if not keys:
            return {}
        wanted = range(chunk.start, chunk.start + 1)
        batch = read_chunk(self.reviewed.step.pool.inventory, chunk.shard, wanted, keys)
        (values,) = batch.table.to_pylist()
        return {"keys": {name: _as_text(values[name]) for name in keys}}

    def _seen(self, rows: Arrays) -> dict[str, Any]:
        """What a model sees of the row: a text, a picture, or numbers."""
        (seen,) = rows["features"]
        features = self.reviewed.dataset.features
        if isinstance(features, TextFeatures):
            return {"text": str(seen)}
        if isinstance(features, ImageFeatures):
            return {"png": _png(seen)}
        return {"numbers": [float(number) for number in np.ravel(seen)[:_MOST_NUMBERS]]}


def place_of_labels(step: ReviewStep) -> str:
    """Return the name of the empty place: the pool's target, where nothing else is called so."""
    target = step.pool.spec.target
    return target if target is not None and target not in COLUMNS else "label"


def _word(name: str, classes: tuple[str, ...], said: Array) -> dict[str, Any]:
    best = int(said.argmax())
    return {"labels": name, "class": classes[best], "probability": float(said[best])}


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _png(image: Any) -> bytes:
    from PIL import Image

    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
