"""Provider: the plugin that provides the model of a weights file, and how to get at it where it is not here."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from zoo.errors import MAX_FOREIGN, PluginError, UnknownNameError, ZooError, quote
from zoo.records.metadata import WeightsMetadata
from zoo.records.run_folder import RECORD_FILE, WEIGHTS_FILE
from zoo.records.runs import read_record
from zoo.registry.entries import Entry, Registry
from zoo.registry.origin import Origin
from zoo.registry.plugins import is_installed
from zoo.registry.specs import ModelSpec


def find_model(path: Path, metadata: WeightsMetadata, registry: Registry) -> Entry[ModelSpec]:
    """Return the entry of a file's model; raise PluginError where its plugin is not here, is broken or lacks it."""
    plugin = metadata.plugin
    what = f"{path} needs its model {quote(metadata.model)}"
    try:
        return registry.get("model", metadata.qualified_model)
    except UnknownNameError as error:
        if any(found.name == plugin.name for found in registry.plugins):
            raise PluginError(plugin.name, plugin.version, what, str(error)) from error
        advice = advise_plugin(plugin.name, _find_source(path, plugin))
        raise PluginError(plugin.name, plugin.version, what, "no such plugin here", advice) from error


def _find_source(path: Path, plugin: Origin) -> str:
    """Return where a plugin file was: the record beside the weights of a run knows its folder."""
    with suppress(ZooError, OSError, ValueError):
        record = read_record(path.parent / RECORD_FILE)
        if path.name == WEIGHTS_FILE and record.plugin is not None and record.plugin.name == plugin.name:
            return record.plugin.source
    return plugin.source


def advise_plugin(name: str, source: str) -> str:
    """Return how to get at a plugin that is not here, as a file says where it was.

    Nothing of it is a command to be pasted that fetches code: the file may be a stranger's.
    """
    if source == "installed":
        if is_installed(name):
            return "It is installed but left out by ZOO_DISABLE_PLUGINS or disabled=..."
        trust = "Install it only if you trust it and where it comes from: installing a package runs its code"
        return f"The file says that this was an installed plugin called {quote(name)}. {trust}"
    if len(source) <= MAX_FOREIGN and Path(source).is_absolute():
        return f"Give it with plugins=[{source!r}] if you trust it"
    if source.endswith((".py", ".toml")):
        return f"The file says that this was in {quote(source)}: give that with plugins=... if you trust it"
    return "Give it again: plugins= or registry="
