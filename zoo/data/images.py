"""Images: files of strangers found, read as raw tensors and brought to the shape that a model takes."""

from __future__ import annotations

import logging
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, TILELENGTH, TILEWIDTH, TiffImageFile
from torch import Tensor

from zoo.data import jpeg
from zoo.errors import DataError, ErrorCollector, UsageError, describe, one_line, quote
from zoo.limits import MAX_IMAGE_BYTES, MAX_PIXELS, MAX_RESIZE_VALUES, MAX_SIDE
from zoo.registry.preprocess import Preprocess
from zoo.storage.reading import explain, open_regular

# Pillow knows more formats. EPS starts a program; others have no magic number or are decoded slowly, in Python.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")

_log = logging.getLogger("zoo")
_filters = threading.Lock()


def read_image(source: str | os.PathLike[str] | bytes | BinaryIO | Image.Image) -> Tensor:
    """Return an image as a tensor `(C, H, W)`: uint8, or uint16 for 16-bit grey; one channel for grey, three for RGB.

    The text "-" is stdin. Images are turned upright (EXIF) and laid over white; of several frames the first is read.

    Raises:
        DataError: names the file and what is wrong.
    """
    name, data = ("image", source) if isinstance(source, Image.Image) else _read_source(source)
    notes: list[str] = []
    pixels = decode_image(name, data, notes)
    for note in notes:
        _log.info("%s: %s", name, note)
    return pixels


def decode_image(name: str, data: BytesIO | Image.Image, notes: list[str]) -> Tensor:
    """Return the content of a file, or a PIL image, as `read_image` does; what is odd about it is put on a list."""
    # Pillow warns of files that are odd but readable. Warning filters belong to the whole process, so one thread at a
    # time may change them.
    with _filters, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            pixels = to_pixels(data) if isinstance(data, Image.Image) else _decode(data, notes)
        except DataError as error:
            raise DataError(name, error.what, error.fix) from error
        except UnidentifiedImageError as error:
            raise DataError(name, "not an image", f"Known formats: {', '.join(FORMATS)}.") from error
        except Image.DecompressionBombError as error:
            # The number of pixels is in the message of Pillow's error and nowhere else.
            count = next(iter(re.findall(r"\d+", str(error))), "too many")
            raise DataError(name, f"an image of {count} pixels, at most {MAX_PIXELS} are read") from error
        except Exception as error:
            raise DataError(name, f"a damaged image: {describe(error)}") from error
    notes += dict.fromkeys(one_line(str(each.message)) for each in warned[:10])
    return pixels


def to_pixels(image: Image.Image) -> Tensor:
    """Return a PIL image as `read_image` does; what Pillow raises and warns of goes through."""
    _check_size(*image.size)
    # In PNG and PPM the mode "I" means grey of 16 bits; in other formats it means any integer of 32 bits.
    wide = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    if image.mode in ("I", "F") and not wide:
        raise DataError(f"images of mode {image.mode!r} have no range", fix="Save it with 8 or 16 bits.")
    if image.format != "JPEG" or image.info.keys() & {"exif", "xmp"}:  # else there is no orientation to look for
        image = ImageOps.exif_transpose(image)
    if wide:
        grey = numpy.array(image).astype(numpy.uint16)
        if "transparency" in image.info:
            grey[grey == image.info["transparency"]] = 65535
        return torch.from_numpy(grey).unsqueeze(0)
    mode = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        layer = image.convert("LA" if mode == "L" else "RGBA")
        image = Image.new(mode, image.size, "white")
        image.paste(layer.convert(mode), mask=layer.getchannel("A"))
    image = image if image.mode == mode else image.convert(mode)
    pixels = numpy.empty((len(mode), image.height, image.width), dtype=numpy.uint8)
    for plane, band in zip(pixels, mode, strict=True):  # Pillow itself takes a band out faster than others turn axes
        plane[...] = numpy.frombuffer(image.tobytes("raw", band), dtype=numpy.uint8).reshape(plane.shape)
    return torch.from_numpy(pixels)


