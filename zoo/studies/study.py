"""Study: what the trainings of a sweep or a matrix have in common, and the folder that says what was asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from zoo.checks.combination.preview import describe_request
from zoo.data.ranks import find_ranks
from zoo.errors import ErrorCollector, UsageError, ZooError, quote, show
from zoo.limits import MAX_RECORD
from zoo.records.plain import to_json_data
from zoo.registry.entries import Entry, Registry
from zoo.registry.places import Places, open_places
from zoo.registry.plugins import FIRST_PARTY
from zoo.storage.files import check_writable, write_file
from zoo.storage.reading import explain, read_file
from zoo.studies.space import Point, apply
from zoo.training.plan import Plan, Wanted
from zoo.training.recipes import PLACES
from zoo.training.request import Request, make_request
from zoo.training.sources import gather
from zoo.version import __version__

FORMAT = 1
"""The number of the form of the file that says what was asked for."""


@dataclass(frozen=True, kw_only=True)
class Base:
    """What all trainings of a study are told, as the arguments of `zoo.run`, and where they are done."""

    wanted: Wanted
    places: Places
    config: str | None = None
    recipe: str | None = None

    def ask(self, point: Point) -> Request:
        """Return the training that has the values of a point; the errors are those of `zoo.run` before it loads."""
        wanted, places = gather(apply(self.wanted, point), self.places, self.config, self.recipe)
        return make_request(wanted, places)

    def describe(self, point: Point) -> dict[str, Any]:
        """Return all that such a training is told, as a config file says it, but for where it runs."""
        wanted, places = gather(apply(self.wanted, point), self.places, self.config, self.recipe)
        values, _ = describe_request(make_request(wanted, places), wanted)
        train = {name: value for name, value in values["train"].items() if f"train.{name}" not in PLACES}
        return dict(to_json_data({**values, "train": train}))

    def to_json(self) -> dict[str, Any]:
        """Return plain data from which another process makes the same.

        Raises:
            UsageError: a plugin is an object of this process.
        """
        plugins = self.places.registry.plugins
        given = [plugin for plugin in plugins if not plugin.installed and plugin.name != FIRST_PARTY]
        for plugin in given:
            if not isinstance(plugin.source, Path):
                why = f"plugin {quote(plugin.name)} is an object of this one"
                raise UsageError("several processes cannot share the work", why, "Use jobs=1, or write a plugin file")
        known = {plugin.name for plugin in plugins}
        return {
            "wanted": json.loads(json.dumps(asdict(self.wanted), default=str)),
            "config": self.config,
            "recipe": self.recipe,
            "plugins": [str(plugin.source) for plugin in given],
            "disabled": [plugin.name for plugin in Registry.discover().plugins if plugin.name not in known],
            "data_dir": str(self.places.data_dir),
            "offline": self.places.offline,
        }

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> Base:
        """Return what `to_json` told."""
        registry = Registry.discover(table["plugins"], table["disabled"])
        places = open_places(registry, data_dir=table["data_dir"], offline=table["offline"])
        wanted = Wanted(**{**table["wanted"], "sources": ()})
        return cls(wanted=wanted, places=places, config=table["config"], recipe=table["recipe"])


def begin(path: Path, asked: Mapping[str, Any], *, what: str) -> None:
    """Write what a study was asked for, or hold it to what is written: all but its size must be the same.

    Raises:
        UsageError: the folder has another study; names what differs.
        StorageError: it cannot be written.
    """
    told = {"format": FORMAT, **asked}
    try:
        said = json.loads(read_file(path, MAX_RECORD))
    except FileNotFoundError:
        check_writable(path.parent, fix="Choose another folder with output=...")
        text = json.dumps({**told, "zoo": __version__}, indent=2)
        write_file(path, f"{text}\n".encode(), what=f"what the {what} is asked for")
        return
    except (OSError, ValueError, RecursionError) as error:
        said, why = None, explain(error)
    else:
        why = "expected a table"
    if not isinstance(said, dict):
        raise UsageError(
            f"{path} does not say what a {what} was asked for", why, "Choose another folder with output=..."
        )
    was, now = _flatten({key: value for key, value in said.items() if key != "zoo"}), _flatten(told)
    changed = [name for name in {**was, **now} if was.get(name) != now.get(name)]
    if changed:
        differ = [f"{name} differs ({show(was.get(name))} -> {show(now.get(name))})" for name in changed]
        fix = "Ask for the same, or choose another folder with output=..."
        raise UsageError(f"{path.parent} has another {what}", ", ".join(differ), fix)


def _flatten(table: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in json.loads(json.dumps(table)).items():
        found |= _flatten(value, f"{path}{key}.") if isinstance(value, dict) and value else {f"{path}{key}": value}
    return found


def name_plugins(request: Request) -> dict[str, str]:
    """Return the version of the plugin of each part of a training: what must be as it was."""
    plan = request.plan
    parts: dict[str, Entry[Any]] = {"model": plan.model, "dataset": plan.dataset, **plan.metrics}
    return {f"{name} {entry.short_name}": entry.plugin.label for name, entry in parts.items()}


def settle_base(base: Base) -> Base:
    """Return a base whose paths no change of the current folder moves."""
    config = None if base.config is None else str(Path(base.config).expanduser().absolute())
    return replace(base, config=config, places=base.places.settle())


def refuse_ranks(plan: Plan, what: str) -> None:
    """Raise UsageError where several processes are to train together: in a study each training is one process."""
    why, others = "each training of it is one process", "jobs=2 trains two at a time"
    if find_ranks().are_several:
        raise UsageError(f"torchrun cannot start {what}", why, f"Start it alone; {others}")
    if plan.config.processes not in (None, 1):
        why = f"{why}, and processes={plan.config.processes} were asked for"
        raise UsageError(f"{what} has no ranks", why, f"Leave them out; {others}")


class Problems:
    """What is wrong with the trainings of a study: each thing once, with the first training that has it."""

    def __init__(self) -> None:
        self.found: dict[str, tuple[str, ZooError]] = {}

    @contextmanager
    def catch(self, training: str) -> Iterator[None]:
        """Note what the body raises of a training."""
        try:
            yield
        except ZooError as error:
            for problem in error.problems:
                self.found.setdefault(str(problem), (training, problem))

    def raise_any(self) -> None:
        """Raise all that was noted as one ZooError."""
        errors = ErrorCollector()
        for training, problem in self.found.values():
            problem.what = f"{training}: {problem.what}"
            errors.errors.append(problem)
        errors.raise_any()
