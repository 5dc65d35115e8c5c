"""JPEG: pictures decoded by torchvision, where it is installed, a third faster than by Pillow and to the same bits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from io import BytesIO

import numpy
import torch
from PIL import Image
from torch import Tensor

from zoo.errors import DataError
from zoo.limits import MAX_IMAGE_BYTES
from zoo.storage.reading import read_file

SAMPLINGS = ([(1, 1)], [(1, 1)] * 3, [(2, 1), (1, 1), (1, 1)], [(2, 2), (1, 1), (1, 1)])
"""How the colours of a JPEG may be sampled, beside its brightness: ways that no version of libjpeg reads otherwise."""

UNCHANGED = 0
"""torchvision's number for the channels that the file has."""

Decode = Callable[[str, BytesIO, list[str]], Tensor]

_log = logging.getLogger("zoo")
_faster: ContextVar[Callable[[Tensor], Tensor] | None] = ContextVar("_faster", default=None)


def decode(image: Image.Image, data: BytesIO) -> Tensor | None:
    """Return the pixels `(C, H, W)` of an opened JPEG, None where Pillow is to decode it: always but in `faster`.

    A file that torchvision cannot read is for Pillow to read, or to say what is wrong with it.
    """
    sampling = [(across, down) for _, across, down, _ in getattr(image, "layer", ())]
    decoder, plain = _faster.get(), image.format == "JPEG" and image.mode == ("L" if len(sampling) == 1 else "RGB")
    if decoder is None or not plain or sampling not in SAMPLINGS or image.info.keys() & {"exif", "xmp", "adobe"}:
        return None
    try:
        rows = decoder(torch.frombuffer(bytearray(data.getbuffer()), dtype=torch.uint8)).permute(1, 2, 0).numpy()
    except RuntimeError:
        return None
    pixels = numpy.empty((rows.shape[2], *rows.shape[:2]), dtype=numpy.uint8)
    for band, plane in enumerate(pixels):  # its colours lie pixel by pixel
        plane[...] = rows[..., band]
    return torch.from_numpy(pixels)


@contextmanager
def faster(files: Iterable[str], by_pillow: Decode) -> Iterator[None]:
    """Let torchvision decode while the body runs, if it gives the bits that Pillow gives of these files.

    Processes that are forked in the body do the same.
    """
    decoder = _find_decoder()
    if decoder is not None and not all(_agrees(decoder, file, by_pillow) for file in files):
        _log.debug("torchvision decodes JPEG to other bits than Pillow, which is used")
        decoder = None
    token = _faster.set(decoder)
    try:
        yield
    finally:
        _faster.reset(token)


def _find_decoder() -> Callable[[Tensor], Tensor] | None:
    """Return torchvision's operator, None where it has none: its Python function warns in each call that it will go."""
    try:
        import torchvision.io  # type: ignore[import-untyped, unused-ignore] # noqa: F401 registers the operator

        operator = torch.ops.image.decode_jpeg.default
    except (ImportError, OSError, RuntimeError, AttributeError):  # not for this torch, or removed
        return None
    return lambda data: operator(data, UNCHANGED, False)


def _agrees(decoder: Callable[[Tensor], Tensor], file: str, by_pillow: Decode) -> bool:
    """Tell whether both give the same of a file; nothing is said against a decoder by what is none for it."""
    try:
        data = read_file(file, MAX_IMAGE_BYTES)
        expected = by_pillow(file, BytesIO(data), [])
        token = _faster.set(decoder)
        try:
            with Image.open(BytesIO(data), formats=("JPEG",)) as image:
                got = decode(image, BytesIO(data))
        finally:
            _faster.reset(token)
    except (OSError, DataError):  # also a picture of another format
        return True
    return got is None or torch.equal(got, expected)
