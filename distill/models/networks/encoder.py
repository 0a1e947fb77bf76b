"""`encoder`: a Hugging Face encoder, to be tuned or frozen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from distill.models.networks.pretrained import PretrainedNetwork
from distill.models.text_tokens import LongTexts, ModelTokens
from distill.spec.base import Positive, repeated
from distill.spec.networks import BuiltNetwork, NetworkInput, NetworkSize

Layer = Annotated[int, Field(ge=0)]


class EncoderNetwork(PretrainedNetwork):
    """A Hugging Face encoder that reads text by its own tokens, from a folder or the hub, safetensors
    alone; tuned with its heads, or frozen in part or whole."""

    kind: Literal["encoder"]
    pooling: Literal["mean", "cls", "last"] = "mean"
    """What is seen of a text. `mean`: the mean of its tokens' last states. `cls`: what the
    architecture's own classifier sees, its first token through the layer that stands before it;
    such a student is exported as a folder that `AutoModelForSequenceClassification` loads, the
    others as one of sentence-transformers. `last`: its last token's state."""
    max_tokens: Annotated[int, Field(ge=4, lt=2**31)] = 256
    """Of a text, its marks included; no more than the model has positions for."""
    long_texts: LongTexts = "head_tail"
    """What is kept of a longer text: its head and its tail, or its head alone, as other libraries
    cut it."""
    layers: Positive | Annotated[tuple[Layer, ...], Field(min_length=1)] | None = None
    """How many of its layers are kept, evenly spaced, or which, counted from 0. Default: all."""
    freeze: Literal["all", "embeddings"] | Positive | None = None
    """What stays as it was, without dropout: everything that the model brings, its embeddings, or
    these and its first so many layers."""

    @field_validator("layers")
    @classmethod
    def _each_once(cls, value: int | tuple[int, ...] | None) -> int | tuple[int, ...] | None:
        if isinstance(value, tuple) and (repeated([str(each) for each in value])):
            raise ValueError(f"{list(value)} names a layer twice; name each once")
        return value

    @property
    def text_tokens(self) -> ModelTokens:
        return ModelTokens(self.files, self.max_tokens, "encoder", self.long_texts)

    def require_fit(self, given: NetworkInput) -> None:
        from distill.models.encoder_files import require_encoder_files

        require_encoder_files(self, given.key)

    def built_size(self, in_features: int) -> NetworkSize:  # noqa: ARG002
        """Return its size, by its configuration."""
        from distill.models.begun_size import encoder_size

        return encoder_size(self)

    def build(self, given: NetworkInput) -> BuiltNetwork:
        from distill.models.encoder_module import build_encoder

        return build_encoder(self, given)
