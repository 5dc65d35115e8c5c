"""Repeat: the command that trains the same again, from what a run's record or its weights say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.records.metadata import WeightsMetadata
from zoo.records.runs import RunRecord
from zoo.registry.compatibility import show_shape
from zoo.registry.origin import Origin
from zoo.registry.plugins import FIRST_PARTY
from zoo.registry.settings import complete, find_form, list_settings, name_option

FILES = (".py", ".toml")
"""How the names of plugin files end."""


def write_command(told: RunRecord | WeightsMetadata, data_dir: str | Path | None = None) -> str | None:
    """Return the `zoo run` that trains the same again, on the device and with the threads that it had.

    `data_dir` is a folder of data sets that is not the usual one.

    None where the record or the metadata do not say enough: of weights of another program, of what was attached from
    Python, and of params that a command line cannot spell.
    """
    words = ["zoo", "run"]
    try:
        for option, value in _list_options(told):
            words += [option] if value is None else [option, _spell(value)]
    except ValueError:
        return None
    return shlex.join([*words, *([] if data_dir is None else ["--data-dir", str(data_dir)])])


def follow_recipe(name: str, *, expect: bool) -> str:
    """Return the `zoo run` that follows a recipe, and compares its scores where it expects some."""
    return shlex.join(["zoo", "run", "--recipe", name, *(["--expect"] if expect else [])])


def go_on(
    folder: Path,
    record: RunRecord,
    data_dir: Path | None = None,
    loggers: Mapping[str, Mapping[str, Any]] | None = None,
) -> str:
    """Return the `zoo resume` that goes on with a run, with the plugin files that it was made with.

    `data_dir` and `loggers`, by name with their params, are what it was told that its record does not say.
    """
    options = [("--plugin", source) for source in _list_sources(record) if source.endswith(FILES)]
    if data_dir is not None:
        options.append(("--data-dir", str(data_dir)))
    for name, params in (loggers or {}).items():
        given = {key: value for key, value in params.items() if value != ""}  # which no command line spells
        options += [("--log", name), *(("--log-param", f"{name}.{key}={value}") for key, value in given.items())]
    return shlex.join(["zoo", "resume", *(word for option in options for word in option), str(folder)])


def _list_sources(told: RunRecord | WeightsMetadata) -> list[str]:
    """Return where the plugins were that are not installed."""
    record = told if isinstance(told, RunRecord) else RunRecord()
    plugins = [told.plugin, told.dataset and told.dataset.plugin, *record.metric_plugins.values(), record.loss_plugin]
    return [*dict.fromkeys(plugin.source for plugin in plugins if plugin and plugin.source not in ("installed", ""))]


def _list_options(told: RunRecord | WeightsMetadata) -> Iterator[tuple[str, Any]]:
    """Yield options and their values, None for a flag."""
    metrics, metric_params = (told.metric_plugins, told.metric_params) if isinstance(told, RunRecord) else ({}, {})
    if not told.train_config or not told.model or not told.plugin or not told.dataset or not told.dataset.plugin:
        raise ValueError("what was trained is not known")
    for source in _list_sources(told):
        if not source.endswith(FILES):
            raise ValueError(source)
        yield "--plugin", source
    yield "--model", _shorten(told.plugin, told.model)
    yield "--dataset", _shorten(told.dataset.plugin, told.dataset.name)
    if told.train_config.get("unfreeze_at") is not None and not told.frozen:
        raise ValueError("what was frozen at first is not known")  # weights do not say what they have no more
    if told.init:
        yield "--init", told.init.path
    for pattern in told.frozen or (["none"] if told.init else []):
        yield "--freeze", pattern
    for name, plugin in metrics.items():
        yield "--metric", _shorten(plugin, name)
    for key, value in told.params.items():
        yield "--param", f"{key}={_spell(value)}"
    for key, value in (told.dataset.params or {}).items():
        yield "--dataset-param", f"{key}={_spell(value)}"
    for name, params in metric_params.items():
        for key, value in params.items():
            yield "--metric-param", f"{name}.{key}={_spell(value)}"
    # The device and the threads that the training really had: others sum in another order and round differently.
    had = {key: value for key, value in (("device", told.device), ("threads", told.threads)) if value}
    yield from _list_settings({**told.train_config, **had})


def _list_settings(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    known = list_settings()
    for key, value in complete(values).items():
        if key not in known:  # a stranger's record could name any option, --plugin say
            raise ValueError(f"there is no setting {key!r}")
        if value is None:
            continue
        option, form = name_option(key), find_form(key)
        if form is bool:
            yield name_option(key, on=bool(value)), None
        elif form is dict:
            if not isinstance(value, Mapping):
                raise ValueError(f"no command line spells {value!r}")
            yield from ((option, f"{name}={_spell_item(each)}") for name, each in value.items())
        else:
            yield option, _spell_list(key, value) if isinstance(value, list | tuple) else value


def _spell_list(key: str, value: Sequence[Any]) -> str:
    return show_shape(value) if key == "input_size" else ",".join(map(_spell, value))


def _spell_item(value: Any) -> str:
    return ",".join(map(_spell, value)) if isinstance(value, list | tuple) and None not in value else _spell(value)


def _shorten(plugin: Origin, name: str) -> str:
    """Return the shortest name that means an entry of a plugin: zoo's own win a bare name."""
    return name if plugin.name == FIRST_PARTY else plugin.qualify(name)


def _spell(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise ValueError(f"no command line spells {value!r}")
    return str(value).lower() if isinstance(value, bool) else str(value)
