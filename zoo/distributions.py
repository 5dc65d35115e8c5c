"""Entry points of installed distributions, cached: walking all metadata is the slowest thing `zoo list` would do."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from zoo.errors import StorageError
from zoo.storage import write_file, zoo_home


@dataclass(frozen=True, kw_only=True)
class EntryPoint:
    """One line of an installed distribution's entry points."""

    distribution: str
    version: str
    name: str
    value: str


def find_entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of `group`, sorted by distribution and name, importing no distribution's code.

    The cache is keyed by what lies on `sys.path`: installing, removing or editing a distribution changes the key. A
    cache that cannot be read or written only costs time.
    """
    environment = hashlib.sha256("\0".join([group, *sys.path]).encode(errors="surrogatepass")).hexdigest()[:16]
    cache = zoo_home() / "cache" / f"entry-points-{environment}.json"
    fingerprint = _fingerprint()
    try:
        stored = json.loads(cache.read_bytes())
        if stored["fingerprint"] == fingerprint:
            return [EntryPoint(**item) for item in stored["entry_points"]]
    except (OSError, ValueError, TypeError, KeyError):
        pass  # missing or damaged: made anew below
    found = _walk(group)
    content = json.dumps({"fingerprint": fingerprint, "entry_points": [asdict(item) for item in found]})
    try:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_file(cache, content.encode(), what="the cache of entry points")
    except (OSError, StorageError):
        pass  # a read-only home: works, but slower
    return found


def _walk(group: str) -> list[EntryPoint]:
    from importlib.metadata import distributions

    found: dict[str, list[EntryPoint]] = {}
    for distribution in distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-").replace(".", "-")
        # The first of a name on sys.path is the one that gets imported; later copies are shadowed.
        if name and name not in found:
            found[name] = [
                EntryPoint(distribution=name, version=distribution.version or "", name=point.name, value=point.value)
                for point in distribution.entry_points
                if point.group == group
            ]
    return sorted((point for points in found.values() for point in points), key=lambda p: (p.distribution, p.name))


def _fingerprint() -> str:
    digest = hashlib.sha256()
    for folder in sys.path:
        try:
            names = sorted(entry.name for entry in os.scandir(folder or ".") if entry.name.endswith("-info"))
        except OSError:
            continue
        for name in names:
            path = Path(folder, name, "entry_points.txt")
            stamp = path.stat().st_mtime_ns if path.is_file() else 0
            digest.update(f"{folder}\0{name}\0{stamp}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()
