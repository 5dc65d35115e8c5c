"""Shard writing: the samples of a split as bytes, and tar files made of them.

The bytes of the files depend on the data alone. Pictures are kept as they lie on the disk; other images become PNG,
which loses nothing, where they are bytes of one or three channels, and arrays of numpy where they are not.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tarfile
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import IterableDataset

from zoo.data.files import ImageFiles
from zoo.data.images import is_picture
from zoo.data.reader import check_target
from zoo.data.shards import ARRAY, COLUMNS, SIZE, Rows, Shards, find_shards
from zoo.data.splits import DataSplits, Split, count_samples, find_input_shape, read_places
from zoo.data.survey import find_files
from zoo.data.unfinished import WholeShard
from zoo.errors import DataError, quote
from zoo.limits import MAX_IMAGE_BYTES
from zoo.registry.inventory import show_size
from zoo.registry.shards import MANIFEST, ShardFile, ShardManifest, ShardSplit
from zoo.storage.reading import explain, read_file

log = logging.getLogger("zoo")

END = 2 * tarfile.BLOCKSIZE
MEASURED = 64
"""Samples that are written in memory to learn how much room all of them take."""


@dataclass(frozen=True)
class Source:
    """The samples of a split as bytes: of pictures those of their files."""

    split: Split
    samples: int
    files: ImageFiles | None = None
    shards: Shards | None = None

    @classmethod
    def of(cls, split: Split) -> Source:
        """Return the source of a split."""
        return cls(split, count_samples(split), find_files(split), find_shards(split))

    @property
    def is_stream(self) -> bool:
        """Whether its samples come in one order only."""
        return isinstance(self.split, IterableDataset)

    def read(self, places: Sequence[int]) -> Iterator[tuple[str, bytes, int]]:
        """Yield of some samples the end of the name of a file, its bytes and the class.

        Raises:
            DataError: a sample cannot be read; names it.
        """
        if self.files is not None:
            for place in places:
                yield *_read_picture(Path(self.files.files[place])), int(self.files.targets[place])
        elif self.shards is not None:
            for place in places:
                data = self.shards.read_bytes(place)
                yield _name_form(data), data, int(self.shards.targets[place])
        else:
            samples = self.split if self.is_stream else read_places(self.split, places)
            for image, target in samples:  # type: ignore[union-attr]
                yield *encode(image), int(target)

    def find_channels(self) -> int | None:
        """Return the channels that pictures are read with, None of other images, which have their own."""
        kept = self.files or self.shards
        return None if kept is None else kept.channels

    def measure(self) -> int:
        """Return about how many bytes the tar files will have: those of the pictures, else by some of the samples."""
        some = range(0, self.samples, max(1, self.samples // MEASURED))[:MEASURED]
        if self.files is not None:
            taken = sum(_pad(Path(file).stat().st_size) for file in self.files.files)
        elif self.shards is not None:
            taken = int(sum(_pad(int(size)) for size in self.shards.rows[:, SIZE]))
        elif self.is_stream:
            few = [image for image, _ in read_places(self.split, range(min(self.samples, MEASURED)))]
            taken = sum(_pad(len(encode(image)[1])) for image in few) * self.samples // len(few)
        else:
            taken = sum(_pad(len(data)) for _, data, _ in self.read(some)) * self.samples // len(some)
        return taken + self.samples * (3 * tarfile.BLOCKSIZE + 48)


def _read_picture(path: Path) -> tuple[str, bytes]:
    try:
        data = read_file(path, MAX_IMAGE_BYTES)
    except OSError as error:
        raise DataError(quote(path), f"cannot be read: {explain(error)}") from error
    return path.suffix.lower().removeprefix(".") if is_picture(path.name) else _name_form(data), data


def encode(image: Tensor) -> tuple[str, bytes]:
    """Return the end of the name and the bytes of a file from which an image `(C, H, W)` is read bit for bit."""
    data = BytesIO()
    if image.dtype == torch.uint8 and image.ndim == 3 and image.shape[0] in (1, 3) and image.numel():
        pixels = image.cpu().permute(1, 2, 0).contiguous().numpy()
        Image.fromarray(pixels[:, :, 0] if len(image) == 1 else pixels).save(data, "PNG")
        return "png", data.getvalue()
    if image.dtype == torch.bfloat16:
        raise DataError("images of bfloat16 cannot be written", "numpy has no such dtype", "Give them as float32")
    numpy.save(data, image.detach().cpu().contiguous().numpy(), allow_pickle=False)
    return "npy", data.getvalue()


def _name_form(data: bytes) -> str:
    """Return the end of the name of a file by its content."""
    if data.startswith(ARRAY):
        return "npy"
    try:
        with Image.open(BytesIO(data)) as image:
            form = image.format or ""
    except (OSError, ValueError):  # whoever reads the sample is told what is wrong with it
        form = "img"
    return {"JPEG": "jpg", "TIFF": "tif", "JPEG2000": "jp2"}.get(form, form.lower())


@dataclass
class _Shard:
    """A tar file that is being written: its number, name and bytes so far."""

    number: int
    file: str
    size: int = 0
    samples: int = 0
    digest: Any = field(default_factory=hashlib.sha256)

    def take(self, data: bytes) -> bytes:
        """Count bytes that are written, and return them."""
        self.size += len(data)
        self.digest.update(data)
        return data

    def finish(self) -> ShardFile:
        """Return what the manifest says of the file."""
        return ShardFile(file=self.file, size=self.size, samples=self.samples, sha256=self.digest.hexdigest())


class ShardWriter:
    """Makes the files of a folder of shards, in their order; the manifest comes last."""

    def __init__(self, name: str, splits: DataSplits, sources: Mapping[str, Source], most: int, seed: int) -> None:
        self.name, self.splits, self.sources, self.most, self.seed = name, splits, sources, most, seed
        self.made: dict[str, ShardSplit] = {}
        self.kept: Mapping[str, Sequence[WholeShard]] = {}
        self.orders: dict[str, Sequence[int]] = {name: range(source.samples) for name, source in sources.items()}
        if not sources["train"].is_stream:
            drawn = numpy.random.RandomState(seed % 2**32).permutation(sources["train"].samples)
            self.orders["train"] = array("q", drawn.astype(numpy.int64).tobytes())

    def is_right(self, name: str, before: int, whole: WholeShard) -> bool:
        """Tell whether a tar file holds what this writer would put behind so many samples of a split.

        The first of its samples is read again: the data may be others by now.
        """
        source = self.sources.get(name)
        if source is None or source.is_stream or len(whole.numbers) != whole.file.samples:
            return False
        numbers = self.orders[name][before : before + len(whole.numbers)]
        if tuple(numbers) != whole.numbers or not whole.numbers:
            return False
        _, data, target = next(source.read(numbers[:1]))
        return (len(data), target, zlib.crc32(data)) == tuple(map(int, whole.rows[0, SIZE:]))

    def write(self, note: Callable[[ShardFile], None]) -> Iterator[tuple[str, Iterable[bytes]]]:
        """Yield the name and the content of each file, which must be gone through before the next one is asked for.

        What is `kept` is not among them. `note` is told of each tar file that is whole.
        """
        for name in self.sources:
            yield from self._write_split(name, note)
        kept = next(iter(self.sources.values())).find_channels()
        channels = kept or find_input_shape(self.name, self.splits)[0]
        manifest = ShardManifest(
            dataset=self.name,
            class_names=tuple(self.splits.class_names),
            splits=self.made,
            preprocess=self.splits.preprocess,
            channels=channels if channels in (1, 3) else 3,
        )
        yield MANIFEST, [json.dumps(manifest.to_json(), indent=1).encode()]

    def _write_split(self, name: str, note: Callable[[ShardFile], None]) -> Iterator[tuple[str, Iterable[bytes]]]:
        source, kept = self.sources[name], self.kept.get(name, ())
        rows = numpy.full((source.samples, COLUMNS), -1, dtype=numpy.int64)
        for whole in kept:
            rows[list(whole.numbers)] = whole.rows
        shards = [whole.file for whole in kept]
        samples = _Waiting(self._number(name, source, sum(shard.samples for shard in shards)))
        while samples.next is not None:
            shard = _Shard(number=len(shards), file=f"{name}-{len(shards):06d}.tar")
            yield shard.file, self._fill(shard, samples, rows)
            shards.append(shard.finish())
            note(shards[-1])
            log.info("%s: %s samples, %s", shard.file, f"{shard.samples:,}", show_size(shard.size))
        data = BytesIO()
        numpy.save(data, rows, allow_pickle=False)
        index = _Shard(number=-1, file=f"{name}.index.npy", samples=len(rows))
        yield index.file, [index.take(data.getvalue())]
        self.made[name] = ShardSplit(index=index.finish(), shards=tuple(shards))

    def _number(self, name: str, source: Source, count: int) -> Iterator[tuple[int, str, bytes, int]]:
        """Yield the samples of a split behind the first `count` with their numbers.

        Raises:
            DataError: a stream gives more or fewer than it says.
        """
        where, order = f"dataset {quote(self.name)}, {name} split", self.orders[name]
        for extension, data, target in source.read(order[count:]):
            if count == source.samples:
                break
            try:
                number = check_target(target, len(self.splits.class_names))
            except (TypeError, ValueError) as error:
                raise DataError(f"{where}: sample {order[count]}", str(error)) from None
            if len(data) > MAX_IMAGE_BYTES:
                what = f"it would have {len(data):,} bytes, at most {MAX_IMAGE_BYTES:,} are read"
                raise DataError(f"{where}: sample {order[count]}", what)
            yield order[count], extension, data, number
            count += 1
        else:
            if count == source.samples:
                return
        got = f"{count:,}" if count < source.samples else f"{count + 1:,} or more"
        why = f"its length says {source.samples:,}"
        raise DataError(f"{where}: it gave {got} samples", why, "Declare as many samples as it gives")

    def _fill(self, shard: _Shard, samples: _Waiting, rows: Rows) -> Iterator[bytes]:
        """Yield the bytes of a shard, and write down where its samples are."""
        while samples.next is not None:
            number, extension, data, target = samples.next
            files = [(f"{number:09d}.{extension}", data), (f"{number:09d}.cls", str(target).encode())]
            size = sum(tarfile.BLOCKSIZE + _pad(len(content)) for _, content in files)
            if shard.samples and shard.size + size + END > self.most:
                break
            rows[number] = shard.number, shard.size + tarfile.BLOCKSIZE, len(data), target, zlib.crc32(data)
            for file_name, content in files:
                told = tarfile.TarInfo(file_name)
                told.size, told.mode = len(content), 0o644
                yield shard.take(told.tobuf(tarfile.USTAR_FORMAT))
                yield shard.take(content + bytes(_pad(len(content)) - len(content)))
            shard.samples += 1
            samples.go_on()
        yield shard.take(bytes(END))


class _Waiting:
    """Samples, of which the next one can be looked at before it is taken."""

    def __init__(self, samples: Iterator[tuple[int, str, bytes, int]]) -> None:
        self.samples = samples
        self.next = next(samples, None)

    def go_on(self) -> None:
        """Take it."""
        self.next = next(self.samples, None)


def _pad(size: int) -> int:
    """Return the bytes that a content takes in a tar file: whole blocks."""
    return -(-size // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
