"""An NLI model as a zero-shot classifier: each text with each class's hypothesis (Yin, Hay & Roth
2019, "Benchmarking Zero-shot Text Classification").

exclusive:     logit of a class = the model's entailment logit,
               so the softmax over classes is the library's score
independent:   logit of a class = entailment − contradiction,
               so its sigmoid is the library's score
"""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Labeler, Matrix
from distill.labelers.kind import Classes, ModelLabelerKind
from distill.labelers.runtime import Runtime
from distill.labelers.transformer import TEXT_LIBRARIES, SequenceModel, Tokens, as_texts
from distill.labelers.validation import require_one_each
from distill.spec.base import Positive


class Nli(ModelLabelerKind):
    """A Hugging Face NLI model as a zero-shot classifier: how well does a text entail "This example
    is CLASS."? Yin et al. 2019."""

    reads = "text"
    libraries = TEXT_LIBRARIES
    extra = "text"
    uses_torch = True

    kind: Literal["nli"]
    classes: Classes
    hypothesis: str = "This example is {}."
    """`{}` stands for the class, or for its description."""
    descriptions: tuple[str, ...] | None = None
    """What is put for each class instead of its name."""
    independent: bool = False
    """Whether a text may have several classes: each is then entailment against contradiction."""
    max_tokens: Positive = 512
    """A longer text is cut, to what the model has positions for, where these are fewer; the
    hypothesis never is."""

    @model_validator(mode="after")
    def _template(self) -> Nli:
        if self.hypothesis.count("{}") != 1:
            message = f"hypothesis = {self.hypothesis!r} must have one {{}}, where the class stands"
            raise ValueError(message)
        require_one_each(self.classes, self.descriptions)
        return self

    def build(self, runtime: Runtime) -> Labeler:
        return NliLabeler(self, runtime)


class NliLabeler:
    """Asks the model once a text and class."""

    def __init__(self, spec: Nli, runtime: Runtime) -> None:
        self.model = SequenceModel(runtime, spec.max_tokens)
        self.independent = spec.independent
        texts = spec.descriptions or spec.classes
        self.hypotheses = [spec.hypothesis.replace("{}", text) for text in texts]
        self.entailment = self._output("entail")
        # an exclusive classifier never asks it, and its model may have no such output
        self.contradiction = -1
        if spec.independent:
            self.contradiction = self._contradiction()

    def prepare(self, features: Inputs) -> Tokens:
        """Cut pairs into tokens: the first text with every hypothesis, then the second, …"""
        texts = [text for text in as_texts(features) for _ in self.hypotheses]
        count = len(features)
        hypotheses = self.hypotheses * count
        return self.model.tokens(texts, hypotheses)

    def label(self, features: Tokens) -> Matrix:
        """Return (rows, classes) logits."""
        outputs = self.model.logits(features)
        logits: Matrix = outputs[:, self.entailment]
        if self.independent:
            logits = logits - outputs[:, self.contradiction]
        classes = len(self.hypotheses)
        return logits.reshape(-1, classes)

    def _contradiction(self) -> int:
        """Of a model of two outputs, the other one, whatever it is called."""
        if len(self.model.labels) == 2:
            return 1 - self.entailment
        return self._output("contradict")

    def _output(self, beginning: str) -> int:
        """Return which of the model's outputs has a name that begins so. Raises LabelerError."""
        labels = self.model.labels
        found = [number for number, name in enumerate(labels) if name.lower().startswith(beginning)]
        if len(found) != 1:
            raise LabelerError(
                f"a labeler of kind 'nli': {len(found)} of the model's outputs {labels} are called"
                f" {beginning}…, where one is due. Name an NLI model."
            )
        return found[0]
