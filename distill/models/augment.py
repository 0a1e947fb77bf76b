"""Images altered at random for training: torchvision's transforms, each row by a seed of its own.

A row's pixels are a pure function of the image, its seed and the table. So no draw comes from
torch's global generator, which the network's dropout uses at the same time: all are of a generator
of the row's own, and torchvision does what was drawn. Each image is altered alone, whatever else is
in its batch.

    crop ► shift ► flip ► rand_augment ► colour ► erase
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distill.core.errors import MissingExtraError
from distill.spec.augment import Augment, ColourJitter, Erasing, RandAugment, RandomCrop

if TYPE_CHECKING:
    from torch import Tensor

Images = npt.NDArray[np.uint8]
Seeds = npt.NDArray[np.uint64]

_TRIES = 10
"""Of a rectangle that fits, as torchvision has it."""
_LEVELS = 30
"""The largest magnitude of RandAugment."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


class Augmentation:
    """`augmentation(images, seeds)` alters a batch. Without state: any thread may call it."""

    def __init__(self, augment: Augment) -> None:
        """Raises MissingExtraError where torchvision is needed and not there."""
        self.augment = augment
        needs = (augment.crop, augment.rand_augment, augment.colour)
        if any(each is not None for each in needs):
            _require_torchvision()

    def __call__(self, images: Images, seeds: Seeds) -> Images:
        """Return images (B, H, W, C) altered, each by its seed (B,); those given stay."""
        altered = np.empty_like(images)
        for row, seed in enumerate(seeds.tolist()):
            altered[row] = self._altered(images[row], seed)
        return altered

    def _altered(self, image: Images, seed: int) -> Images:
        draw = np.random.Generator(np.random.Philox(seed))
        augment = self.augment
        if augment.crop is not None:
            image = _cropped(image, augment.crop, draw)
        if augment.shift:
            image = _shifted(image, augment.shift, draw)
        if augment.flip and draw.random() < augment.flip:
            image = image[:, ::-1]
        if augment.rand_augment is not None:
            image = _rand_augmented(image, augment.rand_augment, draw)
        if augment.colour is not None:
            image = _recoloured(image, augment.colour, draw)
        if augment.erase is not None and draw.random() < augment.erase.probability:
            image = _erased(image, augment.erase, draw)
        return image


def row_seeds(seed: int, epoch: int, rows: npt.NDArray[np.int64]) -> Seeds:
    """Return a seed for each row (B,) of a dataset in an epoch; other rows, epochs and seeds have
    others."""
    start = np.array([seed, epoch], np.uint64)
    mixed = _mixed(start[1] + _mixed(start[:1]))
    return _mixed(rows.astype(np.uint64) + mixed)


def _mixed(numbers: Seeds) -> Seeds:
    """SplitMix64 (Steele et al. 2014): each bit of a number changes half of the bits."""
    # the product is meant to overflow
    with np.errstate(over="ignore"):
        z = numbers + _GOLDEN
        z = (z ^ (z >> np.uint64(30))) * _MIX[0]
        z = (z ^ (z >> np.uint64(27))) * _MIX[1]
    mixed: Seeds = z ^ (z >> np.uint64(31))
    return mixed


def _cropped(image: Images, crop: RandomCrop, draw: np.random.Generator) -> Images:
    from torchvision.transforms.v2 import functional

    height, width, _ = image.shape
    box = _rectangle((height, width), crop.scale, crop.ratio, draw)
    if box is None:
        box = _central_box(height, width, crop.ratio)
    top, left, box_height, box_width = box
    tensor = functional.resized_crop(
        _tensor(image), top, left, box_height, box_width, [height, width], antialias=True
    )
    return _array(tensor)


def _rectangle(
    sides: tuple[int, int],
    scale: tuple[float, float],
    ratio: tuple[float, float],
    draw: np.random.Generator,
) -> tuple[int, int, int, int] | None:
    """Draw a rectangle within an image: top, left, height, width; None where ten do not fit."""
    height, width = sides
    low, high = map(math.log, ratio)
    for _ in range(_TRIES):
        area = height * width * draw.uniform(*scale)
        aspect = math.exp(draw.uniform(low, high))
        across = round(math.sqrt(area * aspect))
        down = round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            top = draw.integers(height - down + 1)
            left = draw.integers(width - across + 1)
            return int(top), int(left), down, across
    return None


def _central_box(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int, int, int]:
    """The largest centre of such sides."""
    across = min(width, round(height * ratio[1]))
    down = min(height, round(width / ratio[0]))
    return (height - down) // 2, (width - across) // 2, down, across


def _shifted(image: Images, most: int, draw: np.random.Generator) -> Images:
    height, width, _ = image.shape
    top, left = draw.integers(2 * most + 1, size=2)
    # not `np.pad`, which takes ten times as long
    padded = np.zeros((height + 2 * most, width + 2 * most, image.shape[2]), np.uint8)
    padded[most : most + height, most : most + width] = image
    return padded[top : top + height, left : left + width]


