"""Where an image lies in the shape that a model sees: pure arithmetic, in the very roundings of
torchvision, timm (`transforms_imagenet_eval`) and transformers, which differ by a line."""

from __future__ import annotations

from dataclasses import dataclass

from distill.spec.preprocess import Preprocess

Size = tuple[int, int]  # width and height, as pillow has them
_JPEG_SCALES = (8, 4, 2)
# a side below which a JPEG is decoded whole: of small ones nothing is won, and libraries may take
# another of the scales that give the same size
_SMALLEST_SCALED = 64


@dataclass(frozen=True)
class Placement:
    """An image scaled to `size`, of which the shape's first column and line are `left` and `top`:
    below zero where it begins beside the image."""

    size: Size
    left: int
    top: int


def place_image(preprocess: Preprocess, shape: tuple[int, int, int], size: Size) -> Placement:
    """Place an image of `size` in `shape` (height, width, channels)."""
    height, width, _ = shape
    scaled = _scaled_size(preprocess, shape, size)
    left = _offset(scaled[0], width, preprocess.odd)
    top = _offset(scaled[1], height, preprocess.odd)
    return Placement(scaled, left, top)


def jpeg_scale(size: Size, scaled: Size) -> int:
    """Return by what a JPEG of `size` may be divided while it is decoded, so that it is no smaller
    than `scaled`: 1, 2, 4 or 8."""
    if min(size) < _SMALLEST_SCALED:
        return 1
    for scale in _JPEG_SCALES:
        if size[0] // scale >= scaled[0] and size[1] // scale >= scaled[1]:
            return scale
    return 1


def _scaled_size(preprocess: Preprocess, shape: tuple[int, int, int], size: Size) -> Size:
    width, height = size
    due_height, due_width = preprocess.sides or shape[:2]
    if preprocess.fit == "stretch":
        return due_width, due_height
    if preprocess.fit == "crop" and due_width == due_height:
        # torchvision's `Resize` and transformers' cut the longer side's fraction off
        shorter = min(size)
        return due_width * width // shorter, due_height * height // shorter
    ratios = (width / due_width, height / due_height)
    ratio = min(ratios) if preprocess.fit == "crop" else max(ratios)
    # timm's `ResizeKeepRatio`; a thin line is one pixel wide all the same
    return max(1, round(width / ratio)), max(1, round(height / ratio))


def _offset(scaled: int, due: int, odd: str) -> int:
    surplus = scaled - due
    if surplus < 0:
        return -(-surplus // 2)
    if odd == "down":
        return surplus // 2
    return round(surplus / 2)
