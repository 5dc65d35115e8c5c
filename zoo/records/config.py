"""Config: a file that says all of a run, read for `zoo run --config`, and written as `zoo run --dry-run` prints it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.errors import ErrorCollector, SettingError, UnknownSettingError, UsageError, closest, quote, show, suggest
from zoo.limits import MAX_CONFIG
from zoo.registry.fields import check_plain
from zoo.registry.settings import check_settings, list_settings
from zoo.storage.toml import read_toml, write_key, write_value

TABLES = ("params", "dataset_params", "metric_params", "log_params", "train")
"""The keys that are tables; they come after the others."""
NESTED = ("metric_params", "log_params")
"""Those that hold a table for each name."""
WIDE = 40
"""Characters of a line up to which comments stand below each other."""


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a config file says of a run; None and empty mean that it says nothing of it.

    Fields:
        recipe: A recipe, whose values hold where the file has none.
        model: The model.
        dataset: The data set.
        init: Weights that the model starts from: a path beside the file, or any reference.
        freeze: Shell patterns; parameters with such names are not trained.
        metrics: The metrics.
        log: The loggers.
        seeds: Train so many times, each with the next seed.
        course_style: Whether there are the averages of the course, too.
        plugins: Paths of plugin files, from the folder of the file.
        params: Params of the model.
        dataset_params: Params of the data set.
        metric_params: Params of metrics, a table for each.
        log_params: Params of loggers, a table for each.
        train: The settings.
    """

    recipe: str | None = None
    model: str | None = None
    dataset: str | None = None
    init: str | None = None
    freeze: tuple[str, ...] | None = None
    metrics: tuple[str, ...] | None = None
    log: tuple[str, ...] | None = None
    seeds: int | None = None
    course_style: bool = False
    plugins: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    dataset_params: Mapping[str, Any] = field(default_factory=dict)
    metric_params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    log_params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)


def read_config(path: str | Path) -> RunConfig:
    """Read a config file.

    Raises:
        UsageError: it cannot be read, or is no TOML.
        UsageError, SettingError, SeveralErrors: every unknown key and wrong value at once, with the file and the key.
    """
    with suppress(RuntimeError):  # there is no home folder, and so no such file either
        path = Path(path).expanduser()
    try:
        table = read_toml(Path(path), MAX_CONFIG)
    except ValueError as error:
        raise UsageError(f"config {quote(Path(path))}", str(error)) from error
    errors, values = ErrorCollector(), dict[str, Any]()
    for key, value in table.items():
        with errors.catch():
            if key not in FORMS:
                raise UsageError(f"config {path}: no key {quote(key)}", fix=_advise(key))
            expected, read = FORMS[key]
            try:
                values[key] = read(value)
            except _WrongForm as error:
                raise SettingError(f"config {path}: {key}", f"expected {expected}", value) from error
            except ValueError as error:
                raise UsageError(f"config {path}: {key}.{error}") from error
    with errors.catch():
        _check_train(path, values.get("train", {}))
    errors.raise_any()
    folder = Path(path).parent
    if init := values.get("init"):
        values["init"] = _find_beside(folder, init)
    values["plugins"] = tuple(str(folder / Path(plugin).expanduser()) for plugin in values.get("plugins", ()))
    return RunConfig(**values)


def _advise(key: str) -> str:
    """Return what to write instead of a key that no config file has."""
    if key in list_settings():
        return "It is a setting: write it under [train]"
    if closest(key, FORMS) is None and (setting := closest(key, list_settings())):
        return f"Did you mean {quote(setting)}, under [train]?"
    return suggest(key, FORMS, f"Known: {', '.join(FORMS)}")


def _check_train(path: str | Path, given: Mapping[str, Any]) -> None:
    """Check the settings one by one, with the file and the key in each error."""
    errors = ErrorCollector()
    with errors.catch():
        check_settings(given)
    for number, error in enumerate(errors.errors):
        if isinstance(error, UnknownSettingError):
            fix = error.fix if error.fix.startswith("Did you mean") else f"Known: {', '.join(list_settings())}"
            errors.errors[number] = UsageError(f"config {path}: [train] has no setting {quote(error.name)}", fix=fix)
        elif isinstance(error, SettingError):
            name = f"config {path}: train.{error.name}"
            errors.errors[number] = SettingError(name, error.expected, error.got, error.fix)
    errors.raise_any()


def _find_beside(folder: Path, reference: str) -> str:
    """Return a path beside the file where there is such a file, else what was written, a name or `MODEL@DATASET`."""
    with suppress(OSError, RuntimeError, ValueError):
        beside = folder / Path(reference).expanduser()
        if "@" not in reference and beside.exists():
            return str(beside)
    return reference


class _WrongForm(ValueError):
    """A value is not of the form that its key has."""


def _read_text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise _WrongForm
    return value


def _read_texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        value = [value]
    return tuple(map(_read_text, value))


def _read_count(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise _WrongForm
    return value


def _read_switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongForm
    return value


def _read_table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _WrongForm
    for name, each in value.items():
        check_plain(name, each)
    return value


def _read_tables(value: Any) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(each, dict) for each in value.values()):
        raise _WrongForm
    for name, params in value.items():
        for param, each in params.items():
            check_plain(f"{name}.{param}", each)
    return value


FORMS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    **dict.fromkeys(("recipe", "model", "dataset", "init"), ("a text", _read_text)),
    **dict.fromkeys(("freeze", "metrics", "log"), ("a list of texts", _read_texts)),
    "seeds": ("a whole number of at least 1", _read_count),
    "course_style": ("true or false", _read_switch),
    "plugins": ("a list of texts", _read_texts),
    **dict.fromkeys(("params", "dataset_params"), ("a table", _read_table)),
    "metric_params": ("a table for each metric", _read_tables),
    "log_params": ("a table for each logger", _read_tables),
    "train": ("a table of settings", _read_table),
}
"""The keys of a config file, in their order: what each value must be, in words, and what reads it."""


def write_config(values: Mapping[str, Any], comments: Mapping[str, Any], more: Sequence[str] = ()) -> str:
    """Return a config file with these values, which `read_config` reads as the same.

    `values` are those of `RunConfig`; a value that TOML does not have, None say, becomes a comment. `comments` has a
    text for each of them, in tables of the same form. `more` are lines of comments for the end.
    """
    lines = _write_lines({key: value for key, value in values.items() if key not in TABLES}, comments)
    for key in TABLES:
        table, told = values.get(key) or {}, comments.get(key, {})
        if key in NESTED:
            for name, params in table.items():
                if params:
                    lines += ["", f"[{key}.{write_key(name)}]", *_write_lines(params, told.get(name, {}))]
        elif table:
            lines += ["", f"[{key}]", *_write_lines(table, told)]
    return "\n".join([*lines, *(["", *(f"# {line}" for line in more)] if more else [])])


def _write_lines(values: Mapping[str, Any], comments: Mapping[str, str]) -> list[str]:
    """Return a line for each value, with its comment behind it."""
    rows = []
    for key, value in values.items():
        try:
            text = f"{write_key(key)} = {write_value(value)}"
        except ValueError:
            text = f"# {write_key(key)} is not set" if value is None else f"# {write_key(key)} is {show(value)}"
        rows.append((text, comments.get(key, "")))
    wide = max((len(text) for text, comment in rows if comment and len(text) <= WIDE), default=0)
    return [f"{text.ljust(wide)}  # {_to_line(comment)}" if comment else text for text, comment in rows]


def _to_line(comment: str) -> str:
    return "".join(c if c.isprintable() else " " for c in comment)
