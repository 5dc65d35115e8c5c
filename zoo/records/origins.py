"""Origins: where the model, the data and the recipe of weights or of a run came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

from zoo.records.forms import is_table
from zoo.records.header import is_text
from zoo.records.plain import to_json_table
from zoo.registry.origin import Origin
from zoo.storage.folders import find_home, hide_home


@dataclass(frozen=True, kw_only=True)
class FileOrigin:
    """The weights file that something was made from: where it was, in weights its name alone, and the SHA-256 of its
    tensors."""

    path: str
    digest: str

    def without_folder(self) -> Self:
        """Return it with the name of the file alone; weights of a run are told by the name of its folder too."""
        return replace(
            self, path=str(Path(*Path(self.path).parts[-2:])) if Path(self.path).is_absolute() else self.path
        )


@dataclass(frozen=True, kw_only=True)
class ModelOrigin(FileOrigin):
    """The file that was handed on to another model; `model` is the one it was of, as `plugin/name`.

    For a state dict of another program `model` is empty, and `digest` is the SHA-256 of the whole file.
    """

    model: str


@dataclass(frozen=True, kw_only=True)
class Publication:
    """The registered weights that a file was made of, and what is said of them there.

    Fields:
        name: Their name without their plugin.
        plugin: The plugin that provides them.
        license: Under which terms they may be used.
        homepage: Where they come from.
        source: The address or path that their tensors were read from, of this machine the name alone.
        sha256: The SHA-256 of the file there.
        metrics: Their scores as the plugin states them; nothing here has measured these.
    """

    name: str
    plugin: Origin
    license: str = ""
    homepage: str = ""
    source: str = ""
    sha256: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def qualified_name(self) -> str:
        """`plugin/name`."""
        return self.plugin.qualify(self.name)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Publication:
        """Read a table that has its form."""
        said = {part.name: table[part.name] for part in fields(cls) if table.get(part.name)}
        return cls(**{**said, "plugin": Origin.from_json(table["plugin"])})

    def without_folder(self) -> Publication:
        """Return it with the names of local files alone."""
        source = Path(self.source).name if Path(self.source).is_absolute() else self.source
        return replace(self, plugin=self.plugin.without_folder(), source=source)

    def to_json(self) -> dict[str, Any]:
        """Return the table that files hold; what is not known is left out."""
        return to_json_table({key: value for key, value in vars(self).items() if value})


@dataclass(frozen=True, kw_only=True)
class RecipeOrigin:
    """The recipe that a training followed.

    Fields:
        name: Its name without its plugin.
        plugin: The plugin that provides it.
        changed: What the training had otherwise, `train.epochs` say; empty where it had all as the recipe says.
    """

    name: str
    plugin: Origin
    changed: tuple[str, ...] = ()

    @property
    def qualified_name(self) -> str:
        """`plugin/name`."""
        return self.plugin.qualify(self.name)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> RecipeOrigin:
        """Read a table that has its form."""
        plugin, changed = Origin.from_json(table["plugin"]), tuple(table.get("changed") or ())
        return cls(name=table["name"], plugin=plugin, changed=changed)


@dataclass(frozen=True, kw_only=True)
class DatasetOrigin:
    """The data set that something was made with.

    Fields:
        name: Its name without its plugin.
        plugin: The plugin that provides it, None where that is not known.
        params: The params that it was built with.
        digest: SHA-256 of all samples and class names, None where it is not known.
        samples: How many samples each split has.
        others: What else a file says of it.
    """

    name: str
    plugin: Origin | None = None
    params: Mapping[str, Any] | None = None
    digest: str | None = None
    samples: Mapping[str, int] | None = None
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def qualified_name(self) -> str:
        """`plugin/name`, or the bare name where the plugin is not known."""
        return self.plugin.qualify(self.name) if self.plugin else self.name

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> DatasetOrigin:
        """Read a table whose `name` is known to be text; what else has another form counts as not known."""
        plugin, params = table.get("plugin"), table.get("params")
        digest, samples = table.get("digest"), table.get("samples")
        if isinstance(params, dict):
            params = {key: find_home(value) if isinstance(value, str) else value for key, value in params.items()}
        return cls(
            name=table["name"],
            plugin=Origin.from_json(plugin) if plugin and is_table(plugin, name=is_text) else None,
            params=params if isinstance(params, dict) else None,
            digest=digest if is_text(digest) else None,
            samples=samples if isinstance(samples, dict) else None,
            others={key: value for key, value in table.items() if key not in {part.name for part in fields(cls)}},
        )

    def without_folder(self) -> DatasetOrigin:
        """Return it without the home folder of this user: what is below it begins with `~`, and is found again here."""
        params = self.params and {
            key: hide_home(value) if isinstance(value, str) else value for key, value in self.params.items()
        }
        return replace(self, plugin=self.plugin and self.plugin.without_folder(), params=params)

    def to_json(self) -> dict[str, Any]:
        """Return the table that files hold; what is not known is left out."""
        own = {key: value for key, value in vars(self).items() if key != "others" and value is not None}
        return to_json_table({**own, **self.others})


def read_fields(record: Any, table: Mapping[str, Any]) -> Any:
    """Return the record that a table has the fields of; what the table lacks has its default."""
    return record(**{part.name: _to_tuples(table[part.name]) for part in fields(record) if part.name in table})


def _to_tuples(value: Any) -> Any:
    return tuple(map(_to_tuples, value)) if isinstance(value, list) else value
