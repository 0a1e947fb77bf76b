"""`augment` of a training: how the images that a network learns from are altered, otherwise in each
epoch. What is altered how is drawn from a row's seed alone (`distill.models.augment`)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, model_validator

from distill.spec.base import Positive, Table
from distill.spec.pools import Features, ImageFeatures

Share = Annotated[float, Field(ge=0, le=1)]
_Ratio = Annotated[float, Field(gt=0, le=100)]
_COLOURED = (1, 3)  # channels of images whose colours can be altered


def _require_range(value: tuple[float, float], key: str) -> None:
    if value[0] > value[1]:
        raise ValueError(f"{key} = {list(value)}: the first is the larger one; turn them round")


class RandomCrop(Table):
    """A part of the image, scaled to its shape (`RandomResizedCrop`)."""

    scale: tuple[Share, Share] = (0.08, 1.0)
    """Of the image's area."""
    ratio: tuple[_Ratio, _Ratio] = (3 / 4, 4 / 3)
    """Of its sides."""

    @model_validator(mode="after")
    def _ranges(self) -> RandomCrop:
        _require_range(self.scale, "scale")
        _require_range(self.ratio, "ratio")
        return self


class ColourJitter(Table):
    """Other brightness, contrast, saturation and hue, in an order that is drawn (`ColorJitter`)."""

    brightness: Share = 0.0
    """Times 1 ± as much."""
    contrast: Share = 0.0
    saturation: Share = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """By as much of the circle of colours, either way."""


class RandAugment(Table):
    """Operations drawn from fourteen (`RandAugment`, Cubuk et al. 2020)."""

    operations: Positive = 2
    magnitude: Annotated[int, Field(ge=0, le=30)] = 9
    """Of each, from 0 to 30."""


class Erasing(Table):
    """A rectangle of zeros (`RandomErasing`, Zhong et al. 2020)."""

    probability: Share = 0.5
    scale: tuple[Share, Share] = (0.02, 0.33)
    """Of the image's area."""
    ratio: tuple[_Ratio, _Ratio] = (0.3, 3.3)
    """Of its sides."""

    @model_validator(mode="after")
    def _ranges(self) -> Erasing:
        _require_range(self.scale, "scale")
        _require_range(self.ratio, "ratio")
        return self


class Augment(Table):
    """How images are altered while they are learned from: torchvision's transforms, those that are
    named, in this order. The same row, epoch and seed give the same pixels, whatever the batch or
    worker."""

    crop: RandomCrop | None = None
    shift: Annotated[int, Field(ge=0, le=4096)] = 0
    """Pixels by which the image is moved at most, up, down and to the sides; zeros come in
    (`RandomCrop` with padding)."""
    flip: Share = 0.0
    """How probable it is to be seen in a mirror, left and right exchanged."""
    rand_augment: RandAugment | None = None
    colour: ColourJitter | None = None
    erase: Erasing | None = None

    def misfits(self, features: Features | None, pool: str) -> Iterator[str]:
        """Yield why the features of a pool cannot be altered so; each begins with the key."""
        if not isinstance(features, ImageFeatures):
            yield f"augment: pools.{pool} has no images. Leave it out."
            return
        alters_colour = self.colour is not None or self.rand_augment is not None
        if alters_colour and features.shape[2] not in _COLOURED:
            yield (
                f"augment: colours of pools.{pool}, with {features.shape[2]} channels, cannot be"
                " altered; of 1 or 3 they can. Leave `colour` and `rand_augment` out."
            )
