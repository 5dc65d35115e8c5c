"""Removal: the files of data sets deleted from the data folder, and nothing else."""

from __future__ import annotations

import os
import stat
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from zoo.display import align
from zoo.errors import StorageError
from zoo.registry.arguments import checked
from zoo.registry.entries import Entry, Registry
from zoo.registry.inventory import list_forms, show_size
from zoo.registry.parts import find_parts
from zoo.registry.places import open_places
from zoo.registry.specs import DatasetSpec
from zoo.storage.reading import explain


@dataclass(frozen=True, kw_only=True)
class RemovedFile:
    """A file of a data set that is to go, or stays.

    Fields:
        path: Its place under the data folder.
        size: Its size in bytes; of a link that of the link.
        kept: Why it stays; empty where it goes.
    """

    path: str
    size: int
    kept: str = ""


@dataclass(frozen=True, kw_only=True, repr=False)
class Removal:
    """What of data sets was removed, or would be.

    Fields:
        data_dir: The data folder.
        files: The files of the data sets that are there, and what else is in their folders.
        done: Whether those that go were removed.
    """

    data_dir: Path
    files: tuple[RemovedFile, ...]
    done: bool

    @property
    def size(self) -> int:
        """The bytes of the files that go."""
        return sum(file.size for file in self.files if not file.kept)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        files = [asdict(file) for file in self.files]
        return {"data_dir": str(self.data_dir), "files": files, "size": self.size, "done": self.done}

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The rows of a table: a file each."""
        verb = "removed" if self.done else "goes"
        return [(file.path, show_size(file.size), f"kept: {file.kept}" if file.kept else verb) for file in self.files]

    def __repr__(self) -> str:
        return align([*self.rows, (f"in {self.data_dir}", show_size(self.size), "")])


@checked
def data_remove(
    names: str | Sequence[str],
    *,
    yes: bool = False,
    data_dir: str | Path | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Removal:
    """Return which files of data sets are in the data folder, and with `yes` remove them.

    They are the files that the data sets declare, packed and unpacked, and what came of downloads that broke off.
    Nothing else is removed, but folders that are empty then. A file that another registered data set declares stays,
    and so does what lies behind a link to a folder, and what no data set declares: of that in the same folders it is
    said, for a data set may have unpacked its files there.

    Raises:
        UnknownNameError: there is no such data set.
        StorageError: a file cannot be removed.
    """
    places = open_places(registry, plugins, data_dir=data_dir)
    wanted = [
        places.registry.get("dataset", name) for name in dict.fromkeys([names] if isinstance(names, str) else names)
    ]
    root = Path(os.path.realpath(places.data_dir))
    shared = _find_shared(places.registry, wanted)
    paths = {path: busy for entry in wanted for path, busy in _list_paths(entry, root)}
    files = tuple(file for path, busy in paths.items() if (file := _judge(path, busy, root, shared)))
    files += tuple(_find_others(root, paths, shared, [file.path for file in files]))
    for file in files if yes else ():
        if not file.kept:
            _remove(root / file.path, root)
    return Removal(data_dir=root, files=files, done=yes)


def _find_shared(registry: Registry, wanted: Sequence[Entry[DatasetSpec]]) -> dict[str, str]:
    """Return the paths that data sets besides the wanted ones declare, each with the name of one."""
    own = {entry.qualified_name for entry in wanted}
    others = [entry for entry in registry.list_entries("dataset", "*") if entry.qualified_name not in own]
    return {form[0]: entry.short_name for entry in others for file in entry.spec.files for form in list_forms(file)}


def _list_paths(entry: Entry[DatasetSpec], root: Path) -> Iterator[tuple[str, bool]]:
    """Return the paths of what a data set may have there, each with whether a process may write it."""
    for file in entry.spec.files:
        yield from ((form[0], False) for form in list_forms(file))
        parts = find_parts(root / file.path)
        yield from ((PurePosixPath(file.path).with_name(part.path.name).as_posix(), part.is_busy) for part in parts)


def _judge(path: str, busy: bool, root: Path, shared: dict[str, str]) -> RemovedFile | None:
    """Return what happens to a file; None where there is none."""
    place = root / path
    try:
        state = place.lstat()
    except OSError:
        return None
    kept = f"{shared[path]} has it too" if path in shared else ""
    if Path(os.path.realpath(place.parent)) != place.parent:
        kept = "it lies behind a link to a folder"
    elif stat.S_ISDIR(state.st_mode):
        kept = "it is a folder"
    elif busy:
        kept = "it is being downloaded"
    return RemovedFile(path=path, size=state.st_size, kept=kept)


def _find_others(
    root: Path, own: Container[str], shared: Container[str], there: Sequence[str]
) -> Iterator[RemovedFile]:
    """Return what else is in the folders of files that are there, which their data set may have made: it stays."""
    for folder in dict.fromkeys(PurePosixPath(path).parent for path in there):
        place = root / folder
        # The data folder itself is everybody's; what lies behind a link is not looked at.
        if place == root or Path(os.path.realpath(place)) != place:
            continue
        for entry in sorted(place.iterdir()):
            path = (folder / entry.name).as_posix()
            if path not in own and path not in shared:
                yield RemovedFile(path=path, size=_measure(entry), kept="no data set declares it")


def _measure(place: Path) -> int:
    """Return the bytes of a file, or of all under a folder, without following links."""
    size = 0
    with suppress(OSError):
        if place.is_symlink() or not place.is_dir():
            return place.lstat().st_size
        for parent, _, names in os.walk(place):
            size += sum(Path(parent, name).lstat().st_size for name in names)
    return size


def _remove(place: Path, root: Path) -> None:
    """Remove a file, and the folders that are empty then."""
    try:
        place.unlink()
    except OSError as error:
        raise StorageError(f"cannot remove {place}", explain(error), "Remove it by hand") from error
    for folder in place.parents:
        if folder == root:
            return
        with suppress(OSError):
            folder.rmdir()
