from __future__ import annotations

import io
import logging
import os
import socket
import struct
import sys
import threading
import warnings
import zlib
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, features

from zoo.data import images
from zoo.data.images import FORMATS, MAX_PIXELS, find_images, fit_image, read_image
from zoo.data.named import to_image
from zoo.errors import DataError, SeveralErrors, UsageError
from zoo.storage import reading

GREY = np.arange(6, dtype=np.uint8).reshape(2, 3) * 51
COLOR = np.stack([GREY, GREY[::-1], GREY[:, ::-1]], axis=2)
WIDE = np.array([[0, 255, 256], [257, 40000, 65535]], dtype=np.uint16)


def save(image, form, **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def make_png(width, height, depth, color, rows, *chunks):
    """Return a PNG by hand: `rows` are the bytes of each row."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + bytes(row) for row in rows)))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + body + chunk(b"IEND", b"")


def make_tiff(*tags, data=b"", order="<"):
    """Return a TIFF by hand: `tags` are (tag, type 3 or 4, value); its pixels begin at byte 400."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    for tag, kind, value in tags:
        field = struct.pack(order + ("H" if kind == 3 else "I"), value)
        head += struct.pack(order + "HHI", tag, kind, 1) + field.ljust(4, b"\0")
    return (head + b"\0\0\0\0").ljust(400, b"\0") + data


def grey_tiff(bits, photometric, data, width, order="<", height=1):
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 400, 277: 1, 278: 1, 279: len(data)}
    return make_tiff(
        *((tag, 4 if tag in (273, 279) else 3, value) for tag, value in tags.items()), data=data, order=order
    )


def make_gif(width, height, frame):
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    return head + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x44\x01\0;"


def read_plain(source):
    """Return the tensor as lists: rows of numbers for grey, of `(r, g, b)` for RGB."""
    pixels = read_image(source)
    assert pixels.dtype in (torch.uint8, torch.uint16)
    assert pixels.is_contiguous()
    assert pixels.shape[0] in (1, 3)
    rows = pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
    return rows.tolist()


def palette(*colors, pixels=(0, 1, 2)):
    image = Image.new("P", (len(pixels), 1))
    image.putpalette([value for color in colors for value in color])
    image.putdata(pixels)
    return image


def row(mode, *pixels):
    image = Image.new(mode, (len(pixels), 1))
    for x, pixel in enumerate(pixels):
        image.putpixel((x, 0), pixel)
    return image


RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
TRNS = chunk(b"tRNS", b"\0\1")

