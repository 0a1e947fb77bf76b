"""`custom`: a torch module of the user's own, from a file beside the job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue, field_validator

from distill.core.errors import JobError
from distill.core.source import own_lines, user_errors
from distill.spec.base import Place
from distill.spec.networks import BuiltNetwork, Network, NetworkInput, Ngrams, Words

if TYPE_CHECKING:
    from torch import nn


class CustomModel(Network):
    """A torch module of the user's own, made as `Trunk(in_features, **options)`; its `forward(x)`
    turns B rows into (B, H), which the heads see.

    `x` is (B, in_features) float32; an image is its C·H·W numbers in 0..1, channel by channel. H is
    found by asking it. The class has a `revision` (text): with `options` it says which model this
    is, so change it when the class means something else. What it learns are parameters: buffers
    that move in training are refused, since workers and lanes would differ in them, but for those of
    BatchNorm where `training.batch_norm` says how they are kept. Padded and rejected rows are zeros: its answers and gradients must be
    finite there, so write x / x.norm().clamp_min(1e-6) and not x / x.norm().
    """

    kind: Literal["custom"]
    file: Place
    """Python file, relative to the job file. It is shipped to the workers as source, and never run
    from storage."""
    name: str = "Trunk"
    """The class in that file."""
    options: dict[str, JsonValue] = {}
    """What it is made with, beside `in_features`."""
    text: Ngrams | None = None
    """For pools of text: `x` is then (B, most) int32, places of 0 to `buckets`, and `in_features`
    is `most`."""

    @field_validator("options")
    @classmethod
    def _finite(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        try:
            json.dumps(value, allow_nan=False)
        except ValueError:
            raise ValueError(
                "has a number that is not finite, which JSON cannot keep. Let the class make it"
            ) from None
        return value

    @property
    def text_hashing(self) -> Ngrams | None:
        return self.text

    def with_words(self, words: Words) -> CustomModel:
        if self.text is None:
            return self
        text = self.text.with_words(words)
        return self.model_copy(update={"text": text})

    @property
    def text_key(self) -> str:
        return "text"

    def seen_numbers(self, in_features: int) -> int:
        """Return how many numbers of a row the module sees: what it is made with."""
        return in_features if self.text is None else self.text.most

    def build(self, given: NetworkInput) -> BuiltNetwork:
        """Build the user's module. Raises JobError, with the user's own lines where it raises."""
        from distill.models.trainable import answer_width

        module = self._make(given)
        width = answer_width(module, self, given)
        return BuiltNetwork(module, width)

    def _make(self, given: NetworkInput) -> nn.Module:
        from torch import nn

        assert given.code is not None
        made = given.code.load(self.name, given.key)
        if not (isinstance(made, type) and issubclass(made, nn.Module)):
            raise JobError(
                f"{given.key}: {self.name} in {given.code.path} is no torch.nn.Module. Derive the"
                " class from it."
            )
        numbers = self.seen_numbers(given.in_features)
        try:
            return made(numbers, **self.options)
        except user_errors() as error:
            options = "".join(f", {key}={value!r}" for key, value in self.options.items())
            raise JobError(
                f"{given.key}: {self.name}({numbers}{options}) raises when it is"
                f" made:\n{own_lines(error)}"
            ) from error
