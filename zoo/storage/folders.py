"""Folders: where data, runs and cache are, and whether the network may be used."""

from __future__ import annotations

import os
import re
from pathlib import Path

from zoo.errors import SettingError, StorageError


def zoo_home() -> Path:
    """Return the folder of the user's data and cache: `ZOO_HOME`, else the usual place of the system.

    Raises:
        SettingError: `ZOO_HOME` is no folder's path; or it is not set, and the user has no home folder.
    """
    if home := _find_folder("home", None):
        return home
    import platformdirs

    try:
        return Path(platformdirs.user_data_dir("zoo", appauthor=False))
    except (RuntimeError, KeyError) as error:  # containers often run as a user whom the system does not know
        fix = "Set it to a folder that zoo may write to, or set HOME"
        raise SettingError("ZOO_HOME", "is not set, and this user has no home folder", fix=fix) from error


def hide_home(text: str) -> str:
    """Return a path or a command with `~` for the home folder of this user, as what goes to others names it."""
    home = os.path.expanduser("~")  # noqa: PTH111 a Path would raise where there is none
    if len(home) < 2:
        return text
    return re.sub(rf"(?<![^\s='\"]){re.escape(home)}[/\\]", lambda _: "~/", text)


def find_home(path: str) -> str:
    """Return a path that `hide_home` gave, or another, as it is for this user."""
    return os.path.expanduser(path) if path.startswith("~/") else path  # noqa: PTH111 as above


def check_current_folder() -> None:
    """Raise StorageError where the current folder was deleted: libraries of torch end the process then."""
    try:
        Path.cwd()
    except FileNotFoundError as error:
        raise StorageError("the current folder no longer exists", fix="Go to another one with cd") from error


def data_dir(given: str | Path | None = None) -> Path:
    """Return the folder of the data sets: `given`, else `ZOO_DATA_DIR`, else `data` in `zoo_home()`."""
    return _find_folder("data_dir", given) or zoo_home() / "data"


def runs_dir(given: str | Path | None = None) -> Path:
    """Return the folder of the runs: `given`, else `ZOO_RUNS_DIR`, else `runs` in the current folder."""
    return _find_folder("runs_dir", given) or Path("runs")


def _find_folder(setting: str, given: str | Path | None) -> Path | None:
    """Return `given`, else the folder that the environment names, or None when it is unset or empty."""
    if given is None:
        setting = f"ZOO_{setting.upper()}"
        if not (given := os.environ.get(setting)):
            return None
    if not str(given).strip() or "\0" in str(given):
        raise SettingError(setting, "expected the path of a folder", str(given))
    try:
        return Path(given).expanduser()
    except RuntimeError:
        raise SettingError(setting, "expected a user that exists after '~'", str(given)) from None


def offline(given: bool | None = None) -> bool:
    """Tell whether the network is off limits: `given`, else `ZOO_OFFLINE`."""
    return read_flag("ZOO_OFFLINE") if given is None else given


def read_flag(variable: str) -> bool:
    """Return a switch of the environment; unset or empty is off. Raise SettingError for any other unknown value."""
    on, off = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
    value = os.environ.get(variable, "")
    if value.strip().lower() not in on + off:
        raise SettingError(variable, "expected 1, true, yes, on, 0, false, no or off", value)
    return value.strip().lower() in on
