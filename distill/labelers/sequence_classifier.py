"""A Hugging Face sequence classifier, or a regression, as a labeler."""

from __future__ import annotations

from typing import Literal

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Labeler, Matrix
from distill.labelers.kind import Classes, ModelLabelerKind
from distill.labelers.runtime import Runtime
from distill.labelers.transformer import TEXT_LIBRARIES, SequenceModel, Tokens, as_texts
from distill.labelers.validation import require_classes, require_width
from distill.spec.base import Positive


class SequenceClassifier(ModelLabelerKind):
    """A Hugging Face sequence classifier: text → logits of its labels, or the numbers of a
    regression."""

    reads = "text"
    libraries = TEXT_LIBRARIES
    extra = "text"
    uses_torch = True

    kind: Literal["sequence_classifier"]
    classes: Classes | None = None
    """As the model's `id2label` has them."""
    independent: bool = False
    """Whether each label is said or not by itself (a sigmoid each)."""
    width: Positive = 1
    """Numbers a row; for a regression."""
    max_tokens: Positive = 512
    """A longer text is cut; to what the model has positions for, where these are fewer."""

    def build(self, runtime: Runtime) -> Labeler:
        return SequenceClassifierLabeler(self, runtime)


class SequenceClassifierLabeler:
    """The model's logits as they are."""

    def __init__(self, spec: SequenceClassifier, runtime: Runtime) -> None:
        self.model = SequenceModel(runtime, spec.max_tokens)
        labels = self.model.labels
        config = self.model.model.config
        problem_type = config.problem_type
        if spec.class_names:
            require_classes(spec.kind, spec.class_names, labels)
            _require_relation(spec, problem_type)
        else:
            require_width(spec.kind, spec.width, len(labels), labels)

    def prepare(self, features: Inputs) -> Tokens:
        """Cut texts into tokens."""
        texts = as_texts(features)
        return self.model.tokens(texts)

    def label(self, features: Tokens) -> Matrix:
        """Return (rows, classes) logits, or (rows, width) numbers."""
        return self.model.logits(features)


# what a model says of its outputs, by its `problem_type`, and the key that says the same
_MEANS = {
    "multi_label_classification": "each label is said or not by itself: independent = true",
    "single_label_classification": "a text has one label: independent = false",
    "regression": "its outputs are numbers of a regression: no classes, but a width",
}


def _require_relation(spec: SequenceClassifier, problem_type: str | None) -> None:
    """Refuse a model whose outputs mean something else than the job's classes, where it says so.
    Raises LabelerError."""
    due = "multi_label_classification" if spec.independent else "single_label_classification"
    if problem_type in (None, due):
        return
    raise LabelerError(
        f"a labeler of kind {spec.kind!r}: independent = {str(spec.independent).lower()}, but the"
        f" model's problem_type is {problem_type!r}: {_MEANS.get(problem_type, 'unknown')}."
        " Write it so."
    )
