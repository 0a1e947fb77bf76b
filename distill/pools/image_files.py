"""One encoded image, PNG, JPEG or WebP, as bytes of a shape: by pillow, JPEGs also by simplejpeg.

Without `preprocess` an image is as it was before that was a key: never turned, and stretched where
`resize` says so.
"""

from __future__ import annotations

import base64
import importlib.util
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from distill.core.errors import MissingExtraError
from distill.pools.formats.base import UNDECODABLE
from distill.pools.image_geometry import Placement, Size, jpeg_scale, place_image
from distill.spec.pools import ImageFeatures
from distill.spec.preprocess import Preprocess

if TYPE_CHECKING:
    from PIL import Image

Bytes = npt.NDArray[np.uint8]

# 64 million: beyond any photograph that a model sees, and 256 MB unpacked
MOST_PIXELS = 1 << 26
# whoever wrote the file may be hostile: none of pillow's other decoders is opened
FORMATS = ("PNG", "JPEG", "WEBP")
MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # of pillow, by channels
# eight bits a channel: pillow would clip deeper ones
_KNOWN_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_ORIENTATION = 0x0112  # EXIF's number of it
_TURNED_BY_A_QUARTER = (5, 6, 7, 8)  # orientations that change width and height


class BadImageError(Exception):
    """What is wrong with one image: its arguments are reason code and message."""


def require_pillow() -> None:
    """Raise MissingExtraError where pillow is not installed."""
    if importlib.util.find_spec("PIL") is None:
        raise MissingExtraError("pillow", "vision", "decoding PNG, JPEG and WebP")


def encoded_shape(content: bytes) -> tuple[int, int, int] | None:
    """Return height, width and channels as the head of an image says them; None where it is none.
    Raises MissingExtraError."""
    require_pillow()
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            channels = 1 if image.mode in ("1", "L", "LA") else 3
            return image.height, image.width, channels
    except Exception:  # noqa: BLE001  whatever pillow says of a damaged image, it tells no shape
        return None


def decode_image(content: bytes | str, features: ImageFeatures) -> Bytes:
    """Decode an image, or base64: (height, width, channels). Raises BadImageError."""
    with _named_trouble():
        packed = base64.b64decode(content, validate=True) if isinstance(content, str) else content
        if features.preprocess is None:
            return _as_it_is(packed, features)
        return _preprocessed(packed, features, features.preprocess)


@contextmanager
def _named_trouble() -> Iterator[None]:
    """Turn what pillow raises into what is wrong with the image."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except (BadImageError, MemoryError):
        raise
    except UnidentifiedImageError:
        raise BadImageError(UNDECODABLE, "holds neither PNG, JPEG nor WebP") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        message = f"is a decompression bomb: {error}"
        raise BadImageError(UNDECODABLE, message) from None
    except Exception as error:  # noqa: BLE001  whatever pillow says of a damaged image, it is one row's trouble
        message = f"cannot be decoded: {type(error).__name__}: {error}"
        raise BadImageError(UNDECODABLE, message) from None


def _as_it_is(content: bytes, features: ImageFeatures) -> Bytes:
    from PIL import Image

    height, width, channels = features.shape
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _require_sound(image)
        _require_size(image, features)
        converted = _converted(image, channels)
    if converted.size != (width, height):
        method = Image.Resampling[str(features.resize).upper()]
        converted = converted.resize((width, height), method)
    return np.asarray(converted, np.uint8).reshape(features.shape)


def _preprocessed(content: bytes, features: ImageFeatures, preprocess: Preprocess) -> Bytes:
    shape = features.shape
    image, orientation, size = _decoded(content, preprocess, shape)
    if image.mode != MODES[shape[2]]:
        channels = shape[2]
        image = _converted(image, channels)
    converted = _turned(image, orientation)
    placement = place_image(preprocess, shape, size)
    fitted = _fitted(converted, placement, shape, preprocess)
    return np.asarray(fitted, np.uint8).reshape(shape)


def _decoded(
    content: bytes, preprocess: Preprocess, shape: tuple[int, int, int]
) -> tuple[Image.Image, int, Size]:
    """Decode an image as it is stored, at the scale that `preprocess` allows. Return it, its
    orientation, and how large it is, whole and upright."""
    from PIL import Image

    from distill.pools.jpeg import draft, fast_pixels, fast_size, may_be_turned

    stored = fast_size(content)
    if stored is not None:
        _require_pixels(stored)
        orientation = 1
        if preprocess.orientation and may_be_turned(content):
            with Image.open(io.BytesIO(content), formats=FORMATS) as head:
                orientation = _orientation(head)
        size = _upright(stored, orientation)
        pixels = fast_pixels(content, stored, _scale(preprocess, shape, size))
        if pixels is not None:
            plain = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels
            return Image.fromarray(plain), orientation, size
    with Image.open(io.BytesIO(content), formats=FORMATS) as image:
        _require_sound(image)
        orientation = _orientation(image) if preprocess.orientation else 1
        size = _upright(image.size, orientation)
        draft(image, _scale(preprocess, shape, size))
        image.load()
    return image, orientation, size


def _scale(preprocess: Preprocess, shape: tuple[int, int, int], size: Size) -> int:
    if not preprocess.scaled_jpeg:
        return 1
    return jpeg_scale(size, place_image(preprocess, shape, size).size)


def _orientation(image: Image.Image) -> int:
    return int(image.getexif().get(_ORIENTATION, 1))


def _upright(stored: Size, orientation: int) -> Size:
    width, height = stored
    return (height, width) if orientation in _TURNED_BY_A_QUARTER else stored


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    """Return an image upright: what pillow's `exif_transpose` does."""
    from PIL import Image

    turns = Image.Transpose
    how = {
        2: turns.FLIP_LEFT_RIGHT,
        3: turns.ROTATE_180,
        4: turns.FLIP_TOP_BOTTOM,
        5: turns.TRANSPOSE,
        6: turns.ROTATE_270,
        7: turns.TRANSVERSE,
        8: turns.ROTATE_90,
    }.get(orientation)
    return image if how is None else image.transpose(how)


