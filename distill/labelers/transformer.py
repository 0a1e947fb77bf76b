"""What labelers by Hugging Face transformers share: the model from safetensors, text cut into
tokens, and batches of about the same length."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.runtime import Runtime, computing
from distill.labelers.validation import clipped

# by the names that are imported, and those that are installed
TEXT_LIBRARIES = {"transformers": "transformers", "tokenizers": "tokenizers"}
_POSITION_TABLES = {"position_embeddings", "embed_positions", "positions_embed", "wpe"}
UNLIMITED = 1 << 40  # tokens of a model that has no table of positions
# rows times the longest row's tokens: enough to fill a GPU, and far from its memory
_TOKENS_AT_ONCE = 16_384

# a text's or a pair's tokens, by the names of the model's inputs
Tokens = list[dict[str, list[int]]]


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
        loaded = transformers.AutoModelForSequenceClassification.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # so that they are refused by name, below
        )
        self.model: Any = loaded[0]
        loading = loaded[1]
        require_whole(loading, folder)
        self.model.to(runtime.device).eval()
        # a tokenizer that knows no limit has a huge one
        limit = self.tokenizer.model_max_length
        model_limit = int(limit)
        self.max_tokens = min(max_tokens, model_limit, position_limit(self.model))
        padding = self.tokenizer.pad_token
        self.pads = padding is not None
        self._tell_padding()

    def _tell_padding(self) -> None:
        """Let a decoder know its padding."""
        # the last token before the padding is the one that counts
        config = self.model.config.get_text_config()
        if getattr(config, "pad_token_id", None) is None:
            # without padding a token that no text has, so that the last one counts
            config.pad_token_id = self.tokenizer.pad_token_id if self.pads else -1

    @property
    def labels(self) -> list[str]:
        """The model's own names of its outputs, in order."""
        named = self.model.config.id2label
        return [str(named[number]) for number in sorted(named)]

    def tokens(self, texts: list[str], pairs: list[str] | None = None) -> Tokens:
        """Cut texts into tokens, at most the model's length; of a pair only the first is cut."""
        # of a pair the second is the hypothesis, which is short and says which class is asked for
        is_alone = pairs is None
        truncation = True if is_alone else "only_first"
        columns = self.tokenizer(texts, pairs, truncation=truncation, max_length=self.max_tokens)
        rows = range(len(texts))
        return [{name: columns[name][row] for name in columns} for row in rows]

    def logits(self, encoded: Tokens) -> Matrix:
        """Return (rows, outputs) float32, row i of input i."""
        width = self.model.config.num_labels
        outputs = np.empty((len(encoded), width), np.float32)
        lengths = [len(row["input_ids"]) for row in encoded]
        device = self.runtime.device
        # within this batch, never beyond it: a text's outputs then depend on its batch alone, which
        # the contract fixes
        for rows in batches_by_length(lengths, alike=not self.pads):
            batch = [encoded[row] for row in rows]
            inputs = self._tensors(batch)
            on_device = {name: tensor.to(device) for name, tensor in inputs.items()}
            with computing(device, self.runtime.precision):
                output = self.model(**on_device)
                logits = output.logits
            # through float32, since numpy has no bfloat16
            outputs[rows] = logits.float().cpu().numpy()
        return outputs

    def _tensors(self, batch: Tokens) -> Mapping[str, Any]:
        """Return a batch as tensors, padded."""
        # without padding its rows are of one length
        import torch

        if self.pads:
            padded: Mapping[str, Any] = self.tokenizer.pad(batch, return_tensors="pt")
            return padded
        return {name: torch.tensor([row[name] for row in batch]) for name in batch[0]}


def require_whole(loading: Mapping[str, Any], folder: Path) -> None:
    """Refuse a model of which the library made weights up, or left some out, by what it says of the
    loading. Raises LabelerError."""
    missing = sorted(map(str, loading["missing_keys"]))
    # of each its name, its shape in the file and in the model
    mismatches = loading["mismatched_keys"]
    mismatched = sorted(f"{name} of {list(one)}, not {list(two)}" for name, one, two in mismatches)
    if not missing and not mismatched:
        return
    problems = []
    if missing:
        problems.append(f"lacks weights, which would be drawn at random: {clipped(missing)}")
    if mismatched:
        problems.append(f"has weights of other shapes: {clipped(mismatched)}")
    raise LabelerError(
        f"the model in {folder} {'; and it '.join(problems)}. Name a model that was trained with"
        " this head, or save it whole."
    )


def position_limit(model: Any) -> int:
    """Return how many tokens a model has positions for: the least of its tables of learned or
    computed positions. One that computes them from distances has none, and no limit."""
    import torch

    limits = [UNLIMITED]
    for name, module in model.named_modules():
        parts = name.rpartition(".")
        last_name = parts[2]
        if isinstance(module, torch.nn.Embedding) and last_name in _POSITION_TABLES:
            # RoBERTa's positions begin behind that of padding, BART's behind an offset
            offset = getattr(module, "offset", 0)
            begin = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - max(offset, begin))
    return min(limits)


def batches_by_length(lengths: list[int], *, alike: bool = False) -> Iterator[list[int]]:
    """Yield the numbers of all items, longest first, so many at once that they hold
    `_TOKENS_AT_ONCE` tokens with their padding; with `alike` only items of one length."""
    # stable: texts of one length stay in their order, and so in the same batch on every machine
    order = np.argsort(np.negative(lengths), kind="stable").tolist()
    while order:
        first = order[0]
        longest = lengths[first]
        count = max(1, _TOKENS_AT_ONCE // max(1, longest))
        if alike:
            same = sum(lengths[row] == longest for row in order[:count])
            count = min(count, same)
        yield order[:count]
        order = order[count:]


def as_texts(features: Inputs) -> list[str]:
    """Return a batch of text features as a list."""
    return [str(text) for text in features]
