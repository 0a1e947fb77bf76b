"""A Hugging Face sequence classifier, or a regression, as a labeler."""

from __future__ import annotations

from distill.labelers.base import Inputs, Matrix
from distill.labelers.runtime import Runtime
from distill.labelers.transformer import SequenceModel, Tokens, as_texts
from distill.labelers.validation import require_classes, require_width
from distill.spec.ready import Ready, SequenceClassifier


class SequenceClassifierLabeler:
    """The model's logits as they are."""

    def __init__(self, spec: Ready, place: Runtime) -> None:
        assert isinstance(spec, SequenceClassifier)
        self.model = SequenceModel(place, spec.max_tokens)
        if spec.class_names:
            require_classes(spec.kind, spec.class_names, self.model.labels)
        else:
            require_width(spec.kind, spec.width, len(self.model.labels))

    def prepare(self, features: Inputs) -> Tokens:
        """Texts as tokens."""
        return self.model.tokens(as_texts(features))

    def label(self, features: Tokens) -> Matrix:
        """(rows, classes) logits, or (rows, width) numbers."""
        return self.model.logits(features)
