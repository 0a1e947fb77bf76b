"""An NLI model as a zero-shot classifier: each text with each class's hypothesis (Yin, Hay & Roth 2019, "Benchmarking Zero-shot Text Classification").

exclusive:     logit of a class = the model's entailment logit, so the softmax over classes is the library's score
independent:   logit of a class = entailment − contradiction, so its sigmoid is the library's score
"""

from __future__ import annotations

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.runtime import Runtime
from distill.labelers.transformer import SequenceModel, Tokens, as_texts
from distill.spec.ready import Nli, Ready


class NliLabeler:
    """Asks once a text and class."""

    def __init__(self, spec: Ready, place: Runtime) -> None:
        assert isinstance(spec, Nli)
        self.model, self.independent = SequenceModel(place, spec.max_tokens), spec.independent
        self.hypotheses = [
            spec.hypothesis.replace("{}", said) for said in spec.descriptions or spec.classes
        ]
        self.entailment = self._output("entail")
        self.contradiction = self._contradiction() if spec.independent else -1

    def prepare(self, features: Inputs) -> Tokens:
        """Pairs as tokens: of the first text with every hypothesis, then of the second, …"""
        texts = [text for text in as_texts(features) for _ in self.hypotheses]
        return self.model.tokens(texts, self.hypotheses * len(features))

    def label(self, features: Tokens) -> Matrix:
        """(rows, classes) logits."""
        outputs = self.model.logits(features)
        entailed: Matrix = outputs[:, self.entailment]
        if self.independent:
            entailed = entailed - outputs[:, self.contradiction]
        return entailed.reshape(-1, len(self.hypotheses))

    def _contradiction(self) -> int:
        """Of a model of two outputs, the other one, whatever it is called."""
        return 1 - self.entailment if len(self.model.labels) == 2 else self._output("contradict")

    def _output(self, named: str) -> int:
        """Which of the model's outputs has a name that begins so."""
        found = [
            number
            for number, name in enumerate(self.model.labels)
            if name.lower().startswith(named)
        ]
        if len(found) != 1:
            raise LabelerError(
                f"a labeler of kind 'nli': {len(found)} of the model's outputs {self.model.labels}"
                f" are called {named}…, where one is due. Name an NLI model."
            )
        return found[0]
