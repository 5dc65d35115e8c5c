"""Entry points of installed distributions, read straight from the folders on `sys.path`.

`importlib.metadata` finds the same, but it parses the metadata of every distribution, which is slow, and stops at the
first malformed file of any of them.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.errors import one_line
from zoo.limits import MAX_MANIFEST
from zoo.storage.files import digest
from zoo.storage.reading import read_file


@dataclass(frozen=True, kw_only=True)
class EntryPoint:
    """One entry point of an installed distribution; a line without `=` has an empty value.

    `requires` are the distribution's requirements, each as its metadata writes it.
    """

    distribution: str
    version: str
    requires: tuple[str, ...]
    name: str
    value: str


def normalize_name(name: str) -> str:
    """Return a distribution's name the way package indexes compare names, on one printable line."""
    return one_line(re.sub(r"[-_.]+", "-", name).lower())


def find_entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of `group`, sorted by distribution and name, importing no distribution's code."""
    found: dict[str, list[EntryPoint]] = {}
    for folder in _find_metadata_folders():
        # NAME-VERSION.dist-info, or NAME.egg-info beside the source of an old editable installation.
        name, _, version = folder.name.rpartition(".")[0].partition("-")
        name = normalize_name(name)
        # The first of a name on sys.path is the one that gets imported; later copies are shadowed.
        if name and name not in found:
            lines = list(_read_group(folder / "entry_points.txt", group))
            headers = _read_headers(folder) if lines else {}
            version = one_line(headers.get("version", [version])[0])
            requires = tuple(headers.get("requires-dist", ()))
            found[name] = [
                EntryPoint(distribution=name, version=version, requires=requires, name=key, value=value)
                for key, value in lines
            ]
    return sorted((point for points in found.values() for point in points), key=lambda p: (p.distribution, p.name))


def fingerprint() -> str:
    """Return a digest that changes when a distribution is installed, removed or replaced by another version."""
    return digest("\n".join(map(str, _find_metadata_folders())))


def _find_metadata_folders() -> Iterator[Path]:
    for folder in dict.fromkeys(sys.path):
        try:
            names = sorted(entry.name for entry in os.scandir(folder or "."))
        except (OSError, ValueError):
            continue  # not there, not a folder (an archive), not readable
        yield from (Path(folder, name) for name in names if name.endswith((".dist-info", ".egg-info")))


def _read_group(path: Path, group: str) -> Iterator[tuple[str, str]]:
    section = ""
    for line in _read_lines(path):
        if line.startswith("["):
            section = line.strip("[] ")
        elif line and line[0] not in "#;" and section == group:
            name, _, value = line.partition("=")
            yield one_line(name), value.strip()


def _read_headers(folder: Path) -> dict[str, list[str]]:
    """Return the values of each header by its name in lower case."""
    headers: dict[str, list[str]] = {}
    for line in _read_lines(folder / "METADATA") or _read_lines(folder / "PKG-INFO"):
        if not line:
            break
        name, _, value = line.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    return headers


def _read_lines(path: Path) -> list[str]:
    try:
        text = read_file(path, MAX_MANIFEST).decode(errors="replace")
    except OSError:
        return []
    return [line.strip() for line in text.split("\n")]
