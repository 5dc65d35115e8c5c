"""Rescue: where the weights of a training go when they cannot be written where they belong."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from zoo.errors import StorageError, ZooError, describe
from zoo.records.run_folder import WEIGHTS_FILE
from zoo.storage.creation import create_folder
from zoo.storage.folders import zoo_home

Save = Callable[[Path], None]


def check_space(folder: Path, needed: int) -> None:
    """Raise StorageError where the disk of a folder has less than `needed` bytes free; unknown counts as enough."""
    with suppress(OSError):
        disk = shutil.disk_usage(folder)
        if disk.total and disk.free < needed:
            why = f"the run will write {needed / 1e6:.1f} MB, the disk has {disk.free / 1e6:.1f} MB free"
            fix = "Free some space. Use runs_dir=... to write elsewhere."
            raise StorageError(f"not enough space in {folder}", why, fix)


def save_somewhere(folder: Path, home: Path | None, save: Save) -> Path:
    """Save weights into a run's folder, else into `home/rescued`, else into the system's folder for temporary files.

    Raises:
        Rescued: they are in another place than the first.
        StorageError: they are nowhere; names each place and what failed there.
    """
    try:
        save(folder / WEIGHTS_FILE)
        return folder / WEIGHTS_FILE
    except StorageError as error:
        problems = [error]
    places: list[Callable[[], Path]] = [lambda: _make_temporary(folder.name)]
    if home is not None:
        places.insert(0, lambda: create_folder(home / "rescued", folder.name))
    for make in places:
        try:
            place = make()
            try:
                save(place / WEIGHTS_FILE)
            except StorageError:
                with suppress(OSError):
                    place.rmdir()
                raise
        except StorageError as error:
            problems.append(error)
        else:
            raise Rescued(problems[0], place / WEIGHTS_FILE)
    what = "the weights could not be saved anywhere"
    raise StorageError(what, "; ".join(f"{each.what}: {each.why}" for each in problems), "Free some space.")


class Rescued(StorageError):
    """Weights that could not be saved where they belong are at `path`."""

    def __init__(self, error: StorageError, path: Path) -> None:
        super().__init__(error.what, error.why, f"The weights were saved to {path} instead")
        self.path = path


def _make_temporary(name: str) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=f"zoo-{name}-"))
    except OSError as error:
        raise StorageError("cannot create a folder for temporary files", describe(error)) from error


def find_home() -> Path | None:
    """Return zoo's home as an absolute path, None where the system names none."""
    try:
        return zoo_home().absolute()
    except (ZooError, OSError, RuntimeError):
        return None
