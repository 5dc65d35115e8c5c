"""Recipes: the command that repeats a run, from what its record or its weights say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from zoo.registry.plugins import FIRST_PARTY


def write_recipe(facts: Mapping[str, Any]) -> str | None:
    """Return the `zoo run` that trains the same again, on the device and with the threads that it had.

    `facts` are a run's record, or the metadata of weights. None where they do not say enough: of weights of another
    program, of what was attached from Python, and of params that a command line cannot spell.
    """
    config, dataset = facts.get("train_config"), facts.get("dataset")
    if not config or not dataset or not dataset.get("plugin") or not facts.get("plugin"):
        return None
    words = ["zoo", "run"]
    try:
        for option, value in _list_options(facts, config, dataset):
            words += [option, _spell(value)]
    except ValueError:
        return None
    return shlex.join(words)


def _list_options(facts: Mapping[str, Any], config: Mapping[str, Any], dataset: Any) -> Iterator[tuple[str, Any]]:
    metrics = facts.get("metric_plugins") or {}
    plugins = [facts["plugin"], dataset["plugin"], *metrics.values()]
    sources = dict.fromkeys(plugin["source"] for plugin in plugins if plugin.get("source", "installed") != "installed")
    for source in sources:
        if not source.endswith((".py", ".toml")):
            raise ValueError(source)
        yield "--plugin", source
    yield "--model", _qualify(facts["plugin"], facts["model"])
    yield "--dataset", _qualify(dataset["plugin"], dataset["name"])
    if facts.get("init"):
        yield "--init", facts["init"]["path"]
    for pattern in facts.get("frozen") or (["none"] if facts.get("init") else []):
        yield "--freeze", pattern
    for name, plugin in metrics.items():
        yield "--metric", _qualify(plugin, name)
    for key, value in (facts.get("params") or {}).items():
        yield "--param", f"{key}={_spell(value)}"
    for key, value in (dataset.get("params") or {}).items():
        yield "--dataset-param", f"{key}={_spell(value)}"
    for name, params in (facts.get("metric_params") or {}).items():
        for key, value in params.items():
            yield "--metric-param", f"{name}.{key}={_spell(value)}"
    # The device and the threads that the training had, not what was asked for: other ones round differently.
    known = {**config, **{key: facts[key] for key in ("device", "threads") if facts.get(key)}}
    for key, value in known.items():
        if value is not None:
            yield f"--{key.replace('_', '-')}", value


def _qualify(plugin: Mapping[str, Any], name: str) -> str:
    return name if plugin["name"] == FIRST_PARTY else f"{plugin['name']}/{name}"


def _spell(value: Any) -> str:
    if not isinstance(value, str | int | float):
        raise ValueError(f"no command line spells {value!r}")
    return str(value).lower() if isinstance(value, bool) else str(value)
