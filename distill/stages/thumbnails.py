"""Images of a pool as they are kept beside a result, for a reader of the report."""

from __future__ import annotations

import base64
import io
from typing import Any

_LONGER_SIDE = 96  # pixels


def thumbnail(image: Any) -> str:
    """Return an image (H, W, C) of bytes as a small PNG in base64."""
    from PIL import Image

    pixels = image[:, :, 0] if image.shape[2] == 1 else image
    picture = Image.fromarray(pixels)
    picture.thumbnail((_LONGER_SIDE, _LONGER_SIDE))
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()
