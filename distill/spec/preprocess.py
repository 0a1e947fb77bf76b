"""`preprocess` of a pool's images: how an encoded image of any size becomes one of the declared
shape. What it says decides the pixels, so all of it is part of every digest that its pool is in.

Mean and standard deviation are no part of it: rows stay bytes until a network or labeler sees them,
and that one subtracts its own.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from distill.spec.base import Place, Positive, Table

Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Fit = Literal["crop", "pad", "stretch"]
_Byte = Annotated[int, Field(ge=0, le=255)]


class Preprocess(Table):
    """How an encoded image of any size becomes one of the pool's shape: it is scaled, with
    antialias, and its centre cut out."""

    of: Place | None = None
    """A model whose own preprocessing this is: a folder, or `hf://ORGANISATION/NAME@REVISION`, with
    timm's `config.json` or Hugging Face's `preprocessor_config.json`. All keys but `jpeg` are then
    read there."""
    fit: Fit = "crop"
    """`crop`: the image covers `sides`, its own sides in proportion. `pad`: it lies within them.
    `stretch`: it becomes exactly these."""
    sides: tuple[Positive, Positive] | None = None
    """Height and width of what is scaled to. Default: those of the shape; larger ones, such as
    [256, 256] for a shape of 224, leave out more of the borders."""
    interpolation: Interpolation = "bicubic"
    fill: tuple[_Byte, ...] = (0,)
    """Colour of what lies beside the image, a number for all channels or one for each."""
    odd: Literal["even", "down"] = "even"
    """Where an odd number of lines is cut away, whether half of it is rounded to an even number, as
    torchvision and timm do, or down, as transformers does."""
    orientation: bool = True
    """Whether the orientation that a camera wrote (EXIF) is applied."""
    jpeg: Literal["scaled", "whole"] | None = None
    """`scaled`: a JPEG is decoded at the smallest of 1, 1/2, 1/4 and 1/8 that is no smaller than
    what it is scaled to, and no pixel is computed that is cut away: photographs of 2,000 × 1,500 in
    a third of the time, their pixels one to four grey levels off in the mean. Default: `scaled`;
    `whole` with `of`, so that pixels are those of the model's own library."""

    @property
    def scaled_jpeg(self) -> bool:
        """Whether JPEGs are decoded at a smaller scale, and cut before they are scaled."""
        return self.jpeg != "whole"

    @model_validator(mode="after")
    def _alone(self) -> Preprocess:
        written = sorted(self.model_fields_set - {"of", "jpeg"})
        if self.of is not None and written:
            raise ValueError(
                f"has of = {self.of!r}, where {written} are read; drop these, or write all without"
                " `of`"
            )
        return self
