"""A picture of predictions: images in rows, label and probability under each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import ceil, sqrt
from typing import TYPE_CHECKING

from zoo.storage.files import write_file

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont
    from torch import Tensor

MAX_CELLS = 36
SIDE, GAP, LINE, FONT = 128, 12, 16, 13
"""Pixels: a cell's image, the space between cells, a line of text and its letters."""


def make_thumbnail(pixels: Tensor) -> Image:
    """Return a raw image `(C, H, W)` as a picture of at most SIDE pixels, its proportions kept."""
    from PIL import Image

    array = pixels.numpy()
    if array.dtype != "uint8":
        array = (array // 257).astype("uint8")
    picture = Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    # A small image is enlarged without smoothing, so that each of its pixels can be seen.
    return picture.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.LANCZOS)


def save_grid(path: str, cells: Sequence[tuple[Image, str, float]]) -> None:
    """Draw thumbnails with label and probability and write them as PNG; raise StorageError when that fails."""
    from PIL import Image, ImageDraw, ImageFont, features

    # A Pillow without FreeType has letters of one size only.
    font = ImageFont.load_default(FONT if features.check("freetype2") else None)
    columns = ceil(sqrt(len(cells)))
    rows = ceil(len(cells) / columns)
    size = (GAP + columns * (SIDE + GAP), GAP + rows * (SIDE + 2 * LINE + GAP))
    grid = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(grid)
    for number, (picture, label, probability) in enumerate(cells):
        left, top = GAP + number % columns * (SIDE + GAP), GAP + number // columns * (SIDE + 2 * LINE + GAP)
        grid.paste(picture, (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2))
        for line, text in enumerate((_shorten(label, font), f"{probability:.4f}")):
            draw.text((left + SIDE / 2, top + SIDE + line * LINE + 2), text, "black", font, anchor="ma")
    buffer = io.BytesIO()
    grid.save(buffer, "PNG")
    write_file(path, buffer.getvalue(), what="the picture", fix="Write elsewhere with --output.")


def _shorten(text: str, font: FreeTypeFont | ImageFont) -> str:
    short = text[:SIDE]
    while font.getlength(short) > SIDE:
        short = f"{short.removesuffix('...')[:-1]}..."
    return short
