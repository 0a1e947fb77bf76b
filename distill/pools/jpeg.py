"""JPEGs, decoded at a scale: by simplejpeg where it is installed (1.5 × pillow's rate), else by
pillow.

Both are libjpeg-turbo, and give the same pixels. That is not believed but tried, once a process, on
images of every kind of subsampling; where they differ, pillow decodes. So pixels, and the labels
made of them, do not depend on whether simplejpeg is there.
"""

from __future__ import annotations

import functools
import io
import itertools
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Bytes = npt.NDArray[np.uint8]

# what simplejpeg is asked for, by what the file holds; others (CMYK) are pillow's
_COLOURS = {"YCbCr": "RGB", "Gray": "GRAY"}
_START_OF_SCAN = 0xDA
_APP1 = 0xE1
_TRIED_SIZE = (83, 67)
_TRIED_SCALES = (1, 2, 4, 8)
_SUBSAMPLINGS = ("4:4:4", "4:2:2", "4:2:0")


def fast_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG that `fast_pixels` can decode; None of any other file."""
    if not _is_jpeg(content) or not has_fast_jpeg():
        return None
    import simplejpeg

    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(content)
    except ValueError:  # pillow says what is wrong with it
        return None
    return (width, height) if colours in _COLOURS else None


def fast_pixels(content: bytes, size: tuple[int, int], scale: int) -> Bytes | None:
    """Decode a JPEG of `size` (width, height) at 1/`scale`: (height, width, 3 or 1), its own
    colours; None where anything in it is not as it should be, which pillow then tells."""
    import simplejpeg

    *_, colours, _ = simplejpeg.decode_jpeg_header(content)
    width, height = size
    try:
        pixels: Bytes = simplejpeg.decode_jpeg(
            content, _COLOURS[colours], min_height=-(-height // scale), min_width=-(-width // scale)
        )
    except ValueError:
        return None
    return pixels


def draft(image: Image.Image, scale: int) -> None:
    """Let pillow decode an opened JPEG at 1/`scale`."""
    if scale > 1 and image.format == "JPEG":
        width, height = image.size
        image.draft(None, (width // scale, height // scale))


def may_be_turned(content: bytes) -> bool:
    """Whether a JPEG has a segment that may say how it is to be turned: EXIF or XMP."""
    start = 2
    # a walk over the heads of its segments: microseconds, where pillow takes 50 to open the file
    while start + 4 <= len(content) and content[start] == 0xFF:
        marker = content[start + 1]
        if marker in (_APP1, _START_OF_SCAN):
            return marker == _APP1
        start += 2 + int.from_bytes(content[start + 2 : start + 4], "big")
    return True  # something else than segments: pillow is to look


@functools.cache
def has_fast_jpeg() -> bool:
    """Whether simplejpeg is there and decodes as pillow does, to the last bit."""
    if find_spec("simplejpeg") is None:
        return False
    try:
        return all(
            _is_same(subsampling, progressive, scale)
            for subsampling in _SUBSAMPLINGS
            for progressive, scale in itertools.product((False, True), _TRIED_SCALES)
        )
    except Exception:  # noqa: BLE001  whatever it raises, pillow remains
        return False


def _is_same(subsampling: str, progressive: bool, scale: int) -> bool:
    content = _tried_jpeg(subsampling, progressive)
    with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
        draft(image, scale)
        due = np.asarray(image)
    pixels = fast_pixels(content, _TRIED_SIZE, scale)
    return pixels is not None and np.array_equal(pixels, due)


def _tried_jpeg(subsampling: str, progressive: bool) -> bytes:
    """A coloured image with edges and noise."""
    # colours, edges and noise keep every part of a decoder busy
    width, height = _TRIED_SIZE
    noise = np.random.default_rng(0).integers(0, 96, (height, width, 3))
    stripes = 150 * (np.arange(width) // 7 % 2)[None, :, None]
    image = Image.fromarray((noise + stripes).astype(np.uint8))
    sink = io.BytesIO()
    options: dict[str, Any] = {"subsampling": subsampling, "progressive": progressive}
    image.save(sink, "JPEG", quality=80, **options)
    return sink.getvalue()


def _is_jpeg(content: bytes) -> bool:
    head = content[:2]
    return head == b"\xff\xd8"
