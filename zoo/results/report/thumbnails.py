"""Thumbnails: raw images as small PNGs inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy

from zoo.results.plots.images import to_pictures

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 64
"""Pixels of the longer side at most: small images are kept as they are."""
COLOURS = 64
"""Of a picture in colour, so that even noise takes but a few kilobytes."""


def make_thumbnails(images: Sequence[Tensor]) -> list[str]:
    """Return raw images `(C, H, W)` as data URIs.

    Raises:
        DataError: they are not `(C, H, W)`.
    """
    return [_encode(picture) for picture in to_pictures(images)]


def draw_matrix(shares: Any) -> str:
    """Return an array `(C, C)` of 0 to 1 as a data URI: a pixel a cell, from white to blue."""
    from PIL import Image

    dark = numpy.array([0, 62, 116])
    pixels = 255 - numpy.asarray(shares)[:, :, None] * (255 - dark)
    return _write(Image.fromarray(pixels.round().astype("uint8")))


def _encode(picture: Any) -> str:
    from PIL import Image

    image = Image.fromarray((picture * 255).round().astype("uint8"))
    image.thumbnail((SIDE, SIDE))
    return _write(image if image.mode == "L" else image.quantize(COLOURS))


def _write(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
