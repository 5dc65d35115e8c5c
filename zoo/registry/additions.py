"""Additions: files that a person got by hand, recognised by their content and brought to their place."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from zoo.display import align
from zoo.errors import DataError, ErrorCollector, StorageError, UsageError, quote
from zoo.registry.arguments import checked
from zoo.registry.entries import Entry, Registry
from zoo.registry.inventory import DataState, list_forms, take_inventory
from zoo.registry.parts import PATTERN, remove_parts
from zoo.registry.places import open_places
from zoo.registry.specs import DatasetSpec
from zoo.registry.verification import ELSEWHERE, NAMES, check_file, new_digest, remember
from zoo.storage.files import check_writable, describe_file, place_file, write_file
from zoo.storage.reading import explain, open_regular

log = logging.getLogger("zoo")
CHUNK = 1 << 20
MAX_SIZES = 6
"""Declared sizes that a message names."""


@dataclass(frozen=True, kw_only=True)
class AddedFile:
    """A file that was recognised.

    Fields:
        source: Where it was.
        path: Its place under the data folder.
        how: `copied`, `moved`, or `already there` where nothing was to be done.
    """

    source: str
    path: str
    how: str


@dataclass(frozen=True, kw_only=True, repr=False)
class Addition:
    """What came of files that were given for a data set.

    Fields:
        data_dir: The data folder.
        added: The files that were recognised.
        ignored: How many files in the folders given are none of the data set's.
        dataset: The data set as it is now.
    """

    data_dir: Path
    added: tuple[AddedFile, ...]
    ignored: int
    dataset: DataState

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        added = [asdict(file) for file in self.added]
        told = {"data_dir": str(self.data_dir), "added": added, "ignored": self.ignored}
        return {**told, "dataset": self.dataset.to_dict()}

    def __repr__(self) -> str:
        rows = [(file.how, file.path, f"from {file.source}") for file in self.added]
        return align([*rows, (self.dataset.name, self.dataset.state, "")])


@dataclass(frozen=True)
class _Form:
    """A file that is wanted: its place under the data folder, and its content."""

    path: str
    size: int | None
    digest: str
    algorithm: str


@checked
def data_add(
    name: str,
    paths: str | Path | Sequence[str | Path],
    *,
    move: bool = False,
    data_dir: str | Path | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Addition:
    """Bring files of a data set that a person got by hand to their place in the data folder.

    `paths` are files, or folders that are searched. A file is recognised by its size and checksum, whatever it is
    called, packed or unpacked. It is copied, or with `move` moved, and appears whole or not at all; a file that is
    there is never replaced.

    Raises:
        UnknownNameError, UsageError: there is no such data set, or it declares no files.
        DataError: a file is none of the data set's, a folder has none of them, or another file is at the place of one;
            what was recognised was added all the same.
        StorageError: a file cannot be read or written.
    """
    places = open_places(registry, plugins, data_dir=data_dir)
    entry, root = places.registry.get("dataset", name), places.data_dir
    if not entry.spec.files:
        raise UsageError(f"dataset {quote(entry.short_name)} declares no files", fix="There is nothing to add")
    forms = [_Form(*form) for file in entry.spec.files for form in list_forms(file)]
    errors, added, ignored = ErrorCollector(), dict[str, AddedFile](), 0
    for given in [paths] if isinstance(paths, str | Path) else paths:
        folder, before, seen = Path(given).is_dir(), len(added) + len(errors.errors), 0
        for source in _walk(Path(given)) if folder else [Path(given)]:
            seen += 1
            with errors.catch():
                found = _recognise(source, forms, entry, strict=not folder)
                ignored += not found
                for form in found:
                    if form.path not in added:
                        added[form.path] = _bring(source, form, root, entry, move=move)
        if folder and len(added) + len(errors.errors) == before:
            why = f"it has {seen} files, none of which has the size and checksum of one"
            errors.errors.append(DataError(f"{given} has no file of {entry.short_name}", why, _describe_sizes(forms)))
    errors.raise_any()
    state = take_inventory([entry], root).datasets[0]
    return Addition(data_dir=root, added=tuple(added.values()), ignored=ignored, dataset=state)


def _walk(folder: Path) -> Iterator[Path]:
    """Return the files under a folder in order; links to folders are not followed, parts of downloads are none."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in sorted(names) if not PATTERN.fullmatch(name))


