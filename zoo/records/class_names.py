"""Class names: those of a file, as programs write them: a text of lines, JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.errors import SettingError, describe
from zoo.limits import MAX_CLASSES, MAX_RECORD
from zoo.records.header import Bounds, parse_json
from zoo.storage.reading import explain, read_file

NAME_COLUMNS = ("name", "class", "class_name", "label")
INDEX_COLUMNS = ("index", "idx", "id", "class_id", "target")
FORMS = "one name a line, a JSON list, a JSON table of names by number, or CSV with the columns index and name"


def read_class_names(path: Path) -> tuple[str, ...]:
    """Return the class names in a file, the name of class 0 first.

    A `.json` file holds a list of names, a table of names by number (`{"0": "cat"}`; of a pair of a code and a name the
    name counts), one of numbers by name, or any of these under `id2label`. A `.csv` or `.tsv` file has one column of
    names, or numbers and names; a first row with the name of a column is its head. Any other file has one name a line.

    Raises:
        SettingError: it cannot be read, or is none of these.
    """
    try:
        text = read_file(path, MAX_RECORD).decode("utf-8-sig")
        suffix = path.suffix.lower()
        if suffix == ".json":
            names = _read_json(parse_json(text.encode(), Bounds(depth=4)))
        elif suffix in (".csv", ".tsv"):
            names = _read_rows(list(csv.reader(io.StringIO(text), delimiter="\t" if suffix == ".tsv" else ",")))
        else:
            names = [line.strip() for line in text.rstrip().splitlines()]
        if empty := [index for index, name in enumerate(names) if not name]:
            raise ValueError(f"class {empty[0]} has no name")
        if not 1 <= len(names) <= MAX_CLASSES:
            raise ValueError(f"it has {len(names)} names, expected 1 to {MAX_CLASSES}")
    except UnicodeDecodeError as error:
        why = f"{path} is not UTF-8 text (byte {error.start})"
        raise SettingError("class_names", why, fix="Save it as UTF-8") from error
    except OSError as error:
        raise SettingError("class_names", f"{path} cannot be read: {explain(error)}") from error
    except (ValueError, csv.Error, RecursionError) as error:
        why = str(error) if type(error) is ValueError else describe(error)
        raise SettingError("class_names", f"{path}: {why}", fix=f"Give {FORMS}") from error
    return tuple(names)


def _read_json(value: Any) -> list[str]:
    if isinstance(value, dict) and isinstance(value.get("id2label"), dict):
        value = value["id2label"]
    if isinstance(value, dict) and value and all(type(index) is int for index in value.values()):
        return _order({str(index): name for name, index in value.items()}, len(value))
    if isinstance(value, dict):
        return _order(value, len(value))
    if isinstance(value, list):
        return [_read_name(name) for name in value]
    raise ValueError("it holds neither a list nor a table")


def _order(table: Mapping[str, Any], count: int) -> list[str]:
    """Return the values of a table in the order of its keys, the numbers from 0 on."""
    if missing := [index for index in range(count) if str(index) not in table]:
        raise ValueError(f"no name for class {missing[0]}, expected {count} classes from 0 on")
    return [_read_name(table[str(index)]) for index in range(count)]


def _read_name(value: Any) -> str:
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        value = value[-1]  # the code of a class in its data set, then its name
    if not isinstance(value, str):
        raise ValueError(f"expected names as texts, got a {type(value).__name__}")
    return value.strip()


def _read_rows(rows: Sequence[Sequence[str]]) -> list[str]:
    rows = [[cell.strip() for cell in row] for row in rows if row]
    head = [cell.lower() for cell in rows[0]] if rows else []
    name = next((head.index(column) for column in NAME_COLUMNS if column in head), None)
    index = next((head.index(column) for column in INDEX_COLUMNS if column in head), None)
    if name is not None:
        rows = rows[1:]
    elif {len(row) for row in rows} == {1}:
        name, index = 0, None
    elif {len(row) for row in rows} == {2}:
        name, index = 1, 0
    else:
        raise ValueError(f"no column is called {', '.join(NAME_COLUMNS)}")
    columns = [column for column in (name, index) if column is not None]
    if short := [number for number, row in enumerate(rows, start=1) if len(row) <= max(columns)]:
        raise ValueError(f"row {short[0]} of the names has too few columns")
    if index is None:
        return [row[name] for row in rows]
    table = {row[index]: row[name] for row in rows}
    if len(table) < len(rows):
        raise ValueError("a class has two names")
    return _order(table, len(rows))
