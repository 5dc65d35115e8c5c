"""Fields: the checks of what a spec declares; each raises a ValueError that names the field."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any

from zoo.errors import one_line, show
from zoo.limits import MAX_INT

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
MAX_NAME = 64
# Windows gives these names to devices, so no file or folder can have them there.
DEVICE_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}
DOTTED = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
MD5_PATTERN = re.compile(r"[0-9a-f]{32}")
# http is for this very machine only, where tests and local mirrors need it. Addresses are shown, so they are printable.
URL_PATTERN = re.compile(r"(https://[!-~]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?/[!-~]*)")
# Nested deeper than this, data are refused before Python runs out of stack.
MAX_DEPTH = 20
# Characters of a relative path, and of a key that an error shows.
MAX_SHOWN = 200


def check_name(name: object, field: str = "name") -> str:
    """Return `name` when it may name a plugin or an entry; `field` is what errors call it.

    Raises:
        ValueError: it is not text of `[a-z0-9]([a-z0-9._-]*[a-z0-9])?`, is longer than 64 characters, or is the
            name of a device on Windows.
    """
    if not isinstance(name, str) or len(name) > MAX_NAME or not NAME_PATTERN.fullmatch(name):
        # Escaped, because letters of other alphabets look like Latin ones.
        got = show(name).encode("ascii", "backslashreplace").decode()
        form = f"lower-case letters, digits, '.', '_' and '-', at most {MAX_NAME}"
        raise ValueError(f"{field}: expected {form}, got {got}")
    if name.partition(".")[0] in DEVICE_NAMES:
        raise ValueError(f"{field}: {name!r} is the name of a device on Windows")
    return name


def check_text(spec: object, *names: str) -> None:
    """Check that the fields are text, and fold each into one printable line."""
    for name in names:
        value = getattr(spec, name)
        if not isinstance(value, str):
            raise ValueError(f"{name}: expected text, got {show(value)}")
        # Shown in lists: one line, and nothing that drives a terminal.
        object.__setattr__(spec, name, one_line(value))


def is_int64(value: int) -> bool:
    """Tell whether torch, numpy and other readers of a file can hold a whole number."""
    return -MAX_INT - 1 <= value <= MAX_INT


def check_int(name: str, value: object, low: int) -> None:
    """Check for a whole number of at least `low`; True and False are none."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name}: expected a whole number of at least {low}, got {show(value)}")


def freeze_map(spec: object, name: str) -> None:
    """Replace a mapping by a read-only copy, so that a spec is safe to share."""
    value = getattr(spec, name)
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise ValueError(f"{name}: expected a table of name = value, got {show(value)}")
    for key, item in value.items():
        check_plain(f"{name}.{key}", item)
    object.__setattr__(spec, name, MappingProxyType(dict(value)))


def check_plain(name: str, value: object, depth: int = 0) -> None:
    """Refuse what JSON cannot hold: it could be neither listed nor stored with the weights."""
    if isinstance(value, list | tuple | dict) and depth < MAX_DEPTH:
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name}: expected a table with names as keys, got {show(value)}")
        for item in value.values() if isinstance(value, dict) else value:
            check_plain(name, item, depth + 1)
    elif not (
        value is None
        or isinstance(value, str | bool)
        or (isinstance(value, int) and is_int64(value))
        or (isinstance(value, float) and math.isfinite(value))
    ):
        kinds = "text, true or false, finite numbers of 64 bits, lists and tables of them"
        raise ValueError(f"{name}: expected plain data ({kinds}), got {show(value)}")


def freeze_texts(spec: object, name: str) -> None:
    """Replace a list of texts by a tuple."""
    value = getattr(spec, name)
    if isinstance(value, str) or not all(isinstance(item, str) for item in read_list(name, value)):
        raise ValueError(f"{name}: expected a list of texts, got {show(value)}")
    object.__setattr__(spec, name, tuple(value))