def _recognise(source: Path, forms: Sequence[_Form], entry: Entry[DatasetSpec], *, strict: bool) -> list[_Form]:
    """Return which of the wanted files a file is.

    Raises:
        DataError: it is none, though a person named it, or though it is called like one.
        StorageError: it cannot be read.
    """
    alike = [form for form in forms if Path(form.path).name == source.name]
    try:
        with open_regular(source) as stream:
            size = os.fstat(stream.fileno()).st_size
            digests: dict[str, str] = {}
            possible = [form for form in forms if form.size in (None, size)]
            for algorithm in {form.algorithm for form in possible}:
                stream.seek(0)
                digests[algorithm] = hashlib.file_digest(stream, partial(new_digest, algorithm)).hexdigest()
            stream.seek(0)
            head = stream.read(512).lower()
    except OSError as error:
        if not strict:
            return []
        raise StorageError(f"cannot read {source}", explain(error)) from error
    if found := [form for form in possible if digests[form.algorithm] == form.digest]:
        return found
    if not strict and not alike:
        return []
    meant = alike or [form for form in possible if form.size is not None]
    page = "It is a web page, perhaps of a login" if b"<html" in head else ""
    if len(meant) != 1:
        raise DataError(
            f"{source} is no file of {entry.short_name}", f"got {size} bytes", page or _describe_sizes(forms)
        )
    (form,) = meant
    why = f"expected {form.size} bytes, got {size}"
    if form.size in (None, size):
        why = f"expected {NAMES[form.algorithm]} {form.digest}, got {digests[form.algorithm]}"
    raise DataError(f"{source} is not {form.path} of {entry.short_name}", why, page or "Get it again")


def _describe_sizes(forms: Sequence[_Form]) -> str:
    sizes = [f"{Path(form.path).name} has {form.size} bytes" for form in forms if form.size is not None]
    more = f" and {len(sizes) - MAX_SIZES} more" if len(sizes) > MAX_SIZES else ""
    return (
        f"Expected: {', '.join(sizes[:MAX_SIZES])}{more}" if sizes else "An archive around the files is unpacked first"
    )


def _bring(source: Path, form: _Form, root: Path, entry: Entry[DatasetSpec], *, move: bool) -> AddedFile:
    """Copy or move a file that was recognised to its place."""
    target, how = root / form.path, "already there"
    if not check_file(target, form.size, form.digest, entry.short_name, form.algorithm):
        check_writable(target.parent, fix=ELSEWHERE)
        path = target.parent.resolve() / target.name
        moved = move and not source.is_symlink() and source.stat().st_dev == path.parent.stat().st_dev
        _move(source, path, form) if moved else _copy(source, path, form)
        if move and not moved and not source.is_symlink():
            source.unlink()
        remember(path, path.stat(), form.algorithm, form.digest)
        remove_parts(path)
        how = "moved" if move and not source.exists() else "copied"
    log.info("%s %s from %s", how, form.path, source)
    return AddedFile(source=str(source), path=form.path, how=how)


def _copy(source: Path, path: Path, form: _Form) -> None:
    size = source.stat().st_size
    if (free := shutil.disk_usage(path.parent).free) < size:
        why = f"expected {size / 1e6:.1f} MB of free space, got {free / 1e6:.1f} MB"
        raise StorageError(f"cannot copy {source} to {path.parent}", why, ELSEWHERE)

    def read() -> Iterator[bytes]:
        with open_regular(source) as stream:
            while chunk := stream.read(CHUNK):
                yield chunk

    write_file(path, read(), what=path.name, fix=ELSEWHERE, check=lambda part: _check_still(part, source, form))


def _move(source: Path, path: Path, form: _Form) -> None:
    before = describe_file(source)
    _check_still(source, source, form)
    place_file(source, path, what=path.name, fix=ELSEWHERE)
    if replace(describe_file(path), path=before.path) != before:
        _check_still(path, source, form)


def _check_still(path: Path, source: Path, form: _Form) -> None:
    """Raise DataError unless a file has the content by which its source was recognised."""
    with open_regular(path) as stream:
        got = hashlib.file_digest(stream, lambda: new_digest(form.algorithm)).hexdigest()
    if got != form.digest:
        raise DataError(f"{source} changed while it was read", fix="Add it when nobody writes it any more")
