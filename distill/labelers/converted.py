"""A labeler around another one, which converts what it answers and leaves everything else to it."""

from __future__ import annotations

from typing import Any

from distill.labelers.base import (
    Inputs,
    Labeler,
    Predictions,
    as_predictions,
    finish_batch,
    has_finish,
    prepare_batch,
)


class ConvertedLabeler:
    """Another labeler, its finished answers converted by `convert`."""

    def __init__(self, labeler: Labeler) -> None:
        self.labeler = labeler
        # what the other one says of its outputs, for messages
        self.kind = getattr(labeler, "kind", "")

    def convert(self, raw: Any) -> Predictions:
        """Return what is made of an answer; arrays of its own."""
        raise NotImplementedError

    def prepare(self, features: Inputs) -> Any:
        """Prepare a batch as the other labeler does."""
        return prepare_batch(self.labeler, features)

    def label(self, features: Any) -> Any:
        """Return what the other labeler returns; converted where it has nothing to finish."""
        # with a `finish` of its own the result is not its answer yet, which alone may be converted
        raw = self.labeler.label(features)
        if has_finish(self.labeler):
            return raw
        return self.convert(raw)

    def finish(self, raw: Any) -> Predictions:
        """Return the converted answer."""
        if not has_finish(self.labeler):
            return as_predictions(raw)
        finished = finish_batch(self.labeler, raw)
        return self.convert(finished)
