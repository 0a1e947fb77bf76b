"""What a vision model's own files say of the images that it wants: timm's `config.json`, or Hugging
Face's `preprocessor_config.json`. Read as JSON, so it needs neither library.

What a processor of another class does to an image cannot be read from its file, so only those are
taken whose code was compared (tests hold each against its library).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distill.core.errors import JobError
from distill.models.files import read_model_file
from distill.spec.preprocess import Preprocess
from distill.spec.uris import is_hub, wrong_uri

TIMM_CONFIG = "config.json"
PROCESSOR_CONFIG = "preprocessor_config.json"

_PROCESSORS = ("ViT", "DeiT", "CLIP", "Bit", "Siglip", "ConvNext", "MobileNetV2")
"""Hugging Face's image processors that are known here, by the beginning of their names."""
_ENDINGS = ("ImageProcessorFast", "ImageProcessor", "FeatureExtractor")
_CROPPING = ("CLIP", "Bit", "MobileNetV2")
"""Those that crop where their file does not say."""
_CONVNEXT_WARPS_FROM = 384
"""The side from which ConvNeXt's processor stretches images in place of cropping them."""
_RESAMPLES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers of them."""
_FITS = {"center": "crop", "squash": "stretch", "border": "pad"}
"""timm's crop modes."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Shape = tuple[int, int, int]
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Normalization:
    """What is taken off a channel's 0..1, and what that is divided by."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


def resolve_preprocess(preprocess: Preprocess, uri: str, shape: Shape, where: str) -> Preprocess:
    """Return `preprocess` with what the model at `uri` says in place of its `of`, for images of
    `shape` (height, width, channels); `where` is the key that names it. Raises JobError."""
    wrong = None if is_hub(uri) else wrong_uri(uri)
    if wrong:
        raise JobError(f"{where}: {wrong}")
    processor = _read_json(uri, PROCESSOR_CONFIG, where)
    if processor is not None:
        found = _of_processor(processor, shape, where)
    else:
        config = _read_json(uri, TIMM_CONFIG, where)
        if config is None or "architecture" not in config:
            raise JobError(
                f"{where} = {uri!r}: has neither {PROCESSOR_CONFIG} nor timm's {TIMM_CONFIG}, which"
                " say how it wants images. Name a model that has one, or write what they say."
            )
        found = _of_timm(timm_config(config), shape, where)
    return Preprocess(**found, jpeg=preprocess.jpeg or "whole")


def read_normalization(uri: str, where: str) -> Normalization | None:
    """Return mean and standard deviation as the model folder at `uri` says them; None where it has
    no file that does. Raises JobError."""
    processor = _read_json(uri, PROCESSOR_CONFIG, where)
    if processor is not None:
        return _processor_normalization(processor)
    config = _read_json(uri, TIMM_CONFIG, where)
    if config is None or "architecture" not in config:
        return None
    return timm_normalization(timm_config(config))


def timm_config(config: Json) -> Json:
    """Return the part of timm's `config.json` that speaks of images; of old ones the whole."""
    found: Json = config.get("pretrained_cfg") or config
    return found


def timm_normalization(config: Json) -> Normalization:
    """Return mean and standard deviation of timm's data config."""
    mean = config.get("mean") or IMAGENET_MEAN
    std = config.get("std") or IMAGENET_STD
    return Normalization(tuple(mean), tuple(std))


def _read_json(uri: str, name: str, where: str) -> Json | None:
    content = read_model_file(uri, name)
    if content is None:
        return None
    try:
        found = json.loads(content)
    except ValueError as error:
        raise JobError(f"{where}: {name} in {uri} is no JSON: {error}. Restore it.") from None
    if not isinstance(found, dict):
        raise JobError(f"{where}: {name} in {uri} is no table. Restore it.")
    return found