def _erased(image: Images, erase: Erasing, draw: np.random.Generator) -> Images:
    height, width, _ = image.shape
    box = _rectangle((height, width), erase.scale, erase.ratio, draw)
    if box is None:
        return image
    top, left, down, across = box
    erased = image.copy()
    erased[top : top + down, left : left + across] = 0
    return erased


def _recoloured(image: Images, colour: ColourJitter, draw: np.random.Generator) -> Images:
    from torchvision.transforms.v2 import functional

    factors = {
        "brightness": (functional.adjust_brightness, 1.0, colour.brightness),
        "contrast": (_adjusted_contrast, 1.0, colour.contrast),
        "saturation": (functional.adjust_saturation, 1.0, colour.saturation),
        "hue": (functional.adjust_hue, 0.0, colour.hue),
    }
    tensor = _tensor(image)
    names = list(factors)
    for number in draw.permutation(len(names)):
        adjust, middle, most = factors[names[number]]
        if most:
            tensor = adjust(tensor, draw.uniform(middle - most, middle + most))
    return _array(tensor)


def _rand_augmented(image: Images, spec: RandAugment, draw: np.random.Generator) -> Images:
    tensor = _tensor(image)
    level = spec.magnitude / _LEVELS
    operations = list(_operations())
    for _ in range(spec.operations):
        name = operations[draw.integers(len(operations))]
        signed = level if draw.random() < 0.5 else -level
        tensor = _operations()[name](tensor, signed)
    return _array(tensor)


@functools.cache
def _operations() -> dict[str, Callable[[Tensor, float], Tensor]]:
    """RandAugment's operations, of a tensor (C, H, W) and a level of −1 to 1, whose sign says in
    which direction; of those that have none it says nothing."""
    from torchvision.transforms.v2 import functional

    def affine(
        image: Tensor, *, move: tuple[int, int] = (0, 0), shear: tuple[float, float] = (0.0, 0.0)
    ) -> Tensor:
        moved: Tensor = functional.affine(
            image,
            angle=0.0,
            translate=list(move),
            scale=1.0,
            shear=[math.degrees(math.atan(each)) for each in shear],
            center=[0, 0] if any(shear) else None,
        )
        return moved

    def pixels(image: Tensor, axis: int, level: float) -> int:
        return int(150 / 331 * image.shape[axis] * level)

    return {
        "identity": lambda image, _: image,
        "shear_x": lambda image, signed: affine(image, shear=(0.3 * signed, 0.0)),
        "shear_y": lambda image, signed: affine(image, shear=(0.0, 0.3 * signed)),
        "translate_x": lambda image, signed: affine(image, move=(pixels(image, 2, signed), 0)),
        "translate_y": lambda image, signed: affine(image, move=(0, pixels(image, 1, signed))),
        "rotate": lambda image, signed: functional.rotate(image, 30 * signed),
        "brightness": lambda image, signed: functional.adjust_brightness(image, 1 + 0.9 * signed),
        "colour": lambda image, signed: functional.adjust_saturation(image, 1 + 0.9 * signed),
        "contrast": lambda image, signed: _adjusted_contrast(image, 1 + 0.9 * signed),
        "sharpness": lambda image, signed: functional.adjust_sharpness(image, 1 + 0.9 * signed),
        "posterize": lambda image, signed: functional.posterize(image, 8 - round(4 * abs(signed))),
        "solarize": lambda image, signed: functional.solarize(image, 255 * (1 - abs(signed))),
        "auto_contrast": lambda image, _: functional.autocontrast(image),
        "equalize": lambda image, _: functional.equalize(image),
    }


def _adjusted_contrast(image: Tensor, factor: float) -> Tensor:
    """What torchvision's `adjust_contrast` does. Its mean is a sum of float32, which threads share
    between them: the last bits depend on how many there are."""
    from torchvision.transforms.v2 import functional

    grey = functional.rgb_to_grayscale(image)
    mean = float(grey.numpy().mean(dtype=np.float64))
    blended = image.float().mul(factor).add((1 - factor) * mean)
    adjusted: Tensor = blended.clamp(0, 255).to(image.dtype)
    return adjusted


def _tensor(image: Images) -> Tensor:
    import torch

    channels_first = np.ascontiguousarray(image.transpose(2, 0, 1))
    return torch.from_numpy(channels_first)


def _array(tensor: Tensor) -> Images:
    array: Images = tensor.numpy().transpose(1, 2, 0)
    return array


def _require_torchvision() -> None:
    from importlib.util import find_spec

    if find_spec("torchvision") is None:
        raise MissingExtraError("torchvision", "vision", "augment")