# Alpha 51 is a fifth: 100 becomes 100 / 5 + 255 * 4 / 5 = 224.
FILES = {
    "1": (save(row("1", 0, 1), "PNG"), [[0, 255]]),
    "1 as PBM": (b"P1 2 1 1 0", [[0, 255]]),
    "1 as TIFF": (save(row("1", 0, 1), "TIFF"), [[0, 255]]),
    "L": (save(Image.fromarray(GREY), "PNG"), GREY.tolist()),
    "L as BMP": (save(Image.fromarray(GREY), "BMP"), GREY.tolist()),
    "L as TIFF": (save(Image.fromarray(GREY), "TIFF"), GREY.tolist()),
    "L as packed TIFF": (save(Image.fromarray(GREY), "TIFF", compression="tiff_lzw"), GREY.tolist()),
    "L as PGM": (save(Image.fromarray(GREY), "PPM"), GREY.tolist()),
    "L as JPEG 2000": (save(Image.fromarray(GREY), "JPEG2000", irreversible=False), GREY.tolist()),
    "L of 2 bits": (make_png(4, 1, 2, 0, [[0b00011011]]), [[0, 85, 170, 255]]),
    "L of 4 bits": (make_png(2, 1, 4, 0, [[0x1E]]), [[17, 238]]),
    "L, 0 is white": (grey_tiff(8, 0, bytes([0, 55, 255]), 3), [[255, 200, 0]]),
    "LA": (save(row("LA", (100, 0), (100, 51), (100, 255)), "PNG"), [[255, 224, 100]]),
    "LA as TIFF": (save(row("LA", (100, 0), (100, 51), (100, 255)), "TIFF"), [[255, 224, 100]]),
    "LA of 16 bits": (make_png(2, 1, 16, 4, [[9, 9, 0, 0, 100, 9, 51, 0]]), [[[255] * 3, [224] * 3]]),  # RGBA to Pillow
    "RGB": (save(Image.fromarray(COLOR), "PNG"), COLOR.tolist()),
    "RGB as BMP": (save(Image.fromarray(COLOR), "BMP"), COLOR.tolist()),
    "RGB as TIFF": (save(Image.fromarray(COLOR), "TIFF"), COLOR.tolist()),
    "RGB as PPM": (save(Image.fromarray(COLOR), "PPM"), COLOR.tolist()),
    "RGB as WebP": (save(Image.fromarray(COLOR), "WEBP", lossless=True), COLOR.tolist()),
    "RGB as JPEG 2000": (save(Image.fromarray(COLOR), "JPEG2000", irreversible=False), COLOR.tolist()),
    "RGB of 16 bits": (make_png(1, 1, 16, 2, [[1, 255, 2, 0, 3, 128]]), [[[1, 2, 3]]]),
    "RGBA": (save(row("RGBA", (*RED, 255), (1, 2, 3, 0), (100, 0, 255, 51)), "PNG"), [[RED, WHITE, (224, 204, 255)]]),
    "RGBA as WebP": (
        save(row("RGBA", (*RED, 255), (1, 2, 3, 0), (100, 0, 255, 51)), "WEBP", lossless=True, exact=True),
        [[RED, WHITE, (224, 204, 255)]],
    ),
    "RGBA as TIFF": (save(row("RGBA", (*RED, 255), (100, 0, 255, 51)), "TIFF"), [[RED, (224, 204, 255)]]),
    "P": (save(palette(RED, GREEN, (1, 2, 3)), "PNG"), [[RED, GREEN, (1, 2, 3)]]),
    "P of grey": (save(palette((9, 9, 9), (8, 8, 8), (7, 7, 7)), "PNG"), [[(9,) * 3, (8,) * 3, (7,) * 3]]),
    "P, one color transparent": (save(palette(RED, GREEN, BLUE), "PNG", transparency=1), [[RED, WHITE, BLUE]]),
    "P, alpha": (save(palette(RED, GREEN, BLUE), "PNG", transparency=b"\0\x33\xff"), [[WHITE, (204, 255, 204), BLUE]]),
    "P as GIF": (save(palette(RED, GREEN, BLUE), "GIF"), [[RED, GREEN, BLUE]]),
    "P as GIF, transparent": (save(palette(RED, GREEN, BLUE), "GIF", transparency=2), [[RED, GREEN, WHITE]]),
    "P as BMP": (save(palette(RED, GREEN, BLUE), "BMP"), [[RED, GREEN, BLUE]]),
    "P as TIFF": (save(palette(RED, GREEN, BLUE), "TIFF"), [[RED, GREEN, BLUE]]),
    "PA as TIFF": (save(palette(RED, GREEN, BLUE).convert("PA"), "TIFF"), [[RED, GREEN, BLUE]]),
    "1, black transparent": (make_png(2, 1, 1, 0, [[0b10000000]], chunk(b"tRNS", b"\0\0")), [[255, 255]]),
    "1, white transparent": (make_png(2, 1, 1, 0, [[0b10000000]], TRNS), [[255, 0]]),
    "2 bits, transparent": (make_png(4, 1, 2, 0, [[0b00011011]], TRNS), [[0, 255, 170, 255]]),
    "4 bits, transparent": (make_png(2, 1, 4, 0, [[0x12]], TRNS), [[255, 34]]),
    "8 bits, transparent": (make_png(3, 1, 8, 0, [[0, 1, 2]], TRNS), [[0, 255, 2]]),
    "16 bits, transparent": (make_png(3, 1, 16, 0, [[0, 1, 1, 1, 1, 0]], TRNS), [[65535, 257, 256]]),
    "RGB, transparent": (
        make_png(2, 1, 8, 2, [[1, 2, 3, 1, 2, 4]], chunk(b"tRNS", b"\0\1\0\2\0\3")),
        [[WHITE, (1, 2, 4)]],
    ),
    "RGB of 16 bits, transparent": (
        make_png(2, 1, 16, 2, [[1, 9, 2, 9, 3, 9, 9, 1, 9, 2, 9, 3]], chunk(b"tRNS", b"\1\x09\2\x09\3\x09")),
        [[WHITE, (9, 9, 9)]],
    ),
    "16 bits": (save(Image.fromarray(WIDE), "PNG"), WIDE.tolist()),
    "16 bits as TIFF": (save(Image.fromarray(WIDE), "TIFF"), WIDE.tolist()),
    "16 bits as packed TIFF": (save(Image.fromarray(WIDE), "TIFF", compression="tiff_deflate"), WIDE.tolist()),
    "16 bits as TIFF of a Mac": (grey_tiff(16, 1, b"\0\1\1\0\xff\xff", 3, ">"), [[1, 256, 65535]]),
    "16 bits as JPEG 2000": (save(Image.fromarray(WIDE), "JPEG2000", irreversible=False), WIDE.tolist()),
    "16 bits as PGM": (b"P5 3 1 65535\n\0\1\1\0\xff\xff", [[1, 256, 65535]]),
    "10 bits as PGM": (b"P2 3 1 1023\n0 1 1023", [[0, 64, 65535]]),
    "CMYK": (
        save(row("CMYK", (0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255), (51, 102, 0, 128)), "TIFF"),
        [[WHITE, (0, 255, 255), (0, 0, 0), (102, 76, 127)]],
    ),
}


