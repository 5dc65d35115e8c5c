"""Matrix file: the TOML that says which models, data sets and seeds a matrix has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zoo.errors import SettingError, UsageError, ZooError, quote, suggest
from zoo.limits import MAX_CONFIG
from zoo.registry.settings import check_settings
from zoo.storage.toml import read_toml


def read_matrix(path: Path) -> dict[str, Any]:
    """Read the TOML file of a matrix; raise UsageError for one that cannot be used, or that has an unknown key."""
    forms: dict[str, tuple[str, Callable[[Any], bool]]] = {
        **dict.fromkeys(("models", "datasets", "metrics", "plugins"), ("a list of texts", _are_texts)),
        "seeds": ("a whole number of at least 1", lambda value: type(value) is int and value > 0),
        "recipe": ("a text", lambda value: isinstance(value, str)),
        "train": ("a table of settings", lambda value: isinstance(value, dict)),
        **dict.fromkeys(("params", "dataset_params"), ("a table of tables by name", _are_tables)),
    }
    try:
        table = read_toml(path.expanduser(), MAX_CONFIG)
    except (ValueError, RuntimeError) as error:
        raise UsageError(f"study {str(path)!r}", str(error)) from error
    for key, value in table.items():
        if key not in forms:
            fix = suggest(key, forms, f"Known: {', '.join(forms)}")
            raise UsageError(f"study {path}: no key {quote(key)}", fix=fix)
        expected, is_right = forms[key]
        if not is_right(value):
            raise SettingError(f"study {path}: {key}", f"expected {expected}", value)
    try:
        check_settings(table.get("train", {}))
    except ZooError as error:
        for problem in error.problems:
            problem.what = f"study {path}: {problem.what}"
        raise
    plugins = [str(path.expanduser().parent / Path(plugin).expanduser()) for plugin in table.get("plugins", ())]
    return {**table, "plugins": plugins}


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) and each for each in value)


def _are_tables(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(each, dict) for each in value.values())
