"""Targets: what `zoo plugin test` is asked to check: the name of a plugin, some of its entries, or a path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.errors import UnknownNameError, suggest
from zoo.registry.entries import Registry
from zoo.registry.plugins import FIRST_PARTY, Plugin, find_plugins


def find_target(target: str | Path, plugins: Sequence[str | Path] = ()) -> tuple[Registry, list[Plugin], str]:
    """Return the registry, the plugin with its parts and the pattern of entries that a name or path means.

    A path is read beside zoo's own entries only, so that what is installed changes nothing. `name/pattern` means some
    of a plugin's entries.

    Raises:
        UsageError, UnknownNameError: there is no such file or plugin.
    """
    if is_path(target):
        found = find_plugins([target])
        plugin = next(plugin for plugin in found if not plugin.installed and plugin.name != FIRST_PARTY)
        return Registry([found[0], plugin]), [plugin], ""
    registry = Registry(find_plugins(plugins))
    name, _, pattern = str(target).partition("/")
    parts = [plugin for plugin in registry.plugins if plugin.name == name]
    if not parts:
        known = [plugin.name for plugin in registry.plugins]
        fix = suggest(name, known, "Give a name that zoo plugins lists, or the path of a file")
        raise UnknownNameError("plugin", name, known, fix=fix)
    return registry, parts, pattern


def is_path(target: str | Path) -> bool:
    """Tell whether a path is meant, not the name of a plugin: no name ends like a Python file or manifest."""
    return isinstance(target, Path) or target.endswith((".py", ".toml"))