def test_lab_becomes_rgb():
    # Converted by the colour management that Pillow is built with: the last bit is its own.
    pixels = read_plain(save(row("LAB", (255, 128, 128), (0, 128, 128)), "TIFF"))
    assert np.abs(np.array(pixels) - [[WHITE, (0, 0, 0)]]).max() <= 1


@pytest.mark.parametrize(("data", "expected"), FILES.values(), ids=FILES)
def test_every_mode_has_its_pixels(data, expected, tmp_path):
    expected = np.array(expected).tolist()
    assert read_plain(data) == expected
    assert read_plain(io.BytesIO(data)) == expected
    # What a file is called does not matter.
    (tmp_path / "image.txt").write_bytes(data)
    assert read_plain(tmp_path / "image.txt") == expected
    assert read_plain(str(tmp_path / "image.txt")) == expected
    wide = any(isinstance(value, int) and value > 255 for line in expected for value in line)
    assert read_image(data).dtype == (torch.uint16 if wide else torch.uint8)


def refuse(source, *parts):
    """Return the message of the DataError that `source` gives: one printable line with all of `parts`."""
    with pytest.raises(DataError) as caught:
        read_image(source)
    message = str(caught.value)
    assert message.isprintable()
    for part in parts:
        assert part in message
    return message


SMALL = save(Image.fromarray(COLOR), "PNG")

# As the standard has it: on which sides of the upright image the first row and the first column of the file lie.
TURNS = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.swapaxes(0, 1),
    6: lambda upright: upright.swapaxes(0, 1)[::-1],
    7: lambda upright: upright.swapaxes(0, 1)[::-1, ::-1],
    8: lambda upright: upright.swapaxes(0, 1)[:, ::-1],
}


def save_turned(upright, orientation, form, **options):
    stored = np.ascontiguousarray(TURNS.get(orientation, TURNS[1])(upright))
    exif = Image.Exif()
    exif[274] = orientation
    return save(Image.fromarray(stored), form, exif=exif, **options)


@pytest.mark.parametrize("orientation", [*TURNS, 0, 9])
def test_images_are_turned_upright(orientation):
    for upright, form, options in [
        (COLOR, "PNG", {}),
        (GREY, "PNG", {}),
        (WIDE, "PNG", {}),
        (COLOR, "TIFF", {}),
        (WIDE, "TIFF", {}),
        (COLOR, "WEBP", {"lossless": True}),
        # No orientation but the eight can be written there.
        *([(COLOR, "TIFF", {"compression": "tiff_lzw"})] if orientation in TURNS else []),
    ]:
        assert read_plain(save_turned(upright, orientation, form, **options)) == upright.tolist(), (form, upright.dtype)
    blocks = GREY.repeat(8, axis=0).repeat(8, axis=1)
    assert np.abs(np.array(read_plain(save_turned(blocks, orientation, "JPEG", quality=95))) - blocks).max() <= 3


