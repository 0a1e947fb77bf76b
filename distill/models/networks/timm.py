"""`timm`: an image network of timm's, by its name, or as somebody trained it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from distill.core.errors import JobError
from distill.models.files import ModelFiles
from distill.models.image_config import TIMM_CONFIG, timm_config, timm_normalization
from distill.models.networks.pretrained import BegunNetwork
from distill.models.networks.shape import misread_images, require_shape
from distill.spec.base import Positive
from distill.spec.networks import BuiltNetwork, NetworkInput, NetworkSize
from distill.spec.pools import Features

if TYPE_CHECKING:
    from typing_extensions import Self

Channels = tuple[Annotated[float, Field(allow_inf_nan=False)], ...]
_SET_BY_SHAPE = ("in_chans", "img_size", "num_classes", "pretrained")


class TimmNetwork(BegunNetwork):
    """An image network of timm's, without its classifier: by `name`, its weights drawn; or from
    `model`, safetensors alone, to be tuned with its heads."""

    kind: Literal["timm"]
    shape: tuple[Positive, Positive, Positive]
    """Channels, height, width of the images."""
    name: str | None = None
    """What timm calls it, such as "mobilenetv3_small_050". Default: what the `config.json` of
    `model` says. Without a model, weights are drawn."""
    options: dict[str, JsonValue] = {}
    """What timm makes it with beside, such as `{ drop_path_rate = 0.1 }`."""
    mean: Channels | None = None
    """What is taken off each channel's 0..1; one number for all, or one each. Default: the model's
    own."""
    std: Channels | None = None
    """What that is divided by. Default: the model's own."""

    @field_validator("options")
    @classmethod
    def _plain(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        taken = sorted(set(value) & set(_SET_BY_SHAPE))
        if taken:
            raise ValueError(f"{taken} are set by shape and heads; leave them out")
        json.dumps(value, allow_nan=False)
        return value

    @model_validator(mode="after")
    def _named(self) -> TimmNetwork:
        if self.name is None and self.model is None:
            raise ValueError(
                'has neither name nor model; name one of timm\'s, such as "resnet18", or a folder'
                " that holds one"
            )
        for key in ("mean", "std"):
            numbers = getattr(self, key)
            if numbers is not None and len(numbers) not in (1, self.shape[0]):
                raise ValueError(
                    f"{key} = {list(numbers)}: give one number, or one for each of"
                    f" {self.shape[0]} channels"
                )
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std = {list(self.std)}: nothing is divided by 0 or less")
        return self

    def misread(self, features: Features | None, pool: str) -> Iterator[str]:
        yield from super().misread(features, pool)
        yield from misread_images(self.shape, features, pool)

    def require_fit(self, given: NetworkInput) -> None:
        require_shape(self.shape, given)

    def with_files(self, files: ModelFiles, where: str = "model") -> Self:
        """Return the same network with its model's files as they were identified, and what their
        `config.json` says of it, so that it is built again without them; `where` is its key. Raises
        JobError."""
        from distill.models.files import read_model_file

        content = read_model_file(files.uri, TIMM_CONFIG)
        config = json.loads(content) if content is not None else {}
        architecture = config.get("architecture")
        if self.name is None and architecture is None:
            raise JobError(
                f"{where}.model = {files.uri!r}: has no {TIMM_CONFIG} that says its architecture."
                " Say it: name."
            )
        if self.name is not None and architecture not in (None, self.name.partition(".")[0]):
            raise JobError(
                f"{where}.name = {self.name!r}: {files.uri} is of {architecture!r}. Write that, or"
                " leave the name out."
            )
        own = timm_normalization(timm_config(config)) if architecture else None
        arguments = config.get("model_args") or {}
        kept = {key: value for key, value in arguments.items() if key not in _SET_BY_SHAPE}
        update = {
            "model": files.uri,
            "sha256": files.sha256,
            "name": self.name or architecture,
            "options": {**kept, **self.options},
            "mean": self.mean or (own and own.mean),
            "std": self.std or (own and own.std),
        }
        return self.model_copy(update=update)

    def built_size(self, in_features: int) -> NetworkSize:  # noqa: ARG002
        """Return its size, by what timm makes."""
        from distill.models.begun_size import timm_size

        return timm_size(self)

    def build(self, given: NetworkInput) -> BuiltNetwork:
        from distill.models.timm_module import build_trunk

        self.require_fit(given)
        return build_trunk(self, given)
