"""TOML: files of it read with care, and single values written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import describe
from zoo.storage.reading import explain, read_file

# tomllib takes time quadratic in the parts of a dotted key. Real files stay far below this limit.
MAX_DOTS_SQUARED = 4_000_000


def read_toml(path: Path, most: int) -> dict[str, Any]:
    """Return the tables of a file of at most `most` bytes; raise ValueError, with the reason, where there are none."""
    import tomllib  # most commands find in the index what the manifests say

    try:
        text = read_file(path, most).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot be read: {explain(error)}") from error
    cost = 0
    for number, line in enumerate(text.split("\n"), start=1):
        cost += line.count(".") ** 2
        if cost > MAX_DOTS_SQUARED:
            raise ValueError(f"line {number}: more dots than any file needs")
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not TOML: {describe(error)}") from error


def write_value(value: Any) -> str:
    """Return a plain value as TOML, on one line; raise ValueError for one that TOML does not have, None say."""
    if isinstance(value, Mapping):
        parts = [f"{write_key(key)} = {write_value(each)}" for key, each in value.items()]
        return f"{{ {', '.join(parts)} }}" if parts else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(write_value, value))}]"
    if isinstance(value, str):
        # JSON escapes what TOML does, but for the character 127.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool | int | float):
        return json.dumps(value, allow_nan=False)
    raise ValueError(f"TOML has no {type(value).__name__}")


def write_key(key: str) -> str:
    """Return a name as a key: as it is where that is possible, else in quotes."""
    plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if plain else write_value(key)
