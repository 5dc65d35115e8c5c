"""Files: pictures on a disk as a data set, decoded when they are read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Self

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from zoo.data.images import decode_image, is_picture, list_pictures, to_form
from zoo.data.jpeg import decode_plain
from zoo.data.mapped import gather_rows
from zoo.data.splits import FilesDataset
from zoo.display import say
from zoo.errors import DataError, quote
from zoo.limits import MAX_IMAGE_BYTES
from zoo.registry.preprocess import Preprocess
from zoo.storage.reading import explain, read_file

BUDGET = 20.0
"""Gigabytes that decoded pictures may take on the disk, those of all data sets together, unless told otherwise."""


class ImageFiles(FilesDataset):
    """Picture files and their classes: a map-style Dataset of `(image, target)`, uint8 images `(C, H, W)`.

    A picture is read as `zoo predict` reads it: any format that zoo knows, turned upright (EXIF), laid over white, of
    several frames the first. Grey is repeated for three channels, colour becomes its luma (ITU-R BT.601) for one, and
    grey of 16 bits is divided by 257 and rounded. Sizes may differ; then the data set declares a
    `Preprocess(resize=..., rounded=True)`. What is trained on such pictures decodes them once, by all cores, and keeps
    them on the disk.

    Files that cannot be read are left out where zoo uses the data set, and named in a warning. More than one in twenty
    are an error.

    Args:
        files: Paths of the pictures; relative ones are below the folder that is the current one now.
        targets: The class of each, from 0.
        channels: Of every image: 3 for RGB, 1 for grey.
        strict: Whether one file that cannot be read is an error.
        cache: Whether decoded pictures are kept on the disk; else they are decoded in each epoch.
        budget: Gigabytes that kept pictures may take, those of all data sets together. What needs more is decoded in
            each epoch.
    """

    def __init__(
        self,
        files: Sequence[str | os.PathLike[str]],
        targets: Sequence[int],
        *,
        channels: int = 3,
        strict: bool = False,
        cache: bool = True,
        budget: float = BUDGET,
    ) -> None:
        if len(files) != len(targets):
            raise ValueError(f"targets: expected one for each of {len(files)} files, got {len(targets)}")
        if channels not in (1, 3):
            raise ValueError(f"channels: expected 1 or 3, got {channels!r}")
        if not budget >= 0:
            raise ValueError(f"budget: expected gigabytes, 0 or more, got {budget!r}")
        self.files = tuple(os.path.abspath(file) for file in files)  # noqa: PTH100 Path makes 100,000 in a second
        self.targets = tuple(targets)
        self.channels, self.strict, self.cache, self.budget = channels, strict, cache, budget

    @staticmethod
    def find(folder: str | os.PathLike[str]) -> list[Path]:
        """Return the pictures of a folder and its subfolders by the ends of their names, sorted.

        Names that begin with a dot and links to folders are left out.

        Raises:
            OSError: a folder cannot be listed.
        """
        return list_pictures(folder)

    @staticmethod
    def is_picture(name: str) -> bool:
        """Tell whether a file is a picture by the end of its name."""
        return is_picture(name)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return image and class of a sample; raise DataError that names the file and what is wrong with it."""
        file = self.files[index]
        try:
            data = read_file(file, MAX_IMAGE_BYTES)
        except OSError as error:
            raise DataError(quote(Path(file)), f"cannot be read: {explain(error)}") from error
        return decode(quote(Path(file)), data, self.channels), self.targets[index]

    def read_example(self) -> Tensor:
        """Return the first picture that can be read, uint8 `(C, H, W)`; raise DataError where none can."""
        errors = list[DataError]()
        for index in range(len(self)):
            try:
                return self[index][0]
            except DataError as error:
                errors.append(error)
        raise errors[0]

    def __repr__(self) -> str:
        return say("ImageFiles", f"{len(self):,} pictures", f"channels={self.channels}")

    def take(self, places: Sequence[int]) -> Self:
        """Return a data set of some of the pictures, in this order."""
        taken = object.__new__(type(self))
        taken.__dict__.update(self.__dict__)
        taken.files = tuple(self.files[place] for place in places)
        taken.targets = tuple(self.targets[place] for place in places)
        return taken


def decode(name: str, data: bytes, channels: int) -> Tensor:
    """Return the content of a picture file as uint8 `(channels, H, W)`; raise DataError as `read_image`."""
    pixels = decode_plain(data)
    if pixels is None:
        pixels = decode_image(name, BytesIO(data), [])
    return to_form(pixels.unsqueeze(0), channels).squeeze(0)


class TriedFiles(ImageFiles):
    """Picture files each of which was read once and can be read, see `zoo.data.survey`.

    `digests` are the SHA-256 of the files. `images` are the decoded pictures of the whole data set, `(N, C, H, W)`
    mapped from the disk as `preprocess` fits them, or None, and `rows` says which of them are those of these files.
    """

    digests: tuple[str, ...]
    images: Tensor | None
    preprocess: Preprocess | None
    rows: NDArray[numpy.int64]

    @classmethod
    def of(cls, files: ImageFiles, places: Sequence[int], digests: Sequence[str]) -> TriedFiles:
        """Return those of some files that can be read, with the SHA-256 of each."""
        tried = object.__new__(cls)
        tried.__dict__.update(files.take(places).__dict__)
        tried.digests, tried.images, tried.preprocess = tuple(digests), None, None
        tried.rows = numpy.zeros(0, dtype=numpy.int64)
        return tried

    def take(self, places: Sequence[int]) -> Self:
        """Return a data set of some of the pictures, in this order."""
        taken = super().take(places)
        taken.digests = tuple(self.digests[place] for place in places)
        taken.rows = self.rows if self.images is None else self.rows[list(places)]
        return taken

    @property
    def digest(self) -> str:
        """The SHA-256 of what the files hold, their classes and their channels."""
        table = [self.channels, self.digests, self.targets]
        return hashlib.sha256(json.dumps(table).encode()).hexdigest()

    def to_tensors(self, preprocess: Preprocess) -> tuple[Tensor, Tensor] | None:
        """Return pictures as a preprocess fits them and targets `(images, targets)`, None where they are not kept so.

        Rows that lie together stay on the disk; others are copied, into memory or where there is none on the disk.
        """
        if self.images is None or self.preprocess != preprocess:
            return None
        targets = torch.tensor(self.targets, dtype=torch.int64)
        first, count = (int(self.rows[0]), len(self.rows)) if len(self.rows) else (0, 0)
        if numpy.array_equal(self.rows, numpy.arange(first, first + count)):
            return self.images[first : first + count], targets
        return gather_rows(self.images, torch.from_numpy(self.rows)), targets
