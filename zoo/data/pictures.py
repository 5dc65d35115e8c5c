"""Pictures: raw images as small PNGs inside a page."""

from __future__ import annotations

import base64
import io

import torch
from PIL import Image
from torch import Tensor

SIDE = 84
"""Pixels of the longer side, at most. Smaller images keep their size."""


def make_address(image: Tensor) -> str | None:
    """Return a raw image `(C, H, W)` as a data URI, None for what is no picture.

    Black and white are the ends of the range of integers, of floats 0 and 1 or the extremes where values lie beyond.
    """
    if image.ndim != 3 or 0 in image.shape:
        return None
    values = image.detach().cpu().to(torch.float32).nan_to_num()
    if image.dtype == torch.bool or image.dtype.is_floating_point:
        low, high = min(0.0, float(values.min())), max(1.0, float(values.max()))
    else:
        low, high = 0.0, float(torch.iinfo(image.dtype).max)
    levels = ((values - low) / (high - low) * 255).clamp(0, 255).round().to(torch.uint8)
    pixels = levels.permute(1, 2, 0).numpy() if len(levels) == 3 else levels[0].numpy()
    picture = Image.fromarray(pixels)
    picture.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
