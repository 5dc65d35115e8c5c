"""Downloads: the files of a data set, from several sources, checked by size and checksum before they appear."""

from __future__ import annotations

import hashlib
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from zoo.errors import DownloadError, StorageError
from zoo.registry.mirrors import list_mirrors, place_on
from zoo.registry.parts import Part, find_parts, make_key, remove_old_parts
from zoo.registry.specs import FileSpec
from zoo.registry.transfers import SourceError, download, name_host
from zoo.registry.unpacking import check_unpacked
from zoo.registry.verification import ELSEWHERE, check_file, remember
from zoo.storage.files import check_writable
from zoo.storage.folders import zoo_home
from zoo.storage.locks import lock

LOCK_TIMEOUT = 3600.0
"""Seconds to wait for another process that fetches the same file."""
# A source that is busy or breaks off is tried TRIES times in a row without PROGRESS, in bytes, with a pause of BACK_OFF
# seconds that doubles each time. One that says when to come back is believed up to MAX_PAUSE seconds; a pause from TOLD
# seconds on is told.
TRIES, PROGRESS, BACK_OFF, MAX_PAUSE, TOLD = 3, 1 << 20, 1.0, 30.0, 5.0
BY_HAND = "add them: zoo.data_add({!r}, 'FILE'), or use data_dir=... for a folder that has them under these names."
Report = Callable[[str], None]


def fetch_files(
    files: Sequence[FileSpec],
    root: Path,
    *,
    offline: bool = False,
    name: str,
    homepage: str = "",
    report: Report = lambda _: None,
) -> None:
    """Fetch the missing files of data set `name` into `root`, and verify those that are there.

    Mirrors of the user's own are asked first, see `zoo.registry.mirrors`.
    Files that are there are only read. What came of a file before a download broke off is kept beside its place, and
    not asked for again. `report` gets a line when a download starts. `homepage` is where an error tells people to get
    what cannot be fetched.

    Raises:
        DataError: a file is there but is not the one declared, or does not unpack to what is; it is never replaced.
        DownloadError: a file is missing and `offline`, or no source has it.
        StorageError: a file cannot be read or written, or the disk is too small.
        SettingError: a mirror is no address.
    """
    root, mirrors = root.absolute(), list_mirrors()
    missing = [file for file in files if not _is_there(file, root, name)]
    what, paths, by_hand = f"cannot download {name}", [file.path for file in missing], BY_HAND.format(name)
    if offline and missing:
        fix = f"Run with offline=False, or get them and {by_hand}"
        fix = fix if mirrors or any(file.urls for file in missing) else f"Get them and {by_hand}"
        raise DownloadError(what, f"offline and not there: {', '.join(paths)} in {root}", fix)
    _check_space(missing, root)
    useless: dict[str, SourceError] = {}
    for number, file in enumerate(missing):
        # A link in the place of the file gives way; folders may be links to another disk.
        path = (root / file.path).parent.resolve() / Path(file.path).name
        urls = [*(place_on(mirror, file.path) for mirror in mirrors), *file.urls]
        # Not beside the file: a data folder may be read-only, and holds nothing but data.
        held = zoo_home() / "locks" / f"{hashlib.sha256(bytes(path)).hexdigest()[:32]}.lock"
        waiting = f"waiting for another process that fetches {path.name}"
        with lock(held, timeout=LOCK_TIMEOUT, wait=partial(report, waiting)):
            # The lock only saves work: another process may have fetched the file, and never shows half of one.
            causes = [] if _is_there(file, root, name) else _try_sources(file, urls, path, useless, report)
        if causes:
            why = f"{file.path}: {'; '.join(causes)}"
            where = "elsewhere" if file.urls or not homepage else f"from {homepage}"
            raise DownloadError(what, why, f"Get {', '.join(paths[number:])} {where} and {by_hand}")
        check_unpacked(path, file, name)


def _is_there(file: FileSpec, root: Path, name: str) -> bool:
    """Tell whether the file or its unpacked form is there; each one that is there must be right, as it may be read."""
    found = check_file(root / file.path, file.size, file.digest, name, file.algorithm)
    if found:
        check_unpacked(root / file.path, file, name)
    if file.unpacked_size is not None and file.unpacked_sha256 is not None:
        unpacked = root / file.path.removesuffix(".gz")
        found |= check_file(unpacked, file.unpacked_size, file.unpacked_sha256, name)
    return found


def _check_space(files: Sequence[FileSpec], root: Path) -> None:
    """Raise StorageError where a disk has no room for what it lacks of these files. Of some the size is not known."""
    needed: dict[int, int] = defaultdict(int)
    folders: dict[int, Path] = {}
    for file in files:
        path = root / file.path
        folder = next(folder for folder in path.parents if folder.exists())
        here = max((part.size for part in find_parts(path) if not part.is_busy), default=0)
        needed[folder.stat().st_dev] += max(0, (file.size or 0) - here)
        folders[folder.stat().st_dev] = folder
    for device, folder in folders.items():
        if (free := shutil.disk_usage(folder).free) < needed[device]:
            why = f"expected {needed[device] / 1e6:.1f} MB of free space, got {free / 1e6:.1f} MB"
            raise StorageError(f"cannot download into {root}", why, ELSEWHERE)


def _try_sources(
    file: FileSpec, urls: Sequence[str], path: Path, useless: dict[str, SourceError], report: Report
) -> list[str]:
    """Try the sources in turn; return why each failed, or nothing. Hosts that are down are noted in `useless`."""
    check_writable(path.parent, fix=ELSEWHERE)
    remove_old_parts(path.parent)
    causes = []
    for url in urls:
        host = name_host(url)
        try:
            if host in useless:
                raise useless[host]
            with closing(Part(path, make_key(url, file.digest))) as part:
                report(f"downloading {path.name}{_describe_size(file, part)} from {host}")
                _download_patiently(url, file, part, report)
                part.finish()
            remember(path, path.stat(), file.algorithm, file.digest)
            return []
        except SourceError as error:
            causes.append(f"{host}: {error}")
            if error.host:
                useless[host] = error
    return causes or ["no source is declared"]


def _describe_size(file: FileSpec, part: Part) -> str:
    known = [] if file.size is None else [f"{file.size / 1e6:.1f} MB"]
    known += [f"the first {part.size / 1e6:.1f} MB are here"] if part.size else []
    return f" ({', '.join(known)})" if known else ""


def _download_patiently(url: str, file: FileSpec, part: Part, report: Report) -> None:
    """Try until the part is the whole file, as often as there is hope; raise SourceError or StorageError."""
    failures, ranges, most = 0, True, part.size
    while True:
        try:
            return download(url, file, part, ranges=ranges)
        except StorageError:
            part.discard()
            raise
        except SourceError as error:
            if error.apart and ranges:
                # Another version, or a server that says one thing and does another: once more from the start.
                part.restart()
                ranges = False
                continue
            failures = 0 if part.size >= most + PROGRESS else failures + 1
            most = max(most, part.size)
            if not error.again or failures == TRIES:
                raise
            pause = max(BACK_OFF * 2 ** max(0, failures - 1), min(error.pause, MAX_PAUSE))
            if pause >= TOLD:
                report(f"{name_host(url)}: {error}, asked again in {pause:g} s")
            time.sleep(pause)
