"""Sharded: a folder or a pattern of tar files read as a data set, with its index or with one that is made once."""

from __future__ import annotations

import json
import logging
from array import array
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy
import torch

from zoo.data.cache import only_once
from zoo.data.patterns import choose_splits, find_folder, list_tars
from zoo.data.shards import COLUMNS, SHARD, TARGET, WINDOW, Rows, Shards
from zoo.data.splits import DataSplits
from zoo.data.tars import list_samples
from zoo.errors import DataError, StorageError, UsageError, describe, quote
from zoo.limits import MAX_CLASSES, MAX_KEPT
from zoo.registry.arguments import checked
from zoo.registry.preprocess import Preprocess
from zoo.registry.shards import MANIFEST, SPLITS, ShardFile, read_manifest
from zoo.storage.files import digest, write_file
from zoo.storage.folders import zoo_home
from zoo.storage.reading import check_regular, explain, read_file

log = logging.getLogger("zoo")

NAMES = "classnames.txt"
"""A file beside shards that others wrote, with the name of a class in each line, in their order."""
NAMED = 3
"""Classes that a message names."""
SIDE = 224
"""Pixels of a side of the inputs where nobody says it."""


@checked
def read_shards(
    path: str | Path,
    *,
    test: float = 0.2,
    seed: int = 0,
    size: int = 0,
    channels: int = 0,
    window: int = WINDOW,
) -> DataSplits:
    """Read samples in tar files, in the format of webdataset: pictures or arrays, and their classes.

    `path` is a folder that `data_shard` wrote, with its classes and its preprocessing; or a folder of tar files of
    others, or a pattern such as `shards/{train,test}-{000..099}.tar` or `shards/*.tar`. Which split a file of others
    belongs to is told by a word of its name, or of the folder that it is in: `train`, `validation` (or `val`, `valid`),
    `test`; without any of these it is training data. Where the samples are in such files is found once, and kept in
    ZOO_HOME. Classes are numbers, or names that are numbered in their order; `classnames.txt` may have the names of
    numbers, and the order of names.

    Args:
        path: The folder, or the pattern.
        test: The share of each class that is held back as the test split, where there is none.
        seed: Which samples these are.
        size: Pixels of a side of the inputs: pictures are resized to it by their shorter side, the middle is kept. 0
            leaves that to the folder, and is 224 for pictures of others.
        channels: 3, or 1 for grey; 0 leaves that to the folder, and is 3 for pictures of others.
        window: Shards that a training shuffles through at a time.

    Raises:
        UsageError: no path is given, or a pattern makes no sense.
        DataError: there is no such file, one is damaged, or they do not make a data set.
    """
    if channels not in (0, 1, 3):
        raise ValueError(f"channels: expected 0, 1 or 3, got {channels}")
    if window < 1:
        raise ValueError(f"window: expected tar files, 1 or more, got {window}")
    if size < 0:
        raise ValueError(f"size: expected pixels, or 0, got {size}")
    if not 0 < test < 1:
        raise ValueError(f"test: expected a share between 0 and 1, got {test}")
    if not str(path):
        raise UsageError("shards need the path of their folder", fix="Give it in the place of the name: './shards'")
    source = Path(path).expanduser()
    if source.name == MANIFEST and source.is_file():
        source = source.parent
    if (source / MANIFEST).is_file():
        return _read_written(source, size, channels, window)
    return _read_foreign(source, test=test, seed=seed, size=size or SIDE, channels=channels or 3, window=window)


def _read_written(folder: Path, size: int, channels: int, window: int) -> DataSplits:
    """Return what a folder with a manifest holds."""
    manifest = read_manifest(folder)
    splits: dict[str, Any] = {}
    for name, split in manifest.splits.items():
        index = folder / split.index.file
        rows = _load_index(index, split.index, len(split.shards), len(manifest.class_names))
        chosen: dict[str, Any] = {"channels": channels or manifest.channels, "window": window, "index": index}
        splits[name] = Shards(split.shards, rows, folder, **chosen)
    preprocess = _fit(size) if size else manifest.preprocess
    return DataSplits(class_names=manifest.class_names, preprocess=preprocess, **splits)


def _fit(size: int) -> Preprocess:
    return Preprocess(resize=size, crop=(size, size), rounded=True)