def _of_timm(config: Json, shape: Shape, where: str) -> dict[str, Any]:
    mode = config.get("crop_mode") or "center"
    if mode not in _FITS:
        raise JobError(
            f"{where}: its crop_mode is {mode!r}, which is not known. Write what it does."
        )
    share = config.get("crop_pct") or 0.875
    sides = tuple(math.floor(side / share) for side in shape[:2])
    found = {
        "fit": _FITS[mode],
        "sides": sides,
        "interpolation": _known_interpolation(config.get("interpolation") or "bicubic", where),
    }
    if mode == "border":
        mean = timm_normalization(config).mean
        found["fill"] = tuple(round(255 * value) for value in mean)
    return found


def _of_processor(config: Json, shape: Shape, where: str) -> dict[str, Any]:
    name = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
    family = _family(name)
    if family is None or config.get("do_pad") or config.get("do_flip_channel_order"):
        raise JobError(
            f"{where}: its processor is {name!r} with do_pad = {config.get('do_pad', False)}, and"
            " what it does to images is not known. Write it: fit, sides, interpolation."
        )
    sides: tuple[int, int] = shape[:2]
    fit = "stretch"
    cut = sides
    if config.get("do_resize", True):
        fit, sides, cut = _resized(config, family, where)
    if config.get("do_center_crop", family in _CROPPING):
        cut = _pair(config.get("crop_size"), cut)
    if cut != shape[:2]:
        raise JobError(
            f"{where}: it wants images of {cut[0]} × {cut[1]}, but the pool's shape ="
            f" {list(shape)}. Write shape = {[*cut, shape[2]]}."
        )
    resample = config.get("resample", 2)
    return {
        "fit": fit,
        "sides": sides,
        "interpolation": _known_interpolation(_RESAMPLES.get(resample, resample), where),
        "odd": "down",
    }


def _family(name: str) -> str | None:
    for family in _PROCESSORS:
        if name in [family + ending for ending in _ENDINGS]:
            return family
    return None


def _resized(config: Json, family: str, where: str) -> tuple[str, tuple[int, int], tuple[int, int]]:
    """How a processor scales, to what sides, and what is left of that without a centre crop."""
    size = config.get("size", {})
    if isinstance(size, int):
        # as its class of then took a plain number: the shorter side where it also crops
        size = {"shortest_edge": size} if config.get("do_center_crop") else _square(size)
    if family == "ConvNext" and "shortest_edge" in size:
        return _convnext(int(size["shortest_edge"]), config)
    if set(size) == {"height", "width"}:
        sides = (int(size["height"]), int(size["width"]))
        return "stretch", sides, sides
    if set(size) == {"shortest_edge"} and config.get("do_center_crop", family in _CROPPING):
        side = int(size["shortest_edge"])
        return "crop", (side, side), (side, side)
    raise JobError(
        f"{where}: its size = {dict(size)} gives images of different sizes, or is not known. Write"
        " what is due: fit, sides, interpolation."
    )


def _convnext(side: int, config: Json) -> tuple[str, tuple[int, int], tuple[int, int]]:
    if side >= _CONVNEXT_WARPS_FROM:
        return "stretch", (side, side), (side, side)
    share = config.get("crop_pct") or 224 / 256
    scaled = int(side / share)
    return "crop", (scaled, scaled), (side, side)


def _square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def _pair(size: Any, usual: tuple[int, int]) -> tuple[int, int]:
    if isinstance(size, int):
        return (size, size)
    if isinstance(size, Mapping) and "height" in size:
        return (int(size["height"]), int(size["width"]))
    return usual


def _known_interpolation(name: object, where: str) -> str:
    if name not in _RESAMPLES.values():
        raise JobError(
            f"{where}: its interpolation is {name!r}, not one of {list(_RESAMPLES.values())}."
            " Write what is due."
        )
    return str(name)


def _processor_normalization(config: Json) -> Normalization:
    mean = (0.0,)
    std = (1.0,)
    if config.get("do_normalize", True):
        mean = tuple(config.get("image_mean") or (0.5, 0.5, 0.5))
        std = tuple(config.get("image_std") or (0.5, 0.5, 0.5))
    # 1/255 makes 0..1; of another factor the same numbers by another mean and deviation
    factor = 255 * float(config.get("rescale_factor", 1 / 255))
    return Normalization(
        tuple(value / factor for value in mean), tuple(value / factor for value in std)
    )
