"""Lists of pictures: a CSV file, or a JSON object a line, with path, label and perhaps split."""

from __future__ import annotations

import csv
import io
import json
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo import DataError

LISTS = (".csv", ".jsonl")
SPLITS = ("train", "validation", "test")
NAMES = {**{split: split for split in SPLITS}, "training": "train", "val": "validation", "valid": "validation"}
"""The splits by the names that a list may give them."""
COLUMNS = ("path", "label", "split")
MAX_LIST = 1 << 30
"""Bytes of a list."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture file, its class, its split or an empty text, and where it lies, in the same words on every machine."""

    file: Path
    label: str
    split: str
    place: str


def read_list(source: Path) -> list[Picture]:
    """Return the pictures of a list; paths are from its folder.

    Raises:
        DataError: it cannot be read, or a row does not say clearly what is meant; names the line.
    """
    pictures: list[Picture] = []
    lines: dict[Path, int] = {}
    for line, row in _read_rows(source):
        where = f"{source}, line {line}"
        file, place = _find_file(source, where, row["path"])
        if file in lines:
            raise DataError(where, f"{place!r} is in line {lines[file]} already", "Keep one of the two lines")
        lines[file] = line
        if not row["label"]:
            raise DataError(where, "the label is empty")
        split = NAMES.get(row["split"].lower(), "")
        if row["split"] and not split:
            raise DataError(where, f"no split {row['split']!r}", f"Splits are {', '.join(SPLITS)}")
        pictures.append(Picture(file=file, label=row["label"], split=split, place=place))
    if not pictures:
        raise DataError(str(source), "it lists no pictures")
    without = [picture for picture in pictures if not picture.split]
    if without and len(without) < len(pictures):
        raise DataError(f"{source}, line {lines[without[0].file]}", "no split, as other lines have", "Give all or none")
    return pictures


def _read_rows(source: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows of a list with the numbers of their lines; what a row may lack is an empty text."""
    try:
        if source.stat().st_size > MAX_LIST or not source.is_file():
            raise DataError(str(source), f"expected a file of at most {MAX_LIST} bytes")
        text = source.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(str(source), f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(str(source), f"it is not UTF-8: {error.reason}", "Save it as UTF-8") from error
    read = _read_csv if source.suffix.lower() == ".csv" else _read_jsonl
    for line, row in read(source, text):
        for column in COLUMNS:
            value = row.get(column, "")
            if isinstance(value, bool) or not isinstance(value, str | int):
                what = f"{column}: expected a text, got {value!r}"[:200]
                raise DataError(f"{source}, line {line}", what)
        told = {column: str(row.get(column, "")).strip() for column in COLUMNS}
        yield line, {**told, "label": unicodedata.normalize("NFC", told["label"])}


def _read_csv(source: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in next(rows, [])]
        for column in COLUMNS[:2]:
            if column not in header:
                fix = "The first line names the columns: path,label or path,label,split, with commas between them"
                raise DataError(f"{source}, line 1", f"no column {column!r}, got {', '.join(header)[:100]!r}", fix)
        if twice := [name for name in COLUMNS if header.count(name) > 1]:
            raise DataError(f"{source}, line 1", f"two columns {twice[0]!r}")
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                what = f"expected {len(header)} values, got {len(row)}"
                raise DataError(f"{source}, line {rows.line_num}", what, "Put a value with a comma in quotes")
            yield rows.line_num, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise DataError(f"{source}, line {rows.line_num}", str(error)) from error


def _read_jsonl(source: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not splitlines(): JSON may hold other ends of lines inside a text.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{source}, line {number}", f"no JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{source}, line {number}", f"expected an object with path and label, got {line[:60]!r}")
        for column in COLUMNS[:2]:
            if column not in row:
                raise DataError(f"{source}, line {number}", f"no {column!r}, got {', '.join(map(str, row))[:100]!r}")
        yield number, row


def _find_file(source: Path, where: str, path: str) -> tuple[Path, str]:
    """Return a listed file, and its path from the folder of the list."""
    if not path:
        raise DataError(where, "the path is empty")
    if "\0" in path:
        raise DataError(where, f"no such file: {path!r}")
    if not Path(os.path.normpath(source.parent / path)).is_relative_to(source.parent):
        fix = "Put the list above its pictures, and give their paths from there"
        raise DataError(where, f"{path!r} is outside the folder of the list", fix)
    # A disk may compose the characters of a name in another way than the list.
    forms = dict.fromkeys([path, *(unicodedata.normalize(form, path) for form in ("NFC", "NFD"))])
    for file in (Path(os.path.normpath(source.parent / form)) for form in forms):
        if file.is_file():
            return file, unicodedata.normalize("NFC", file.relative_to(source.parent).as_posix())
    raise DataError(where, f"no such file: {path!r}")
