"""Unfinished: the hidden folder in which shards are written, and which of them are whole there after a kill.

Each tar file that is whole and safe on the disk gets a line in a journal, with its size and SHA-256. Whoever is told
the same once more goes on behind those that are still what their lines say.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy

from zoo.data.shards import Rows
from zoo.data.tars import list_samples
from zoo.errors import DataError, StorageError, UsageError
from zoo.limits import MAX_SHARDS
from zoo.registry.shards import ShardFile
from zoo.storage.creation import Files, rename_folder
from zoo.storage.files import check_writable, describe_failure, fill, make_folder, open_new, sync_folder, write_file
from zoo.storage.locks import LockHeldError, lock
from zoo.storage.reading import open_regular, read_file

log = logging.getLogger("zoo")

JOURNAL = "journal.jsonl"


@dataclass(frozen=True, kw_only=True)
class WholeShard:
    """A tar file that need not be written again: its numbered samples, and their rows of the index."""

    file: ShardFile
    numbers: tuple[int, ...]
    rows: Rows


class Unfinished:
    """A hidden folder beside the one that is wanted, whose name it gets when all is written.

    Args:
        folder: The one that is wanted.
        asked: What was asked for, as JSON data: shards of something else are none to go on from.
        fix: What to do where the disk fails.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any], fix: str) -> None:
        self.folder, self.asked, self.fix = folder, json.loads(json.dumps(asked)), fix
        self.part = folder.with_name(f".{folder.name}.part")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let no other process write these shards meanwhile."""
        path = self.part.with_suffix(".lock")
        with ExitStack() as stack:
            check_writable(self.folder.parent, fix=self.fix)
            try:
                stack.enter_context(lock(path, timeout=0))
            except LockHeldError as error:
                raise StorageError(f"another process writes shards to {self.folder}", fix=self.fix) from error
            try:
                yield
            finally:
                with suppress(OSError):  # elsewhere than on Unix one that is held stays
                    path.unlink()

    def find_whole(self, check: Callable[[str, int, WholeShard], bool]) -> dict[str, list[WholeShard]]:
        """Return the whole shards of each split in their order.

        `check` is told the split of one, how many samples come before it, and what it is, and says whether it is right.

        Raises:
            UsageError: they were begun with something else that was asked for.
        """
        found: dict[str, list[WholeShard]] = {}
        lines = self._read_journal()
        if lines and lines[0] != self.asked:
            other = [
                f"{name} was {was}, is {self.asked.get(name)}"
                for name, was in lines[0].items()
                if was != self.asked.get(name)
            ]
            fix = f"Give what was given then, remove {self.part}, or give another folder with output=..."
            raise UsageError(f"shards of {self.folder} were begun with something else", "; ".join(other), fix)
        for line in lines[1:]:
            whole = self._read_whole(line)
            split = "" if whole is None else whole.file.file.rpartition("-")[0]
            before = sum(shard.file.samples for shard in found.get(split, ()))
            if whole is None or not check(split, before, whole):
                break
            found.setdefault(split, []).append(whole)
        if found:
            log.info("%s: going on behind %d whole tar files", self.folder, sum(map(len, found.values())))
        elif lines[1:]:
            log.warning("%s: nothing that is written can be gone on from, it is written anew", self.folder)
        return found

    def _read_journal(self) -> list[dict[str, Any]]:
        """Return what was asked for, and the lines of tar files behind it; the last one may have been cut off."""
        lines = []
        with suppress(OSError, ValueError, RecursionError):
            for line in read_file(self.part / JOURNAL, MAX_SHARDS).splitlines():
                told = json.loads(line)
                if not isinstance(told, dict):
                    break
                lines.append(told)
        return lines

    def _read_whole(self, line: Mapping[str, Any]) -> WholeShard | None:
        """Return a tar file that is still what its line says, None where it is not."""
        with suppress(OSError, DataError, TypeError, ValueError):
            file = ShardFile(**line)
            path, rows = self.part / file.file, list[tuple[int, ...]]()
            with open_regular(path) as stream:
                right = os.fstat(stream.fileno()).st_size == file.size
                if not right or hashlib.file_digest(stream, "sha256").hexdigest() != file.sha256:
                    return None
                shard, numbers = int(path.stem.rpartition("-")[2]), list[int]()
                for sample in list_samples(path):
                    place = stream.seek(sample.image.offset)
                    data = stream.read(sample.image.size)
                    numbers.append(int(sample.image.key))
                    rows.append((shard, place, len(data), int(sample.label), zlib.crc32(data)))
            return WholeShard(file=file, numbers=tuple(numbers), rows=numpy.array(rows, dtype=numpy.int64))
        return None

    def write(self, files: Files, kept: Sequence[ShardFile]) -> None:
        """Write files beside those that are kept, and give the folder its name; what is whole stays where that fails.

        Raises:
            StorageError: the disk is full, read-only, fails ...
        """
        try:
            make_folder(self.part)
            there = {file.file for file in kept}
            for path in self.part.iterdir():
                if path.name not in (*there, JOURNAL):
                    path.unlink()
            lines = "".join(json.dumps(line) + "\n" for line in (self.asked, *map(asdict, kept)))
            write_file(self.part / JOURNAL, lines.encode(), what="the journal of shards", fix=self.fix)
            for name, chunks in files:
                fill(open_new(self.part / name), chunks)
            sync_folder(self.part)
            with suppress(OSError):
                self.folder.rmdir()  # an empty one gives way
            rename_folder(self.part, self.folder)
            (self.folder / JOURNAL).unlink()
            sync_folder(self.folder.parent)
        except BaseException as error:
            self._tell_rest(len(kept))
            if isinstance(error, OSError):
                raise describe_failure(f"cannot save shards to {self.folder}", error, self.part, self.fix) from error
            raise

    def note(self, file: ShardFile) -> None:
        """Write down that a tar file is whole."""
        with (self.part / JOURNAL).open("ab") as journal:
            journal.write(json.dumps(asdict(file)).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())

    def _tell_rest(self, kept: int) -> None:
        """Say what stays for the next time; nothing stays where no tar file is whole."""
        whole = max(kept, len(self._read_journal()) - 1)
        if whole > 0:
            told = "%d whole tar files stay in %s: the same command goes on behind them"
            log.warning(told, whole, self.part)
        else:
            shutil.rmtree(self.part, ignore_errors=True)