def fit_image(image: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return an image with the channels and size of `shape` `(C, H, W)`; its dtype is kept, integers are rounded."""
    if tuple(image.shape) == tuple(shape):
        return image.contiguous()
    channels, height, width = shape
    if channels not in (1, 3, len(image)):
        raise DataError(f"images with {len(image)} channels cannot become {channels}")
    fit = Preprocess(scale=1, channels=None if channels == len(image) else channels, resize=(height, width))
    check_resize(fit, image.shape)
    pixels = fit(image.unsqueeze(0)).squeeze(0)
    if not image.dtype.is_floating_point:
        pixels = pixels.round().clamp(torch.iinfo(image.dtype).min, torch.iinfo(image.dtype).max)
    return pixels.to(image.dtype)


def to_form(images: Tensor, channels: int, dtype: torch.dtype = torch.uint8) -> Tensor:
    """Return integer images `(N, C, H, W)` with these channels; from 16 bits to 8 the range stays, values are rounded.

    Raises:
        DataError: their channels cannot become these.
    """
    if images.dtype == torch.uint16 and dtype == torch.uint8:
        images = (images.to(torch.float32) / 257).round_().to(torch.uint8)  # 257 * 255 = 65535
    if images.shape[1] != channels:
        if channels not in (1, 3):
            raise DataError(f"images with {images.shape[1]} channels cannot become {channels}")
        images = Preprocess(scale=1, channels=channels)(images).round_().to(images.dtype)
    return images


def check_resize(preprocess: Preprocess, shape: Sequence[int]) -> None:
    """Raise DataError where images `(C, H, W)` of a shape would take too much on their way to their new size."""
    if preprocess.resize is None:
        return
    height, width = preprocess.resized(shape[1:])
    what = f"an image of {shape[2]} x {shape[1]} pixels cannot become {width} x {height}"
    if max(*shape, height, width) > MAX_SIDE:
        raise DataError(what, f"a side may have {MAX_SIDE} pixels at most")
    if (values := preprocess.count_values(shape)) > MAX_RESIZE_VALUES:
        raise DataError(what, f"it would have {values} values on the way, at most {MAX_RESIZE_VALUES} are made")


def find_images(paths: Iterable[str]) -> Iterator[Path | str]:
    """Return image files one by one: "-" and files as they are; of a folder, sorted, all files with an image's suffix.

    Its subfolders follow; names that begin with a dot and links to folders are left out. `paths` are checked at once; a
    folder without images or that cannot be listed is an error after the last image.

    Raises:
        UsageError, DataError: a path is a URL; does not exist.
    """
    errors, paths = ErrorCollector(), tuple(paths)
    for path in paths:
        with errors.catch():
            if not path:
                raise UsageError("a path is empty")
            if re.match("[a-z][a-z0-9+.-]+://", path, re.IGNORECASE):
                raise UsageError(f"{quote(path)} is a URL", fix="Download it first, then give the file.")
            try:
                Path("." if path == "-" else path).stat()
            except (OSError, ValueError) as error:
                raise DataError(quote(Path(path)), _reason(error)) from error
    errors.raise_any()
    return _walk(paths)


def list_pictures(folder: str | os.PathLike[str]) -> list[Path]:
    """Return the files with an image's suffix in a folder, as `find_images` does; raise OSError where one cannot."""
    unlisted = list[OSError]()
    found = list(_walk_folder(folder, unlisted))
    if unlisted:
        raise unlisted[0]
    return found


def _walk_folder(path: str | os.PathLike[str], unlisted: list[OSError]) -> Iterator[Path]:
    """Yield the images of a folder; what cannot be listed is put on a list."""
    for folder, folders, files in os.walk(path, onerror=unlisted.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and is_picture(name):
                yield Path(folder, name)


def is_picture(name: str) -> bool:
    """Tell whether a file is an image that is read, by the end of its name."""
    return Image.registered_extensions().get(Path(name).suffix.lower()) in (*FORMATS, "MPO")


def _walk(paths: Iterable[str]) -> Iterator[Path | str]:
    errors, unlisted = ErrorCollector(), list[OSError]()
    for path in paths:
        if path == "-" or not Path(path).is_dir():
            yield path if path == "-" else Path(path)
            continue
        known, found = len(unlisted), False
        for picture in _walk_folder(path, unlisted):
            found = True
            yield picture
        if not found and len(unlisted) == known:
            errors.errors.append(DataError(quote(Path(path)), "a folder without images"))
    errors.errors += [DataError(quote(Path(error.filename)), _reason(error)) for error in unlisted]
    errors.raise_any()


def _read_source(source: str | os.PathLike[str] | bytes | BinaryIO) -> tuple[str, BytesIO]:
    """Return the name of a source for messages, and all its bytes: a mapped file that is cut off ends the process."""
    name = "stdin" if source == "-" else "image"
    if isinstance(source, str | os.PathLike) and source != "-":
        name = quote(Path(source) if source else source)
    buffer = BytesIO()
    try:
        with _open_source(source) as file:
            if isinstance(file, BufferedReader) and os.fstat(file.fileno()).st_size > MAX_IMAGE_BYTES:
                raise DataError(name, f"has more than {MAX_IMAGE_BYTES} bytes")
            while chunk := file.read(1 << 20):
                buffer.write(chunk)
                if buffer.tell() > MAX_IMAGE_BYTES:
                    raise DataError(name, f"has more than {MAX_IMAGE_BYTES} bytes")
    except DataError:
        raise
    except Exception as error:
        raise DataError(name, _reason(error)) from error
    return name, buffer


def _open_source(source: str | os.PathLike[str] | bytes | BinaryIO) -> AbstractContextManager[BinaryIO]:
    if isinstance(source, bytes):
        return BytesIO(source)
    if source == "-":
        return nullcontext(sys.stdin.buffer if sys.stdin else BytesIO())
    if not isinstance(source, str | os.PathLike):
        return nullcontext(source)
    return open_regular(source)


def _reason(error: Exception) -> str:
    return f"cannot be read: {explain(error)}"


def _check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise DataError(f"an image of {width} x {height} pixels, at most {MAX_PIXELS} are read")


def _decode(data: BytesIO, notes: list[str]) -> Tensor:
    Image.init()
    with Image.open(data, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
        if isinstance(image, TiffImageFile):
            tags = image.tag_v2
            # The decoder allocates a whole tile, however small the image is.
            _check_size(tags.get(TILEWIDTH, 0), tags.get(TILELENGTH, 0))
            # Pillow reads these values as if they were of 16 bits with 0 as black, which gives a wrong image.
            if image.mode == "I;16" and (tags[BITSPERSAMPLE], tags[PHOTOMETRIC_INTERPRETATION]) != ((16,), 1):
                raise DataError("grey of 12 bits, or of 16 with 0 as white", fix="Save it with 16 bits and 0 as black.")
        if image.format == "PNG" and "transparency" in image.info:
            # Pillow converts pixels of 2, 4 and 16 bits to 8 bits, but leaves the transparent value unconverted.
            value, stored = image.info["transparency"], str(image.tile[0].args)
            narrow = tuple(band >> 8 for band in value) if stored == "RGB;16B" else value
            image.info["transparency"] = narrow * {"L;2": 85, "L;4": 17}.get(stored, 1)
        if getattr(image, "is_animated", False):
            notes.append("has several frames, the first is read")
        _check_size(*image.size)
        quick = jpeg.decode(image, data)
        return to_pixels(image) if quick is None else quick