def test_transparent_images_are_turned_too():
    exif = Image.Exif()
    exif[274] = 2
    data = save(row("RGBA", (*RED, 255), (1, 2, 3, 0)), "PNG", exif=exif)
    assert read_plain(data) == [[list(WHITE), list(RED)]]


FRAMES = {"save_all": True, "append_images": [palette(BLUE, GREEN, RED)]}


@pytest.mark.parametrize(
    "data",
    [
        save(palette(RED, GREEN, BLUE), "GIF", **FRAMES),
        save(palette(RED, GREEN, BLUE), "TIFF", **FRAMES),
        save(palette(RED, GREEN, BLUE).convert("RGB"), "PNG", **FRAMES),
        save(palette(RED, GREEN, BLUE).convert("RGB"), "WEBP", lossless=True, **FRAMES),
    ],
    ids=["GIF", "TIFF", "PNG", "WebP"],
)
def test_of_several_frames_the_first_is_read_and_said(data, tmp_path, caplog):
    caplog.set_level(logging.INFO, "zoo")
    path = tmp_path / "frames"
    path.write_bytes(data)
    assert read_plain(path) == [[list(RED), list(GREEN), list(BLUE)]]
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("zoo", logging.INFO)
    assert record.getMessage() == f"{str(path)!r}: has several frames, the first is read"


def test_one_frame_says_nothing(caplog):
    caplog.set_level(logging.INFO, "zoo")
    for form in ("GIF", "TIFF", "PNG", "WEBP"):
        read_image(save(palette(RED, GREEN, BLUE), form))
    assert not caplog.records


def test_what_pillow_warns_of_is_logged(caplog):
    caplog.set_level(logging.INFO, "zoo")
    data = make_png(1, 1, 8, 0, [[7]], chunk(b"acTL", bytes(8)))
    assert read_plain(data) == [[7]]
    assert [record.getMessage() for record in caplog.records] == [
        "image: Invalid APNG, will use default PNG image if possible"
    ]


def resized(data, marker, offset, form, *sizes):
    """Return `data` with the sizes that lie `offset` bytes after the beginning of `marker` replaced."""
    place = data.index(marker) + offset
    new = struct.pack(form, *sizes)
    return data[:place] + new + data[place + len(new) :]


def tile_tiff(width, height):
    tags = {256: 1, 257: 1, 258: 8, 259: 5, 262: 1, 277: 1, 322: width, 323: height, 324: 400, 325: 4}
    return make_tiff(*((tag, 4, value) for tag, value in tags.items()), data=b"\x80\0\0\0")


BOMBS = {
    "PNG 20k": (make_png(20000, 20000, 8, 2, [bytes(9)]), "400000000 pixels"),
    "PNG 10k": (make_png(10000, 10000, 8, 2, [bytes(9)]), "10000 x 10000 pixels"),
    "PNG, just too large": (make_png(MAX_PIXELS + 1, 1, 1, 0, [bytes(9)]), "50000001 x 1 pixels"),
    "PNG, one long row": (make_png(2**31 - 1, 1, 1, 0, [bytes(9)]), "2147483647 pixels"),
    "PPM": (b"P6 10000 10000 255\n", "10000 x 10000 pixels"),
    "GIF": (make_gif(10000, 10000, (1, 1)), "10000 x 10000 pixels"),
    "GIF, its frame": (make_gif(1, 1, (10000, 10000)), "10000 x 10000 pixels"),
    "GIF, both": (make_gif(65535, 65535, (65535, 65535)), "4294836225 pixels"),
    "TIFF": (grey_tiff(8, 1, b"\0", 60000, height=1000), "60000 x 1000 pixels"),
    "TIFF, its tile": (tile_tiff(10000, 10000), "10000 x 10000 pixels"),
    "BMP": (resized(save(Image.fromarray(GREY), "BMP"), b"BM", 18, "<ii", 10000, 10000), "10000 x 10000 pixels"),
    "JPEG": (
        resized(save(Image.fromarray(GREY), "JPEG"), b"\xff\xc0", 5, ">HH", 10000, 12000),
        "12000 x 10000 pixels",
    ),
}


