"""Patterns: which tar files a path stands for, and which split each of them belongs to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import glob, has_magic
from itertools import product
from math import prod
from pathlib import Path

from zoo.errors import DataError, UsageError, quote
from zoo.registry.shards import MANIFEST

MAX_FILES = 1_000_000
"""Files that a pattern may stand for."""
SPLIT_NAMES = {
    **{"train": "train", "training": "train", "val": "validation", "valid": "validation"},
    **{"validation": "validation", "test": "test", "testing": "test"},
}


def list_tars(source: Path) -> list[Path]:
    """Return the tar files of a folder, also of those one below, or of a pattern, each once.

    Raises:
        UsageError: a pattern that makes no sense.
        DataError: there is none, or one of them is missing.
    """
    if source.is_dir():
        paths = sorted(path for pattern in ("*.tar", "*/*.tar") for path in source.glob(pattern))
        paths = [path for path in paths if not path.name.startswith(".") and not path.parent.name.startswith(".")]
        if not paths:
            packed = next((path for end in ("*.tar.*", "*.tgz") for path in sorted(source.glob(end))), None)
            fix = f"Unpack {quote(packed.name)} and its like, with gunzip say" if packed else ""
            raise DataError(quote(source), f"it has no .tar files and no {MANIFEST}", fix)
        return paths
    texts = [str(source)] if source.exists() else expand(str(source))
    paths = list(dict.fromkeys(path for text in texts for path in _find(Path(text))))
    missing = [path for path in paths if not path.is_file()]
    if missing:
        fix = f"{len(missing):,} of {len(paths):,} are missing" if len(paths) > 1 else ""
        raise DataError(quote(missing[0]), "it is no file" if missing[0].exists() else "no such file", fix)
    return paths


def _find(path: Path) -> list[Path]:
    """Return the files that a path with `*`, `?` or `[...]` stands for, else the path itself."""
    if path.exists() or not has_magic(str(path)):
        return [path]
    found = sorted(map(Path, glob(str(path), recursive=True)))  # noqa: PTH207 a Path has no root to look from
    if not found:
        raise DataError(quote(path), "no file has such a name")
    return found


def expand(pattern: str) -> list[str]:
    """Return the paths of a pattern: `{000..012}` stands for numbers of as many digits, `{a,b}` for either text."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    if any(brace in part for part in parts[::2] for brace in "{}"):
        raise UsageError(f"{quote(pattern)}: its braces do not go together", fix="Give none within others")
    choices = [[part] if place % 2 == 0 else _list_choices(part) for place, part in enumerate(parts)]
    _check_count(pattern, prod(map(len, choices)))
    return ["".join(chosen) for chosen in product(*choices)]


def _list_choices(text: str) -> list[str]:
    found = re.fullmatch(r"(\d{1,18})\.\.(\d{1,18})", text, re.ASCII)
    if not found:
        return text.split(",")
    first, last = found.groups()
    width = len(first) if first.startswith("0") or len(first) == len(last) else 0
    _check_count(f"{{{text}}}", int(last) - int(first) + 1)
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]


def _check_count(text: str, count: int) -> None:
    if not 0 < count <= MAX_FILES:
        told = f"{count:,} files" if count > 0 else "no files"
        raise UsageError(f"{quote(text)} stands for {told}", f"expected 1 to {MAX_FILES:,}")


def find_folder(paths: Sequence[Path]) -> Path:
    """Return the folder that some files are in, also in folders of it."""
    common: list[str] = []
    for several in zip(*(path.parent.parts for path in paths), strict=False):
        if len(set(several)) > 1:
            break
        common.append(several[0])
    return Path(*common)


def choose_splits(source: Path, folder: Path, paths: Sequence[Path]) -> dict[Path, str]:
    """Return the split of each file in a folder: what a word of its name tells, or of the folders above it.

    Where none tells of one, all are training data.

    Raises:
        DataError: a name tells of two splits, or of none beside others that do.
    """
    told = {path: _find_split(path.relative_to(folder).with_suffix("")) for path in paths}
    odd = next((path for path, split in told.items() if not split), None)
    if odd is not None and any(told.values()):
        why = f"{quote(odd.name)} lies beside files of splits, and its name tells of none"
        raise DataError(quote(source), why, "Name it as they are: train-000000.tar")
    return {path: split or "train" for path, split in told.items()}


def _find_split(path: Path) -> str:
    for name in reversed(path.parts):
        words = re.split(r"[^a-z]+", name.lower())
        found = {SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES}
        if len(found) > 1:
            raise DataError(quote(path), f"its name tells of {' and '.join(sorted(found))}", "Name one split")
        if found:
            return found.pop()
    return ""
