"""Survey: every picture file of a data set tried, before anything is trained on it or shown of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy

from zoo.data import cache
from zoo.data.decoding import MANY, PictureFacts, decode_all, list_states
from zoo.data.files import ImageFiles, TriedFiles
from zoo.data.fitted import FittedDataset
from zoo.data.named import NamedDataset
from zoo.data.splits import DataSplits, Split
from zoo.data.workers import count_cores
from zoo.errors import DataError, StorageError, describe, quote
from zoo.registry.preprocess import Preprocess

log = logging.getLogger("zoo")

NAMED = 3
"""Files that a message names."""
FEW = 20
"""One file in so many may be unreadable, and is left out."""


@dataclass
class Survey:
    """What is found out of the pictures of a data set.

    `files` are its paths, each once, in the order of the splits; `states` how each file is now, None for none; `known`
    is what is known of them, and `kept` what was known before of any file in their folder.
    """

    name: str
    files: list[str]
    states: dict[str, cache.State | None]
    known: dict[str, PictureFacts]
    kept: dict[str, tuple[cache.State, PictureFacts]]
    folder: Path
    settings: ImageFiles

    def try_rest(self) -> None:
        """Read the files of which nothing is known yet."""
        rest = [file for file in self.files if file not in self.known]
        self._announce(rest)
        tasks = [(file, place) for place, file in enumerate(rest)]
        for place, facts, _ in decode_all(self.name, tasks, self.settings.channels, None):
            self.known[rest[place]] = facts

    def decode(self, form: cache.Form, preprocess: Preprocess) -> cache.Sheet:
        """Read the files of which nothing is known yet, and write what all of them become.

        Raises:
            DataError: a picture cannot be brought to the form of the others.
            OSError, StorageError: it cannot be written.
        """
        usable = [file for file in self.files if file not in self.known or not self.known[file].error]
        with cache.writing(self.folder, form.shape, preprocess, len(usable)) as writer:
            wanted = {self.known[file].digest: row for row, file in enumerate(usable) if file in self.known}
            copied = writer.copy(wanted, form) if wanted else {}
            written = {row: (self.known[usable[row]].digest, checked) for row, checked in copied.items()}
            tasks = [(file, row) for row, file in enumerate(usable) if row not in copied]
            self._announce([file for file, _ in tasks])
            for row, facts, checked in decode_all(self.name, tasks, self.settings.channels, writer.rows):
                self.known[usable[row]] = facts
                if not facts.error:
                    written[row] = (facts.digest, checked)
            self.check()
            return writer.save(form, written)

    def _announce(self, files: Sequence[str]) -> None:
        if len(files) >= MANY:
            cores = count_cores()
            log.info("dataset %s: decoding %s pictures on %d cores", quote(self.name), f"{len(files):,}", cores)

    def check(self) -> None:
        """Raise DataError where too many files cannot be read, or one and the data set is strict."""
        bad = [file for file in self.files if self.known[file].error]
        if not bad or not (self.settings.strict or len(bad) * FEW > len(self.files)):
            return
        share = "" if self.settings.strict else ", more than one in twenty"
        what = f"dataset {quote(self.name)}: {len(bad):,} of {len(self.files):,} pictures cannot be used{share}"
        raise DataError(what, self._list(bad), "Mend or remove these files")

    def tell_left_out(self) -> None:
        """Say which files are left out."""
        bad = [file for file in self.files if self.known[file].error]
        if bad:
            what = f"left out {len(bad):,} of {len(self.files):,} pictures that cannot be used"
            log.warning("dataset %s: %s: %s", quote(self.name), what, self._list(bad))

    def _list(self, bad: Sequence[str]) -> str:
        told = [f"{quote(Path(file))} ({self.known[file].error})" for file in bad[:NAMED]]
        more = len(bad) - NAMED
        return "; ".join(told) + (f"; and {more:,} more" if more > 0 else "")

    def keep(self) -> None:
        """Keep what is known, for whoever asks next."""
        now = {file: (state, self.known[file]) for file in self.files if (state := self.states[file])}
        new = {**self.kept, **{file: found for file, found in now.items() if found[1].lasting}}
        if new != self.kept:
            cache.keep_known(self.folder, new)
            self.kept = new

    def select(self, files: ImageFiles, sheet: cache.Sheet | None, preprocess: Preprocess | None) -> TriedFiles:
        """Return those of some files that can be read, with what is kept of them."""
        places = [place for place, file in enumerate(files.files) if not self.known[file].error]
        tried = TriedFiles.of(files, places, [self.known[files.files[place]].digest for place in places])
        if sheet is not None:
            usable = [file for file in self.files if not self.known[file].error]
            rows = {file: row for row, file in enumerate(usable)}
            tried.images, tried.preprocess = sheet.images, preprocess
            tried.rows = numpy.array([rows[file] for file in tried.files], dtype=numpy.int64)
        return tried


def survey(
    name: str, splits: DataSplits, preprocess: Preprocess | None = None, shape: tuple[int, ...] | None = None
) -> DataSplits:
    """Return splits whose picture files were all tried: those that cannot be read are left out, and named in a warning.

    What was tried once is not tried again while the file stays as it is. With a `preprocess` that is `rounded` the
    pictures, as it fits those of a raw `shape`, are kept decoded on the disk, as far as the data set allows. Splits of
    another kind stay as they are.

    Raises:
        DataError: one in twenty cannot be read, or one and the data set is strict; a split has none that can.
        WorkerError: a process that decodes died.
    """
    found = {split_name: files for split_name, split in splits.items() if (files := find_files(split)) is not None}
    if not found:
        return splits
    made = _start(name, found)
    fits = preprocess is not None and preprocess.rounded and shape is not None
    sheet = _open_sheet(made, preprocess, shape) if fits and preprocess is not None and shape is not None else None
    if sheet is None:
        made.try_rest()
    made.check()
    made.keep()
    made.tell_left_out()
    tried = {split_name: made.select(files, sheet, preprocess) for split_name, files in found.items()}
    for split_name, files in tried.items():
        if not len(files):
            raise DataError(f"dataset {quote(name)}, {split_name} split: no picture can be read")
    _tell_empty(name, splits, tried)
    if fits:
        _tell_summary(name, splits, tried, made)
    named: dict[str, Any] = {key: _name_again(getattr(splits, key), files) for key, files in tried.items()}
    return replace(splits, **named)


def find_files(split: Split) -> ImageFiles | None:
    """Return the picture files that a split reads when it is asked for samples, None where it is something else."""
    inner = split.dataset if isinstance(split, NamedDataset) else split
    inner = inner.dataset if isinstance(inner, FittedDataset) else inner
    return inner if isinstance(inner, ImageFiles) else None


def _name_again(split: Split, files: TriedFiles) -> Split:
    if isinstance(split, NamedDataset):
        return NamedDataset(files, split.origin, len(files), split.guarded)
    return files


def _start(name: str, found: Mapping[str, ImageFiles]) -> Survey:
    """Return a survey with what is known of these files as they are now."""
    files = list(dict.fromkeys(file for split in found.values() for file in split.files))
    folder = cache.find_folder(files)
    states = dict(zip(files, list_states(files), strict=True))
    kept = cache.read_known(folder)
    known = {file: kept[file][1] for file in files if file in kept and kept[file][0] == states[file]}
    settings = next(iter(found.values()))
    return Survey(name=name, files=files, states=states, known=known, kept=kept, folder=folder, settings=settings)


def _open_sheet(made: Survey, preprocess: Preprocess, shape: tuple[int, ...]) -> cache.Sheet | None:
    """Return the decoded pictures, made where they are not there; None where they are decoded in each epoch."""
    where, settings = f"dataset {quote(made.name)}", made.settings
    form = cache.Form.of(preprocess, (settings.channels, *preprocess.fitted_shape(shape)[1:]))
    if not settings.cache:
        log.info("%s: pictures are decoded in each epoch: cache=False", where)
        return None
    with cache.only_once(made.folder):
        if all(file in made.known for file in made.files):
            usable = [made.known[file].digest for file in made.files if not made.known[file].error]
            sheet = cache.open_sheet(made.folder, cache.name_sheet(form, usable), form.shape, proved=False)
            if sheet is not None:
                log.debug("%s: decoded pictures are there already, in %s", where, made.folder)
                return sheet
        needed = len(made.files) * numpy.prod(form.shape, dtype=int)
        if why := cache.make_room(int(needed), settings.budget, made.folder):
            log.info("%s: pictures are decoded in each epoch: kept decoded they would take %s", where, why)
            return None
        try:
            sheet = made.decode(form, preprocess)
        except (OSError, StorageError) as error:
            log.warning("%s: pictures are decoded in each epoch: they cannot be kept: %s", where, describe(error))
            return None
        made.keep()
    log.info("%s: pictures are kept decoded, %.1f MB in %s", where, sheet.images.nbytes / 1e6, made.folder)
    return sheet


def _tell_summary(name: str, splits: DataSplits, tried: Mapping[str, TriedFiles], made: Survey) -> None:
    """Say how many pictures of how many classes each split has, and of what sizes."""
    counts = ", ".join(f"{len(files):,} {split_name}" for split_name, files in tried.items())
    used = [made.known[file] for files in tried.values() for file in files.files]
    widths, heights = {facts.width for facts in used}, {facts.height for facts in used}
    sizes = f"{_tell_range(widths)} x {_tell_range(heights)} pixels"
    log.info("dataset %s: %d classes, %s pictures of %s", quote(name), len(splits.class_names), counts, sizes)


def _tell_range(sizes: Set[int]) -> str:
    least, most = min(sizes), max(sizes)
    return f"{least}" if least == most else f"{least}..{most}"


def _tell_empty(name: str, splits: DataSplits, tried: Mapping[str, TriedFiles]) -> None:
    """Warn of classes of which a split has no picture."""
    for split_name, files in tried.items():
        there = set(files.targets)
        for target, class_name in enumerate(splits.class_names):
            if target not in there:
                where = f"dataset {quote(name)}, {split_name} split"
                log.warning("%s: class %s has no samples", where, quote(class_name))