@pytest.mark.parametrize(("data", "size"), BOMBS.values(), ids=BOMBS)
def test_bombs_are_refused_undecoded(data, size, tmp_path, monkeypatch):
    def load(image):
        raise AssertionError("decoded")

    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)
    (tmp_path / "bomb.png").write_bytes(data)
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        refuse(tmp_path / "bomb.png", "bomb.png", f"an image of {size}, at most {MAX_PIXELS} are read")
    assert not leaked
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters)) == before


def test_threads_leave_the_filters_of_warnings_alone():
    before, messages = list(warnings.filters), []

    def read():
        for _ in range(20):
            messages.append(refuse(BOMBS["PNG 10k"][0], "10000 x 10000"))

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(messages) == 160
    assert list(warnings.filters) == before


def test_the_limits_are_inclusive(monkeypatch):
    monkeypatch.setattr(images, "MAX_PIXELS", 6)
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", len(SMALL))
    assert read_plain(SMALL) == COLOR.tolist()
    monkeypatch.setattr(images, "MAX_PIXELS", 5)
    refuse(SMALL, "3 x 2 pixels, at most 5")
    refuse(Image.fromarray(COLOR), "3 x 2 pixels, at most 5")
    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", len(SMALL) - 1)
    refuse(SMALL, f"has more than {len(SMALL) - 1} bytes")


def test_endless_streams_are_refused(monkeypatch):
    class Endless:
        def read(self, size):
            return b"\0" * size

    monkeypatch.setattr(images, "MAX_IMAGE_BYTES", 1 << 22)
    refuse(Endless(), "image: has more than 4194304 bytes")


JPEG = save(Image.fromarray(COLOR.repeat(8, axis=0).repeat(8, axis=1)), "JPEG")


ANIMATION = save(palette(RED, GREEN, BLUE), "GIF", **FRAMES)


# Only what follows the pixels may be missing, in an animation most of the second frame.
@pytest.mark.parametrize(("data", "rest"), [(SMALL, 30), (JPEG, 30), (ANIMATION, 45)], ids=["PNG", "JPEG", "GIF"])
def test_truncated_at_any_length(data, rest):
    whole, refused = read_plain(data), 0
    for length in range(len(data)):
        try:
            pixels = read_plain(data[:length])
        except DataError as error:
            assert str(error).isprintable()
            refused += 1
        else:
            assert pixels == whole, length
    assert refused > len(data) - rest


def attack(data):
    try:
        with pytest.MonkeyPatch.context() as patch:
            # Edited sizes are often large, and large images are slow.
            patch.setattr(images, "MAX_PIXELS", 1 << 20)
            pixels = read_image(data)
    except DataError as error:
        assert str(error).isprintable()
    else:
        assert pixels.dtype in (torch.uint8, torch.uint16)
        assert pixels.shape[0] in (1, 3)


@settings(max_examples=200)
@given(
    start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM", b"P5 ", b"\xff\xd8"]),
    rest=st.binary(),
)
def test_random_bytes(start, rest):
    attack(start + rest)


EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), min_size=1, max_size=4)


def edited(data, edits):
    changed = bytearray(data)
    for place, value in edits:
        changed[place % len(changed)] = value
    return bytes(changed)


@settings(max_examples=200)
@given(edits=EDITS)
def test_random_edits_of_a_png(edits):
    attack(edited(SMALL, edits))


@settings(max_examples=300)
@given(name=st.sampled_from(sorted(FILES)), edits=EDITS)
def test_random_edits_of_any_file(name, edits):
    attack(edited(FILES[name][0], edits))


@settings(max_examples=200)
@given(
    size=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    depth=st.sampled_from([1, 2, 4, 8, 16, 3]),
    color=st.sampled_from([0, 2, 3, 4, 6, 5]),
    rows=st.lists(st.binary(max_size=40), max_size=9),
    chunks=st.lists(
        st.tuples(
            st.sampled_from([b"PLTE", b"tRNS", b"eXIf", b"iCCP", b"zTXt", b"gAMA", b"acTL", b"pHYs"]), st.binary()
        ),
        max_size=3,
    ),
)
def test_random_chunks_of_a_png_with_right_checksums(size, depth, color, rows, chunks):
    attack(make_png(*size, depth, color, rows, *(chunk(*each) for each in chunks)))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_modes_without_a_range_are_refused_by_name(mode):
    image = Image.new(mode, (2, 1))
    refuse(save(image, "TIFF"), f"images of mode {mode!r} have no range", "Save it with 8 or 16 bits.")
    refuse(image, f"images of mode {mode!r} have no range")


