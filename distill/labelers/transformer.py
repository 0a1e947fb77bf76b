"""What labelers by Hugging Face transformers share: the model from safetensors, text cut into
tokens, and batches of about the same length.

A batch of texts is sorted by length, cut where padding begins to cost, and its outputs are put back
in order; so a text's outputs depend on its batch alone, which the contract fixes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.runtime import Runtime, computing

TEXT_LIBRARIES = {"transformers": "transformers", "tokenizers": "tokenizers"}
"""By the names that are imported, and those that are installed."""
_TOKENS_AT_ONCE = 16_384
"""Rows times the longest row's tokens: enough to fill a GPU, and far from its memory."""

Tokens = list[dict[str, list[int]]]
"""A text's or a pair's tokens, by the names of the model's inputs."""


class SequenceModel:
    """A sequence classification model and its tokenizer, ready on a device."""

    def __init__(self, runtime: Runtime, max_tokens: int) -> None:
        import torch
        import transformers

        folder = runtime.local_model()
        if not any(folder.glob("*.safetensors")):
            raise LabelerError(
                f"{folder} has no *.safetensors file; others can run code and are not opened."
                " Save the model by save_pretrained(…, safe_serialization=True)."
            )
        self.runtime = runtime
        # all files are here: nothing is asked of the hub, and no code of the folder is run
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        self.model: Any = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
        )
        self.model.to(runtime.device).eval()
        # a tokenizer that knows no limit has a huge one
        model_limit = int(self.tokenizer.model_max_length)
        self.max_tokens = min(max_tokens, model_limit)

    @property
    def labels(self) -> list[str]:
        """The model's own names of its outputs, in order."""
        named = self.model.config.id2label
        return [str(named[number]) for number in sorted(named)]

    def tokens(self, texts: list[str], pairs: list[str] | None = None) -> Tokens:
        """Cut texts into tokens, at most the model's length; of a pair only the first is cut."""
        # of a pair the second is the hypothesis, which is short and says which class is asked for
        truncation = True if pairs is None else "only_first"
        columns = self.tokenizer(texts, pairs, truncation=truncation, max_length=self.max_tokens)
        rows = range(len(texts))
        return [{name: columns[name][row] for name in columns} for row in rows]

    def logits(self, encoded: Tokens) -> Matrix:
        """Return (rows, outputs) float32, row i of input i."""
        width = self.model.config.num_labels
        outputs = np.empty((len(encoded), width), np.float32)
        lengths = [len(row["input_ids"]) for row in encoded]
        device = self.runtime.device
        for rows in batches_by_length(lengths):
            batch = [encoded[row] for row in rows]
            padded = self.tokenizer.pad(batch, return_tensors="pt")
            on_device = padded.to(device)
            with computing(device, self.runtime.precision):
                logits = self.model(**on_device).logits
            # through float32, since numpy has no bfloat16
            outputs[rows] = logits.float().cpu().numpy()
        return outputs


def batches_by_length(lengths: list[int]) -> Iterator[list[int]]:
    """Yield the numbers of all items, longest first, so many at once that they hold
    `_TOKENS_AT_ONCE` tokens with their padding."""
    # stable: texts of one length stay in their order, and so in the same batch on every machine
    order = np.argsort(np.negative(lengths), kind="stable").tolist()
    while order:
        longest = lengths[order[0]]
        count = max(1, _TOKENS_AT_ONCE // max(1, longest))
        yield order[:count]
        order = order[count:]


def as_texts(features: Inputs) -> list[str]:
    """Return a batch of text features as a list."""
    return [str(text) for text in features]