def _load_index(path: Path, file: ShardFile, shards: int, classes: int) -> Rows:
    """Return an index as it lies on the disk, mapped; raise DataError for what is none."""
    again = "Write the shards anew"
    try:
        check_regular(path.stat().st_mode)
        size = path.stat().st_size
        rows: Rows = numpy.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(quote(path), f"cannot be read: {explain(error)}") from error
    except (ValueError, EOFError) as error:
        raise DataError(quote(path), f"it is no index: {error}", again) from error
    if size != file.size or rows.dtype != numpy.int64 or rows.shape != (file.samples, COLUMNS) or not len(rows):
        why = f"expected {file.samples:,} rows in {file.size:,} bytes, got {rows.shape} in {size:,}"
        raise DataError(quote(path), why, again)
    low, high = rows.min(axis=0), rows.max(axis=0)
    if low[:TARGET].min() < 0 or high[SHARD] >= shards or not 0 <= low[TARGET] <= high[TARGET] < classes:
        raise DataError(quote(path), "it tells of shards or classes that there are not", again)
    return rows


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Tar files of others: where each sample is, and what its class is called, if it is a name."""

    files: tuple[ShardFile, ...]
    rows: Rows
    names: tuple[str, ...]


def _read_foreign(source: Path, *, test: float, seed: int, size: int, channels: int, window: int) -> DataSplits:
    """Return what tar files of others hold."""
    paths = list_tars(source)
    folder = find_folder(paths)
    chosen = choose_splits(source, folder, paths)
    found = _name_classes(folder, _find_samples(folder, paths))
    names = found.names
    if len(names) < 2:
        raise DataError(quote(source), f"it has one class ({quote(names[0])})")
    of_split = {split: [number for number, path in enumerate(paths) if chosen[path] == split] for split in SPLITS}
    parts = {split: found.rows[numpy.isin(found.rows[:, SHARD], numbers)] for split, numbers in of_split.items()}
    if not len(parts["train"]):
        there = ", ".join(split for split in SPLITS if of_split[split])
        raise DataError(quote(source), "it has no training data", f"It has: {there}")
    _tell_empty(source, parts["train"], names)
    if not of_split["test"]:
        parts["train"], parts["test"] = _hold_back(source, parts["train"], names, test, seed)
    made: dict[str, Any] = {
        split: Shards(found.files, rows, folder, channels=channels, window=window)
        for split, rows in parts.items()
        if of_split[split] or len(rows)
    }
    example = made["train"].read_example()
    is_picture = example.dtype == torch.uint8 and example.ndim == 3
    return DataSplits(class_names=names, preprocess=_fit(size) if is_picture else None, **made)


def _tell_empty(source: Path, rows: Rows, names: Sequence[str]) -> None:
    """Warn of classes without a training sample, as there are where the numbers of classes begin with 1."""
    there = set(numpy.unique(rows[:, TARGET]).tolist())
    empty = [quote(name) for number, name in enumerate(names) if number not in there]
    if empty:
        told = f"{', '.join(empty[:NAMED])}{' ...' if len(empty) > NAMED else ''}"
        log.warning("%s: %d of %d classes have no training samples: %s", source, len(empty), len(names), told)


def _find_samples(folder: Path, paths: Sequence[Path]) -> _Found:
    """Return where the samples of tar files are: as it was found before, unless one of them has changed."""
    states = [(str(path.relative_to(folder)), path.stat()) for path in paths]
    told = [(name, state.st_size, state.st_mtime_ns) for name, state in states]
    kept = zoo_home() / "shards" / digest(json.dumps([str(folder.absolute()), told]))[:32]
    if (known := _recall(kept, len(paths))) is not None:
        return known
    with only_once(kept.parent):
        if (known := _recall(kept, len(paths))) is not None:
            return known
        log.info("%s: looking for the samples of %d tar files, once", folder, len(paths))
        found = _look(folder, paths, [size for _, size, _ in told])
        _keep(kept, found)
    return found


def _recall(kept: Path, files: int) -> _Found | None:
    """Return what was found before of so many files, None where nothing was, or it cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        facts = json.loads(read_file(kept.with_suffix(".json"), MAX_KEPT))
        rows = numpy.load(kept.with_suffix(".npy"), allow_pickle=False)
        found = tuple(ShardFile(**file) for file in facts["files"])
        if len(found) == files and rows.shape == (sum(file.samples for file in found), COLUMNS):
            return _Found(files=found, rows=rows, names=tuple(facts["names"]))
    return None


