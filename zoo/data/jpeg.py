"""JPEG: pictures decoded by torchvision, where it is installed, a third faster than by Pillow and to the same bits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, FileFinder
from importlib.util import find_spec
from io import BytesIO

import numpy
import torch
from PIL import Image
from torch import Tensor

from zoo.errors import DataError
from zoo.limits import MAX_IMAGE_BYTES, MAX_PIXELS
from zoo.storage.reading import read_file

SAMPLINGS = ([(1, 1)], [(1, 1)] * 3, [(2, 1), (1, 1), (1, 1)], [(2, 2), (1, 1), (1, 1)])
"""How the colours of a JPEG may be sampled, beside its brightness: ways that no version of libjpeg reads otherwise."""

LIBRARIES = ("image_stable", "image")
"""What the library with torchvision's operators for pictures is called, in newer and in older versions."""
UNCHANGED = 0
"""torchvision's number for the channels that the file has."""

PIXELS, PICTURES, JFIF, QUANTIZATION = 0xDA, (0xC0, 0xC2), 0xE0, 0xDB
OTHERS = (0xC4, 0xDD, 0xFE)
"""Kinds of segments in a header; the others are tables, restarts and comments."""

Decode = Callable[[str, BytesIO, list[str]], Tensor]

_log = logging.getLogger("zoo")
_faster: ContextVar[Callable[[Tensor], Tensor] | None] = ContextVar("_faster", default=None)


def decode(image: Image.Image, data: BytesIO) -> Tensor | None:
    """Return the pixels `(C, H, W)` of an opened JPEG, None where Pillow is to decode it: always but in `faster`.

    A file that torchvision cannot read is for Pillow to read, or to say what is wrong with it.
    """
    sampling = [(across, down) for _, across, down, _ in getattr(image, "layer", ())]
    plain = image.format == "JPEG" and image.mode == ("L" if len(sampling) == 1 else "RGB")
    if not plain or sampling not in SAMPLINGS or image.info.keys() & {"exif", "xmp", "adobe"}:
        return None
    return _decode(data.getbuffer())


def decode_plain(data: bytes) -> Tensor | None:
    """Return the pixels `(C, H, W)` of a JPEG whose header has nothing that only Pillow reads; Pillow never sees it.

    None for all else, for what is no JPEG and for what is damaged, and always but in `faster`.
    """
    return _decode(data) if _faster.get() is not None and _is_plain(data) else None


def _is_plain(data: bytes) -> bool:
    """Tell whether a file is a JPEG of one picture, grey or in colours, of which a header of the usual parts tells."""
    place, sampling = 2, None
    if data[:2] != b"\xff\xd8":
        return False
    while data[place : place + 1] == b"\xff":
        kind, content = data[place + 1], data[place + 4 : place + 2 + int.from_bytes(data[place + 2 : place + 4])]
        place += 4 + len(content)
        if kind == PIXELS:
            return sampling in SAMPLINGS
        if kind in PICTURES:
            if sampling is not None or len(content) < 6 or len(content) != 6 + 3 * content[5]:
                return False
            if content[0] != 8 or not 0 < int.from_bytes(content[1:3]) * int.from_bytes(content[3:5]) <= MAX_PIXELS:
                return False
            sampling = [divmod(byte, 16) for byte in content[7::3]]
        elif kind == JFIF:
            if content[:5] != b"JFIF\0" or len(content) < 14:
                return False
        elif kind == QUANTIZATION:
            if len(content) % 65 or max(content[::65], default=16) > 15:  # tables of 8 bits
                return False
        elif kind not in OTHERS or not content:
            return False
    return False


def _decode(data: bytes | memoryview) -> Tensor | None:
    """Return the pixels that torchvision reads, None where it is not to be used or cannot."""
    if (decoder := _faster.get()) is None:
        return None
    try:
        rows = decoder(torch.frombuffer(bytearray(data), dtype=torch.uint8)).permute(1, 2, 0).numpy()
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
    """Return torchvision's operator, None where it has none.

    Its library is loaded without importing torchvision, which takes as long as a thousand pictures. Its Python function
    warns in each call that it will go.
    """
    try:
        package = find_spec("torchvision")
        (folder,) = (package and package.submodule_search_locations) or [""]
        finder = FileFinder(folder, (ExtensionFileLoader, EXTENSION_SUFFIXES))
        library = next(filter(None, map(finder.find_spec, LIBRARIES)), None)
        torch.ops.load_library(str(library and library.origin))
        operator = torch.ops.image.decode_jpeg.default
    except (ImportError, OSError, RuntimeError, AttributeError, ValueError):  # not for this torch, or removed
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
            plain = decode_plain(data)
        finally:
            _faster.reset(token)
    except (OSError, DataError):  # also a picture of another format
        return True
    return all(pixels is None or torch.equal(pixels, expected) for pixels in (got, plain))