def test_grey_that_would_come_out_wrong_is_refused():
    refuse(grey_tiff(16, 0, b"\0\1\2\3", 2), "16 with 0 as white")
    refuse(grey_tiff(12, 1, b"\0\1\2", 2), "grey of 12 bits")


@pytest.mark.parametrize("form", ["PCX", "TGA", "ICO", "EPS", "PDF"])
def test_other_formats_are_refused(form):
    refuse(save(Image.fromarray(COLOR), form), "image: not an image", ", ".join(FORMATS))


def test_every_known_format_is_read():
    for form in FORMATS:
        if form == "AVIF" and not features.check("avif"):
            continue
        assert read_image(save(Image.fromarray(COLOR.repeat(8, axis=0)), form)).shape == (3, 16, 3), form


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "not an image"), (b"hello\n", "not an image"), (SMALL[: len(SMALL) * 6 // 10], "damaged")],
)
@pytest.mark.parametrize("name", ["a.png", "a\x1b[31m\n\t\x7fb.png", "\u202eb.png", "\udcff.png"])
def test_bad_files_are_named_on_one_printable_line(name, data, reason, tmp_path):
    path = tmp_path / name
    path.write_bytes(data)
    refuse(path, repr(str(path)), reason)
    refuse(str(path), repr(str(path)), reason)


def test_what_is_no_file_is_refused(tmp_path, monkeypatch):
    refuse(tmp_path, repr(str(tmp_path)), "it is a folder, not a regular file")
    refuse(tmp_path / "none\n.png", "none\\n.png", "cannot be read: No such file or directory")
    refuse(str(tmp_path / "nul\0.png"), "nul\\x00.png", "cannot be read")
    refuse("", "'': cannot be read: No such file or directory")
    refuse(io.StringIO("text"), "image: cannot be read: TypeError")
    refuse("/dev/zero", "'/dev/zero': cannot be read: it is a device, not a regular file")
    with monkeypatch.context() as patch, socket.socket(socket.AF_UNIX) as server:
        patch.chdir(tmp_path)
        server.bind("socket.png")
        refuse("socket.png", "'socket.png': cannot be read: it is a socket, not a regular file")


def test_pipes_without_a_writer_do_not_hang(tmp_path, monkeypatch):
    path = tmp_path / "pipe.png"
    os.mkfifo(path)
    messages = []

    def read():
        messages.append(refuse(path, repr(str(path)), "it is a pipe, not a regular file"))
        # It became a pipe after the check.
        monkeypatch.setattr(reading.os, "stat", lambda path: os.lstat(__file__))
        messages.append(refuse(path, repr(str(path)), "it is a pipe, not a regular file"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert len(messages) == 2


def test_a_stream_that_fails_is_named():
    class Broken:
        def read(self, size):
            raise OSError(5, "Input/output error")

    refuse(Broken(), "image: cannot be read: Input/output error")


class Stdin:
    def __init__(self, data):
        self.buffer = io.BytesIO(data)


def test_stdin(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "stdin", Stdin(SMALL))
    assert read_plain("-") == COLOR.tolist()
    assert not sys.stdin.buffer.closed
    refuse("-", "stdin: not an image")
    monkeypatch.setattr(sys, "stdin", None)
    refuse("-", "stdin: not an image")
    # A path, not the text: the file of this name.
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        refuse(Path("-"), "'-': cannot be read: No such file or directory")
        Path("-").write_bytes(SMALL)
        assert read_plain(Path("-")) == COLOR.tolist()


@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "I;16"])
def test_agrees_with_the_images_of_datasets(mode):
    image = Image.fromarray(WIDE if mode == "I;16" else COLOR)
    if mode != "I;16":
        image = image.convert(mode)
    assert image.mode == mode
    assert torch.equal(read_image(image), to_image(image))
    data = save(image, "PNG")
    with Image.open(io.BytesIO(data)) as opened:
        expected = to_image(opened)
    pixels = read_image(data)
    assert pixels.dtype == expected.dtype
    assert torch.equal(pixels, expected)


def tree(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(SMALL)


def test_folders_are_sorted_and_their_subfolders_follow(tmp_path):
    tree(tmp_path, "b.png", "a.JPG", "c.txt", "d", ".e.png", "z/1.webp", "f.eps", "y/x/2.tif", "y/3.pgm", ".g/4.png")
    tree(tmp_path, "y.png/5.gif", "i.jpeg", "j.bmp", "k.jp2", "l.mpo", "empty/m.txt")
    (tmp_path / "linked").symlink_to(tmp_path / "z")
    (tmp_path / "n.png").symlink_to(tmp_path / "b.png")
    found = [path.relative_to(tmp_path).as_posix() for path in find_images([str(tmp_path)])]
    top = ["a.JPG", "b.png", "i.jpeg", "j.bmp", "k.jp2", "l.mpo", "n.png"]
    assert found == [*top, "y/3.pgm", "y/x/2.tif", "y.png/5.gif", "z/1.webp"]


def test_files_come_as_they_are_given(tmp_path):
    tree(tmp_path, "b.txt", ".a", "folder/c.png")
    paths = [tmp_path / "b.txt", "-", tmp_path / "folder", tmp_path / ".a", tmp_path / "b.txt"]
    expected = [tmp_path / "b.txt", "-", tmp_path / "folder/c.png", tmp_path / ".a", tmp_path / "b.txt"]
    assert list(find_images(str(path) for path in paths)) == expected
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    assert list(find_images([str(tmp_path / "link")])) == [tmp_path / "link/c.png"]
    assert list(find_images([])) == []


def test_the_first_image_does_not_wait_for_the_last(tmp_path, monkeypatch):
    tree(tmp_path, "image.png")
    for folder in range(10):
        (tmp_path / f"all/{folder}").mkdir(parents=True)
        for number in range(100):
            os.link(tmp_path / "image.png", tmp_path / f"all/{folder}/{number:03}.png")
    listed, scandir = [], os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
    stream = find_images([str(tmp_path / "all")])
    assert not listed
    assert list(islice(stream, 2)) == [tmp_path / "all/0/000.png", tmp_path / "all/0/001.png"]
    assert listed == [str(tmp_path / "all"), str(tmp_path / "all/0")]
    assert sum(1 for _ in stream) == 998


def test_an_image_that_vanishes_is_named(tmp_path):
    tree(tmp_path, "a.png", "b.png", "c.png")
    messages, shapes = [], []
    for path in find_images([str(tmp_path)]):
        (tmp_path / "b.png").unlink(missing_ok=True)
        try:
            shapes.append(tuple(read_image(path).shape))
        except DataError as error:
            messages.append(str(error))
    assert shapes == [(3, 2, 3)] * 2
    assert messages == [f"{str(tmp_path / 'b.png')!r}: cannot be read: No such file or directory"]


@pytest.mark.parametrize("url", ["https://example.org/a.png", "s3://bucket/a\n.png", "FILE:///a.png"])
def test_urls_are_refused(url):
    with pytest.raises(UsageError, match="is a URL") as caught:
        find_images([url])
    assert str(caught.value) == f"{url!r} is a URL. Download it first, then give the file."


def test_all_paths_are_checked_before_the_first_image(tmp_path):
    tree(tmp_path, "a.png")
    missing = str(tmp_path / "none\x1b.png")
    with pytest.raises(DataError) as caught:
        find_images([str(tmp_path / "a.png"), missing])
    assert str(caught.value) == f"{missing!r}: cannot be read: No such file or directory"
    with pytest.raises(SeveralErrors) as several:
        find_images(["", str(tmp_path), "http://a", missing, "nul\0"])
    assert [type(problem) for problem in several.value.problems] == [UsageError, UsageError, DataError, DataError]
    assert all(str(problem).isprintable() for problem in several.value.problems)


def drain(stream):
    """Return the images found, and the problems raised after the last."""
    found = []
    with pytest.raises((DataError, SeveralErrors)) as caught:
        for path in stream:
            found.append(path)
    return found, [str(problem) for problem in caught.value.problems]


def test_folders_without_images_are_errors_after_the_last_image(tmp_path):
    tree(tmp_path, "full/a.png", "text\n/b.txt")
    (tmp_path / "empty").mkdir()
    folders = [str(tmp_path / name) for name in ("empty", "text\n", "full")]
    found, problems = drain(find_images(folders))
    assert found == [tmp_path / "full/a.png"]
    assert problems == [f"{folder!r}: a folder without images" for folder in folders[:2]]


def test_folders_that_cannot_be_listed_are_errors_after_the_last_image(tmp_path, monkeypatch):
    tree(tmp_path, "a.png", "closed/b.png", "open/c.png")
    scandir = os.scandir

    def refuse_closed(path):
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse_closed)
    found, problems = drain(find_images([str(tmp_path), str(tmp_path / "closed"), str(tmp_path / "a.png")]))
    assert found == [tmp_path / "a.png", tmp_path / "open/c.png", tmp_path / "a.png"]
    assert problems == [f"{str(tmp_path / 'closed')!r}: cannot be read: Permission denied"] * 2


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.uint16, torch.float32, torch.float64])
def test_fit_image_of_the_same_shape_returns_the_same_pixels(dtype):
    generator = torch.Generator().manual_seed(0)
    for shape in [(1, 5, 7), (3, 5, 7), (4, 2, 3)]:
        values = torch.rand(shape, generator=generator, dtype=torch.float64)
        image = (values if dtype.is_floating_point else values * torch.iinfo(dtype).max).to(dtype)
        fitted = fit_image(image, shape)
        assert fitted.dtype == dtype
        assert torch.equal(fitted, image)