def _look(folder: Path, paths: Sequence[Path], sizes: Sequence[int]) -> _Found:
    values, known, files, before = array("q"), dict[int | str, int](), list[ShardFile](), 0
    for number, (path, size) in enumerate(zip(paths, sizes, strict=True)):
        for sample in list_samples(path):
            # For now a class has the number of those that came before it.
            target = known.setdefault(sample.label, len(known))
            values.extend((number, sample.image.offset, sample.image.size, target, -1))
        samples = len(values) // COLUMNS
        files.append(ShardFile(file=path.relative_to(folder).as_posix(), size=size, samples=samples - before))
        before = samples
    if not known:
        raise DataError(quote(folder), f"its {len(paths):,} tar files have no samples")
    numbers, names = [label for label in known if isinstance(label, int)], sorted(map(str, known))
    if numbers and len(numbers) < len(known):
        name = next(label for label in known if isinstance(label, str))
        raise DataError(quote(folder), f"some classes are numbers ({numbers[0]}), others names ({quote(name)})")
    if (most := max(numbers, default=len(names) - 1)) >= MAX_CLASSES:
        raise DataError(quote(folder), f"a class has the number {most}", f"At most {MAX_CLASSES:,} classes are read")
    places = {name: place for place, name in enumerate(names)}
    final = numbers or [places[str(label)] for label in known]
    rows = numpy.array(values, dtype=numpy.int64).reshape(-1, COLUMNS)
    rows[:, TARGET] = numpy.array(final)[rows[:, TARGET]]
    return _Found(files=tuple(files), rows=rows, names=() if numbers else tuple(names))


def _keep(kept: Path, found: _Found) -> None:
    """Keep what was found; where that cannot be, it is looked for again the next time."""
    data = BytesIO()
    numpy.save(data, found.rows, allow_pickle=False)
    facts = {"names": found.names, "files": [vars(file) for file in found.files]}
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_file(kept.with_suffix(".npy"), data.getvalue(), what="the places of samples")
        write_file(kept.with_suffix(".json"), json.dumps(facts).encode(), what="the places of samples")
    except (OSError, StorageError) as error:
        log.warning("what was found in tar files cannot be kept: %s", describe(error))


def _name_classes(folder: Path, found: _Found) -> _Found:
    """Return what was found with the names, and in the order, of the file beside the shards, where there is one."""
    path, rows = folder / NAMES, found.rows
    classes = int(rows[:, TARGET].max()) + 1
    if not path.is_file():
        return found if found.names else replace(found, names=tuple(f"class {number}" for number in range(classes)))
    try:
        names = tuple(read_file(path, MAX_KEPT).decode().rstrip().splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(quote(path), f"cannot be read: {explain(error)}") from error
    if not found.names:
        if len(names) < classes:
            raise DataError(quote(path), f"expected the names of {classes:,} classes, got {len(names):,}")
        return replace(found, names=names)
    places = {name: place for place, name in enumerate(names)}
    if lacking := [name for name in found.names if name not in places]:
        raise DataError(quote(path), f"it lacks {len(lacking)} of {classes:,} classes, {quote(lacking[0])} for one")
    rows = rows.copy()
    rows[:, TARGET] = numpy.array([places[name] for name in found.names])[rows[:, TARGET]]
    return replace(found, rows=rows, names=names)


def _hold_back(source: Path, rows: Rows, names: Sequence[str], share: float, seed: int) -> tuple[Rows, Rows]:
    """Return the samples without a share of each class, at least one of each that has two, and these."""
    held = numpy.zeros(len(rows), dtype=bool)
    random = numpy.random.RandomState(seed % 2**32)  # numpy has promised never to change its stream
    for target in range(len(names)):
        places = numpy.flatnonzero(rows[:, TARGET] == target)
        count = min(max(1, round(share * len(places))), len(places) - 1)
        held[random.permutation(places)[: max(0, count)]] = True
    if not held.any():
        raise DataError(quote(source), "no class has two samples", "A test split needs one of each")
    return rows[~held], rows[held]