def _fitted(
    image: Image.Image, placement: Placement, shape: tuple[int, int, int], preprocess: Preprocess
) -> Image.Image:
    """Scale an image and cut the shape out of it."""
    from PIL import Image

    height, width, _ = shape
    scaled_width, scaled_height = placement.size
    left = max(0, placement.left)
    top = max(0, placement.top)
    right = min(scaled_width, placement.left + width)
    bottom = min(scaled_height, placement.top + height)
    seen = _scaled_part(image, placement.size, (left, top, right, bottom), preprocess)
    if seen.size == (width, height):
        return seen
    canvas = Image.new(image.mode, (width, height), _colour(preprocess, image))
    canvas.paste(seen, (left - placement.left, top - placement.top))
    return canvas


def _scaled_part(
    image: Image.Image, scaled: Size, part: tuple[int, int, int, int], preprocess: Preprocess
) -> Image.Image:
    """Scale an image, and return a part of what that gives."""
    from PIL import Image

    name = preprocess.interpolation.upper()
    method = Image.Resampling[name]
    if not preprocess.scaled_jpeg:
        return image.resize(scaled, method).crop(part)
    # No pixel is computed that is cut away: a fifth of the time of a small photograph. Pillow may
    # then take lines before columns, or the other way: at edges another rounding, by a few levels.
    across = image.width / scaled[0]
    down = image.height / scaled[1]
    left, top, right, bottom = part
    box = (left * across, top * down, right * across, bottom * down)
    return image.resize((right - left, bottom - top), method, box=box)


def _colour(preprocess: Preprocess, image: Image.Image) -> tuple[int, ...]:
    bands = image.getbands()
    channels = len(bands)
    fill = preprocess.fill
    return fill if len(fill) == channels else fill * channels


def _require_sound(image: Image.Image) -> None:
    """Refuse an image by its head, before its pixels are unpacked."""
    _require_pixels(image.size)
    if image.mode not in _KNOWN_MODES:
        message = f"has pixels of mode {image.mode}, not 8 bits a channel"
        raise BadImageError(UNDECODABLE, message)


def _require_pixels(size: Size) -> None:
    # counted before they are unpacked: a few bytes may declare gigabytes
    width, height = size
    if width * height > MOST_PIXELS:
        message = f"has {width} × {height} pixels, more than {MOST_PIXELS:,}"
        raise BadImageError(UNDECODABLE, message)


def _require_size(image: Image.Image, features: ImageFeatures) -> None:
    width, height = image.size
    due_height, due_width, _ = features.shape
    if image.size != (due_width, due_height) and features.resize is None:
        message = (
            f"is {width} wide and {height} high, not {due_width} and {due_height};"
            " `resize` would bring it there"
        )
        raise BadImageError("shape", message)


def _converted(image: Image.Image, channels: int) -> Image.Image:
    # a palette's transparent colour survives only by way of RGBA
    whole = image.convert("RGBA") if "transparency" in image.info else image
    mode = MODES[channels]
    return whole.convert(mode)