def freeze_names(spec: object, name: str) -> None:
    """Replace a list of names by a tuple."""
    freeze_texts(spec, name)
    for item in getattr(spec, name):
        check_name(item)


def freeze_shape(spec: object, name: str, *, any_size: bool = False) -> None:
    """Replace a shape, where one is declared, by a tuple of positive sizes; `any_size` allows "*" among them."""
    if getattr(spec, name) is not None:
        shape = read_list(name, getattr(spec, name))
        for size in shape:
            if not (any_size and size == "*"):
                check_int(name, size, 1)
        object.__setattr__(spec, name, shape)


def read_list(name: str, value: object) -> tuple[Any, ...]:
    """Return the items of a list or tuple."""
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name}: expected a list, got {show(value)}")
    return tuple(value)


def check_relative(name: str, path: object) -> None:
    """Refuse a path that could leave the folder it is meant for, on any operating system."""
    parts = path.split("/") if isinstance(path, str) and len(path) <= MAX_SHOWN else []
    if not parts or not all(map(_is_file_name, parts)):
        raise ValueError(f"{name}: expected a relative path of plain names joined by '/', got {show(path)}")


def check_package_path(name: str, value: object) -> None:
    """Check for a path, or one inside a package, `"package:path"`."""
    if not isinstance(value, str):
        raise ValueError(f"{name}: expected text, got {show(value)}")
    package, colon, path = value.rpartition(":")
    check_relative(name, path)
    if colon and not re.fullmatch(DOTTED, package):
        raise ValueError(f"{name}: expected 'package:path' or a path, got {show(value)}")


def check_factory(name: str, value: object) -> None:
    """Check for something to call, or for where it is, `"package.module:object"`."""
    if not callable(value) and not (isinstance(value, str) and re.fullmatch(f"{DOTTED}:{DOTTED}", value)):
        raise ValueError(f"{name}: expected 'package.module:object' or a callable, got {show(value)}")


def _is_file_name(part: str) -> bool:
    return (
        re.fullmatch(r'[^\\:*?"<>|]+', part) is not None
        and part.isprintable()
        and part.strip(" ") == part
        and not part.endswith(".")
        and part.partition(".")[0].lower() not in DEVICE_NAMES
    )


def check_url(name: str, url: object) -> None:
    """Check for an https address, or an http one of this very machine."""
    if not isinstance(url, str) or not URL_PATTERN.fullmatch(url):
        raise ValueError(f"{name}: expected an https:// address, got {show(url)}")


def check_sha256(name: str, value: object) -> None:
    """Check for a SHA-256 in lower-case hexadecimal."""
    if not isinstance(value, str) or not SHA256_PATTERN.fullmatch(value):
        raise ValueError(f"{name}: expected a SHA-256 of 64 lower-case hexadecimal digits, got {show(value)}")


def check_md5(name: str, value: object) -> None:
    """Check for an MD5 in lower-case hexadecimal."""
    if not isinstance(value, str) or not MD5_PATTERN.fullmatch(value):
        raise ValueError(f"{name}: expected an MD5 of 32 lower-case hexadecimal digits, got {show(value)}")


def check_reference(key: str, value: object) -> None:
    """Refuse what is no name of an entry, bare or as `plugin/name`."""
    parts = value.split("/") if isinstance(value, str) else []
    if not 1 <= len(parts) <= 2:
        raise ValueError(f"{key}: expected a name or plugin/name, got {show(value)}")
    for part in parts:
        check_name(part, key)


def check_numbers(key: str, values: Mapping[str, Any]) -> None:
    """Refuse a table with a value that is no number."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{key}.{name}: expected a number, got {show(value)}")


def make_absolute(path: str | os.PathLike[str], folder: str | Path = "") -> str:
    """Return a path from a folder, the current one unless another is given, with the home folder in place of `~`."""
    with suppress(RuntimeError):  # there is no such user, and so no such file either
        path = Path(path).expanduser()
    return os.path.abspath(Path(folder, path))  # noqa: PTH100 it folds `..` too, and follows no links
