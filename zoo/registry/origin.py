"""Origin: where an entry comes from, as weights and runs record it."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo.errors import quote
from zoo.registry.entries import Entry
from zoo.registry.global_state import guard_state
from zoo.registry.plugins import blame


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The plugin that provides a model, data set or metric.

    Fields:
        name: The plugin's name.
        version: Its version.
        source: `installed`, the path of a plugin file or folder, in weights its name alone, or words for a plugin that
            was given as an object.
    """

    name: str
    version: str = ""
    source: str = ""

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Origin:
        """Read a table whose `name` is known to be text; what else is no text counts as not known."""
        version, source = (value if isinstance(value := table.get(key), str) else "" for key in ("version", "source"))
        return cls(name=table["name"], version=version, source=source)

    def without_folder(self) -> Origin:
        """Return it with the name of the plugin file alone: where it lies is nobody's business elsewhere."""
        return replace(self, source=Path(self.source).name) if Path(self.source).is_absolute() else self

    def blamed(self, what: str) -> AbstractContextManager[None]:
        """Tell an error of the body, which uses what the plugin provides, as one of it; see `blame`."""
        return blame(self.name, self.version, what)

    def guarded(self, when: str) -> AbstractContextManager[None]:
        """Put back what the body changes of the global state, and warn of it."""
        return guard_state(f"plugin {quote(f'{self.name} {self.version}'.strip())}", when, set())

    def qualify(self, name: str) -> str:
        """Return `plugin/name`, which means the plugin's entry whatever else is installed."""
        return f"{self.name}/{name}"


def find_origin(entry: Entry[Any]) -> Origin:
    """Return where an entry comes from."""
    plugin = entry.plugin
    source = str(plugin.source) if isinstance(plugin.source, Path) else plugin.origin
    if plugin.installed or entry.is_first_party:
        source = "installed"
    return Origin(name=plugin.name, version=plugin.version, source=source)
