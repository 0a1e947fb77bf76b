"""What labelers by Hugging Face transformers share: the model from safetensors, text cut into
tokens, and batches of about the same length.

A batch of texts is sorted by length, cut where padding begins to cost, and its answers are put back
in order; so a text's answer depends on its batch alone, which the contract fixes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from distill.core.errors import LabelerError
from distill.labelers.base import Matrix
from distill.labelers.runtime import Runtime, computing

_TOKENS_AT_ONCE = 16_384
"""Rows times the longest row's tokens: enough to fill a GPU, and far from its memory."""

Tokens = list[dict[str, list[int]]]
"""A text's or a pair's tokens, by the names of the model's inputs."""


class SequenceModel:
    """A sequence classification model and its tokenizer, ready on a device."""

    def __init__(self, place: Runtime, max_tokens: int) -> None:
        import transformers

        weights = sorted(file.name for file in place.model.glob("*.safetensors"))
        if not weights:
            raise LabelerError(
                f"{place.model} has no *.safetensors file; others can run code and are not opened. "
                "Save the model by save_pretrained(…, safe_serialization=True)."
            )
        self.place = place
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(
            place.model, local_files_only=True, trust_remote_code=False
        )
        self.model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
            place.model,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
        self.model.to(place.device).eval()
        self.max_tokens = min(max_tokens, int(self.tokenizer.model_max_length))

    @property
    def labels(self) -> list[str]:
        """The model's own names of its outputs, in order."""
        named = self.model.config.id2label
        return [str(named[number]) for number in sorted(named)]

    def tokens(self, texts: list[str], pairs: list[str] | None = None) -> Tokens:
        """Token lists, cut to the model's length; of a pair only the first is cut."""
        cut = True if pairs is None else "only_first"
        made = self.tokenizer(texts, pairs, truncation=cut, max_length=self.max_tokens)
        return [{name: made[name][number] for name in made} for number in range(len(texts))]

    def logits(self, encoded: Tokens) -> Matrix:
        """(rows, outputs) float32, row i of input i."""
        outputs = np.empty((len(encoded), self.model.config.num_labels), np.float32)
        for places in batches_by_length([len(each["input_ids"]) for each in encoded]):
            padded = self.tokenizer.pad(
                [encoded[place] for place in places], return_tensors="pt"
            ).to(self.place.device)
            with computing(self.place.device, self.place.precision):
                outputs[places] = self.model(**padded).logits.float().cpu().numpy()
        return outputs


def batches_by_length(lengths: list[int]) -> Iterator[list[int]]:
    """Places of items, longest first, so many at once that they hold `_TOKENS_AT_ONCE` tokens with
    their padding."""
    order = np.argsort(np.negative(lengths), kind="stable").tolist()
    while order:
        count = max(1, _TOKENS_AT_ONCE // max(1, lengths[order[0]]))
        yield order[:count]
        order = order[count:]


def as_texts(features: Any) -> list[str]:
    """A batch of text features."""
    return [str(text) for text in features]