def test_fit_image_repeats_grey():
    image = torch.tensor([[[0, 255], [256, 65535]]], dtype=torch.uint16)
    fitted = fit_image(image, (3, 2, 2))
    assert fitted.dtype == torch.uint16
    assert fitted.tolist() == image.tolist() * 3


def test_fit_image_turns_color_to_luma():
    colors = torch.tensor([RED, GREEN, BLUE, WHITE, (10, 20, 30)], dtype=torch.uint8).T.reshape(3, 1, 5)
    # 76.245, 149.685, 29.07, 255, 2.99 + 11.74 + 3.42
    assert fit_image(colors, (1, 1, 5)).tolist() == [[[76, 150, 29, 255, 18]]]
    wide = torch.tensor([[[65535, 65535]], [[0, 65535]], [[0, 65535]]], dtype=torch.uint16)
    assert fit_image(wide, (1, 1, 2)).tolist() == [[[19595, 65535]]]
    floats = fit_image(torch.eye(3).reshape(3, 1, 3), (1, 1, 3))
    assert floats.dtype == torch.float32
    torch.testing.assert_close(floats, torch.tensor([[[0.299, 0.587, 0.114]]]))


def test_fit_image_resizes_with_antialiasing():
    # Half the size: a triangle of twice the width, (3, 3, 1) / 7 at the border.
    line = torch.tensor([[[70, 0, 7, 210]]], dtype=torch.uint8)
    assert fit_image(line, (1, 1, 2)).tolist() == [[[31, 93]]]
    column = line.transpose(1, 2).expand(1, 4, 2)
    assert fit_image(column, (1, 2, 2)).tolist() == [[[31, 31], [93, 93]]]
    assert fit_image(line, (3, 1, 2)).tolist() == [[[31, 93]]] * 3
    # Rounded, not cut off: (3 * 1 + 3 * 1) / 7 is 0.86.
    assert fit_image(torch.tensor([[[1, 1, 0, 0]]], dtype=torch.uint8), (1, 1, 2)).tolist() == [[[1, 0]]]
    # Twice the size: a quarter of the neighbour.
    assert fit_image(torch.tensor([[[0, 100]]], dtype=torch.uint8), (1, 1, 4)).tolist() == [[[0, 25, 75, 100]]]
    full = torch.full((1, 5, 7), 65535, dtype=torch.uint16)
    assert fit_image(full, (1, 3, 11)).unique().tolist() == [65535]


def test_fit_image_refuses_other_channels():
    for have, want in [(2, 3), (2, 1), (4, 3), (3, 2), (1, 4)]:
        with pytest.raises(DataError, match=f"images with {have} channels cannot become {want}"):
            fit_image(torch.zeros(have, 2, 2), (want, 2, 2))
