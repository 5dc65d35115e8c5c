"""Thumbnails: raw images as small PNGs inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo.results.plots.colors import shade
from zoo.results.plots.images import normalize_images

if TYPE_CHECKING:
    from torch import Tensor

THUMBNAIL_SIDE = 64
"""Pixels of the longer side, at most. Smaller images keep their size."""
MAX_COLORS = 64
"""Colours of a thumbnail, so that even noise takes only a few kilobytes."""


def make_thumbnails(images: Sequence[Tensor]) -> list[str]:
    """Return raw images `(C, H, W)` as data URIs; raise DataError for other shapes."""
    from PIL import Image

    found = []
    for picture in normalize_images(images):
        image = Image.fromarray((picture * 255).round().astype("uint8"))
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        found.append(_encode_png(image if image.mode == "L" else image.quantize(MAX_COLORS)))
    return found


def draw_matrix(shares: Any) -> str:
    """Return an array `(C, C)` of 0 to 1 as a data URI. Each cell is one pixel, in the colours of `plot_confusion`."""
    from PIL import Image

    return _encode_png(Image.fromarray((shade(shares) * 255).round().astype("uint8")))


def _encode_png(image: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
