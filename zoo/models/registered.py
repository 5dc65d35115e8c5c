"""Registered weights: which ones are of a model and a data set, and where the file of each lies."""

from __future__ import annotations

import importlib.util
from contextlib import suppress
from pathlib import Path
from typing import Literal

from zoo.errors import DownloadError, StorageError, UnknownNameError, ZooError, describe, quote
from zoo.registry.entries import Entry, Registry
from zoo.registry.imports import find_module
from zoo.registry.index import find_names
from zoo.registry.specs import FileSpec, WeightsSpec
from zoo.storage import folders
from zoo.storage.files import digest


def resolve_file(entry: Entry[WeightsSpec], registry: Registry, *, offline: bool) -> Path:
    """Return the file of registered weights, fetched and verified where they lie elsewhere.

    Raises:
        PluginError: the file that the plugin ships is not there, or what its loader gives is not right.
        DownloadError: it cannot be fetched.
        StorageError: it cannot be kept.
    """
    if entry.spec.url:
        return _fetch(entry, offline=offline)
    if found := find_file(entry):
        return found
    from zoo.models.published import fetch_published

    model = registry.get("model", _resolve("model", entry, registry))
    return fetch_published(entry, model, _place_published(entry), offline=offline)


def find_file(entry: Entry[WeightsSpec]) -> Path | None:
    """Return the file of registered weights where it is here, or None; nothing is imported, fetched or verified.

    Raises:
        PluginError: the file that the plugin ships is not there.
    """
    spec = entry.spec
    if spec.file:
        return _find_shipped(entry)
    path = _place_published(entry) if spec.loader else _place_fetched(spec)
    return path if path.is_file() else None


def _fetch(entry: Entry[WeightsSpec], *, offline: bool) -> Path:
    from zoo.registry.downloads import fetch_files

    spec, path = entry.spec, _place_fetched(entry.spec)
    file = FileSpec(path=path.name, size=spec.size or 0, sha256=spec.sha256, urls=(spec.url,))
    try:
        fetch_files([file], path.parent, offline=offline, name=entry.name)
    except DownloadError as error:
        by_hand = f"save {spec.url} as {path} yourself"
        fix = f"Run with offline=False, or {by_hand}" if offline else f"Try again, or {by_hand}"
        raise DownloadError(error.what, error.why, fix) from error
    except StorageError as error:
        raise StorageError(error.what, error.why, "Choose another place with ZOO_HOME") from error
    return path


def _place_fetched(spec: WeightsSpec) -> Path:
    return folders.zoo_home() / "weights" / f"{spec.sha256}.safetensors"


def _place_published(entry: Entry[WeightsSpec]) -> Path:
    """Return the place of the file that is made of what a loader gives.

    Another version of the plugin has another, and so has a loader whose file has changed: it may give other tensors.
    """
    spec, plugin = entry.spec, entry.plugin
    loader = spec.loader
    if isinstance(loader, str):
        module, source = loader.partition(":")[0], plugin.source
        beside = source.with_name(f"{module}.py") if isinstance(source, Path) and not plugin.installed else None
        code = beside if beside is not None and beside.is_file() else find_module(module)
    else:
        loader = f"{getattr(loader, '__module__', '')}:{getattr(loader, '__qualname__', '')}"
        code = Path(getattr(getattr(spec.loader, "__code__", None), "co_filename", ""))
    text = ""
    with suppress(OSError, ValueError):
        text = code.read_text(encoding="utf-8") if code is not None else ""
    key = digest("\0".join([plugin.version, spec.model, spec.dataset, loader, text]))[:16]
    return folders.zoo_home() / "weights" / plugin.name / f"{entry.name}-{key}.safetensors"


def _find_shipped(entry: Entry[WeightsSpec]) -> Path:
    spec, plugin = entry.spec, entry.plugin
    package, colon, path = spec.file.partition(":")
    try:
        if colon:
            top, *rest = package.split(".")
            found = importlib.util.find_spec(top)
            places = (found.submodule_search_locations or ()) if found else ()
            candidates = [Path(folder, *rest, path) for folder in places]
        else:
            candidates = [plugin.source.parent / spec.file] if isinstance(plugin.source, Path) else []
    except Exception as error:
        raise plugin.broken(f"weights {quote(entry.name)}: {spec.file}", describe(error)) from error
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    why = f"no package {quote(package)} here" if colon else "expected 'package:path': this plugin has no folder"
    if candidates:
        why = f"no such file: {candidates[0]}"
    raise plugin.broken(f"weights {quote(entry.name)}: {spec.file}", why)


def find_entries(model: str, dataset: str, registry: Registry) -> list[Entry[WeightsSpec]]:
    """Return the registered weights of a model trained on a data set, by whatever names these go.

    Weights may be of a data set that nobody has registered: they go by the name that they say.

    Raises:
        UnknownNameError, AmbiguousNameError: there is no such model, and no such data set that any weights name; or
            there are several.
    """
    wanted = registry.get("model", model)
    unknown: UnknownNameError | None = None
    trained = dataset
    try:
        trained = registry.get("dataset", dataset).qualified_name
    except UnknownNameError as error:
        unknown = error
    found = []
    for entry in registry.list_weights_of(wanted):
        with suppress(ZooError):  # raised where several plugins have the bare name that it says
            same = _resolve("model", entry, registry) == wanted.qualified_name
            if same and (trained in _say_dataset(entry) if unknown else _is_trained_on(trained, entry, registry)):
                found.append(entry)
    if unknown is not None and not found:
        raise unknown
    return found


def _is_trained_on(dataset: str, entry: Entry[WeightsSpec], registry: Registry) -> bool:
    """Tell whether weights are of a registered data set, or say its name where theirs is not registered."""
    try:
        return _resolve("dataset", entry, registry) == dataset
    except UnknownNameError:
        return dataset in _say_dataset(entry)


def _say_dataset(entry: Entry[WeightsSpec]) -> tuple[str, ...]:
    """Return how weights may be asked for by their data set where that is not registered, or in a catalogue."""
    said = entry.spec.dataset
    return said, said.rpartition("/")[2], entry.plugin.qualify(said)


def _resolve(kind: Literal["model", "dataset"], entry: Entry[WeightsSpec], registry: Registry) -> str:
    """Return the qualified name of the model or data set of weights: a bare name is first one of their own plugin."""
    name = entry.spec.model if kind == "model" else entry.spec.dataset
    own = [plugin for plugin in registry.plugins if plugin.name == entry.plugin.name]
    if any(name in names for plugin in own for names in find_names(plugin, kind)):
        name = entry.plugin.qualify(name)
    return registry.get(kind, name).qualified_name
