"""A student that reads tokens, in the forms that other libraries load: which there are, and why
another is not.

A form is a folder beside the student's own files: the library's files, and a `model.json` by which
`distill predict` and a labeler of kind `student` read it back. For that it says of each tensor what
distill calls it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from distill.models.encoder_module import EncoderModule
from distill.models.network import HEAD_PREFIX, MultiHead
from distill.models.record import ModelRecord
from distill.models.static_module import StaticModule
from distill.models.text_files import TextFiles
from distill.spec.outputs import Outputs
from distill.stages.export.judged import Judged, front_matter

Trunk = EncoderModule | StaticModule


@dataclass(frozen=True)
class TextStudent:
    """A student whose trunk reads tokens."""

    name: str
    record: ModelRecord
    network: MultiHead

    @property
    def trunk(self) -> Trunk:
        """What reads the tokens."""
        trunk = self.network.trunk
        assert isinstance(trunk, EncoderModule | StaticModule)
        return trunk

    @property
    def heads(self) -> Iterator[str]:
        """The heads on the trunk."""
        for head in self.record.heads:
            if f"{HEAD_PREFIX}{head}" not in self.network.own:
                yield head

    def outputs(self, head: str) -> Outputs:
        """What a head gives."""
        return self.record.heads[head]

    def linear(self, head: str) -> nn.Linear:
        """A head's own layer."""
        layer = self.network.heads[f"{HEAD_PREFIX}{head}"]
        assert isinstance(layer, nn.Linear)
        return layer

    def head_tensor(self, head: str, part: str) -> str:
        """Return what distill calls a head's `weight` or `bias`."""
        return f"heads.{HEAD_PREFIX}{head}.{part}"

    @cached_property
    def layers_above(self) -> list[tuple[nn.Linear, str, bool]] | None:
        """The layers between what is seen of a text and the heads, with their names and whether
        ReLU follows; None where there is another between."""
        above = self.trunk.above
        parts = above.named_children() if isinstance(above, nn.Sequential) else ()
        if above is not None and not isinstance(above, nn.Sequential | nn.Identity):
            return None
        found = []
        for name, part in parts:
            if isinstance(part, nn.Linear):
                found.append((part, f"trunk.above.{name}", False))
            elif isinstance(part, nn.ReLU) and found:
                layer, its_name, _ = found.pop()
                entry = (layer, its_name, True)
                found.append(entry)
            elif not isinstance(part, nn.Dropout):  # which does nothing once it is taught
                return None
        return found


@dataclass(frozen=True)
class Weights:
    """One file of weights, and what distill calls its tensors."""

    tensors: Mapping[str, Tensor]
    ours: Mapping[str, str]  # by the names in the file

    @cached_property
    def content(self) -> bytes:
        """The file."""
        plain = {name: tensor.detach().contiguous() for name, tensor in self.tensors.items()}
        # transformers refuses a file that does not say which library's layout it has
        return safetensors.torch.save(plain, metadata={"format": "pt"})


@dataclass(frozen=True)
class Form:
    """One folder that another library loads."""

    folder: str
    library: str  # as a model card's front matter names it
    head: str
    use: str  # for people: the lines that load it and ask it
    files: Mapping[str, bytes]
    weights: Mapping[str, Weights]  # by file
    # tensors of distill's that no file has, being `ones`, `zeros` or `eye`, and their shapes
    made: Mapping[str, tuple[str, list[int]]] = field(default_factory=dict)

    def body(self, kept: TextFiles) -> dict[str, Any]:
        """Return what `model.json` says of where weights and text files are; of those that the
        student kept the tokenizer is read from beside it."""
        files = {
            name: {"sha256": _sha256(each.content), "ours": dict(each.ours)}
            for name, each in self.weights.items()
        }
        return {
            "files": files,
            "made": {name: [what, shape] for name, (what, shape) in self.made.items()},
            "text": {"tokenizer.json": _sha256(self.files["tokenizer.json"])},
            "config": dict(kept.config),
            "tokenizer_config": dict(kept.tokenizer_config),
        }


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Refused:
    """A form that a student cannot have, and why."""

    library: str
    why: str


def form_card(student: TextStudent, form: Form, card: str, judged: Judged) -> bytes:
    """Return README.md: what the Hugging Face hub reads of a form in its front matter, how it is loaded,
    and the student's own card."""
    task = _task(student.outputs(form.head))
    mine = [result for result in judged.results if result.head in ("", form.head)]
    keys = [f"library_name: {form.library}", f"pipeline_tag: {task}"]
    front = front_matter(student.name, replace(judged, results=mine), keys)
    title, _, rest = card.partition("\n\n")
    return "\n\n".join([front, title, form.use, rest]).encode()


def _task(outputs: Outputs) -> str:
    return "feature-extraction" if outputs.kind == "value" else "text-classification"
