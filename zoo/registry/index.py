"""Index: what installed plugins provide, learnt once and kept until they change.

A manifest is read here. A plugin in module form says what it has only when it runs: so it runs once, in a process of
its own that may end or hang as it likes. What it gave, or how it failed, is kept.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from traceback import walk_tb
from typing import Any

from zoo.errors import PluginError, StorageError, describe, quote
from zoo.registry.distributions import fingerprint
from zoo.registry.imports import import_object
from zoo.registry.loading import load_specs
from zoo.registry.plugins import Plugin
from zoo.registry.specs import SPEC_CLASSES, AnySpec, FileSpec, WeightsSpec
from zoo.storage.files import describe_file, write_file
from zoo.storage.folders import zoo_home
from zoo.storage.processes import describe_end, kill, start_module
from zoo.version import __version__

log = logging.getLogger("zoo")

TIME_LIMIT = 10.0
"""Seconds that a plugin may take to say what it has; importing torch from a cold disk is most of it."""


def learn(plugin: Plugin, *, fresh: bool = False) -> None:
    """Find out what a plugin provides: from the index, where `fresh` makes it anew, or by loading what was given here.

    A plugin that fails is marked with its `problem` and provides nothing.
    """
    if not plugin.installed:
        load_specs(plugin)
    elif fresh and plugin.indexed is not None:
        _fill(plugin)
    elif plugin.indexed is None and plugin.problem is None:
        _read(plugin)


def find_names(plugin: Plugin, kind: str) -> list[tuple[str, ...]]:
    """Return name and aliases of each entry of a kind."""
    learn(plugin)
    if plugin.specs is not None:
        return [(spec.name, *spec.aliases) for spec in plugin.specs if spec.kind == kind]
    return [(row["name"], *row.get("aliases", ())) for row_kind, row in plugin.indexed or () if row_kind == kind]


def find_specs(plugin: Plugin, kind: str, is_wanted: Callable[..., bool]) -> list[AnySpec]:
    """Return the specs of a kind of which `is_wanted(name, *aliases)` is true; only these are made from the index."""
    learn(plugin)
    if plugin.specs is not None:
        return [spec for spec in plugin.specs if spec.kind == kind and is_wanted(spec.name, *spec.aliases)]
    rows = [row for row_kind, row in plugin.indexed or () if row_kind == kind]
    return [_to_spec(kind, row) for row in rows if is_wanted(row["name"], *row.get("aliases", ()))]


def _read(plugin: Plugin) -> None:
    """Take what the cache says, or fill it."""
    cache, key = _find_cache(plugin)
    try:
        _take(plugin, _read_cache(cache, key))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # also missing or damaged
        _fill(plugin)


def _fill(plugin: Plugin) -> None:
    """Load the plugin, a module in another process, and keep what it gives."""
    cache, key = _find_cache(plugin)
    answer = _ask(plugin) if isinstance(plugin.source, str) else _answer(plugin)
    _take(plugin, answer)
    with suppress(OSError, StorageError):  # a read-only home: works, but slower
        cache.parent.mkdir(parents=True, exist_ok=True)
        _write_cache(cache, {"key": key, "environment": _environment(), "files": [], **answer})


def _find_cache(plugin: Plugin) -> tuple[Path, dict[str, Any]]:
    import hashlib

    key = _make_key(plugin)
    digest = hashlib.sha256(f"{plugin.source}\0{key['file']}".encode(errors="surrogatepass")).hexdigest()[:16]
    return zoo_home() / "cache" / f"index-{plugin.name}-{digest}.json", key


def _read_cache(path: Path, key: dict[str, Any]) -> dict[str, Any]:
    import hashlib

    digest, _, text = path.read_bytes().partition(b"\n")
    if hashlib.sha256(text).hexdigest().encode() != digest:
        raise ValueError("damaged")
    answer: dict[str, Any] = json.loads(text)
    # What a plugin misses may get installed, so a failure holds only while nothing else changes.
    changed = answer["key"] != key or any(describe_file(path) != state for path, state in answer["files"])
    if changed or ("problem" in answer and answer["environment"] != _environment()):
        raise ValueError("the plugin has changed")
    return answer


def _write_cache(path: Path, answer: dict[str, Any]) -> None:
    import hashlib

    text = json.dumps(answer).encode()
    write_file(path, hashlib.sha256(text).hexdigest().encode() + b"\n" + text, what="the index of a plugin")


def _environment() -> str:
    import hashlib

    return hashlib.sha256(fingerprint().encode(errors="surrogatepass")).hexdigest()


def _make_key(plugin: Plugin) -> dict[str, Any]:
    """Return what the specs depend on: versions, and the manifest or the module's file, found without importing."""
    file = plugin.source if isinstance(plugin.source, Path) else _find_module(str(plugin.source))
    state = describe_file(file) if file else None
    needs = list(plugin.requires)
    return {"zoo": __version__, "version": plugin.version, "needs": needs, "file": str(file), "state": state}


def _find_module(name: str) -> Path | None:
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except Exception:  # noqa: BLE001 finders of editable installations are foreign code; the import will tell
        spec = None
    folders = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()] if spec else []
    paths = [path for folder in folders for path in (folder.with_suffix(".py"), folder / "__init__.py")]
    return next((path for path in paths if path.is_file()), Path(spec.origin) if spec and spec.origin else None)


def _take(plugin: Plugin, answer: dict[str, Any]) -> None:
    """Let the plugin know what the index says of it."""
    plugin.problem = plugin.broken(*answer["problem"]) if "problem" in answer else None
    plugin.seconds, plugin.warnings = answer.get("seconds"), answer.get("warnings", [])
    plugin.qualified_only = answer.get("qualified_only", False)
    plugin.indexed = answer.get("specs", [])


def _to_spec(kind: str, fields: dict[str, Any]) -> AnySpec:
    files = {"files": [FileSpec(**file) for file in fields["files"]]} if "files" in fields else {}
    return SPEC_CLASSES[kind](**{**fields, **files})


def _answer(plugin: Plugin) -> dict[str, Any]:
    """Load the plugin, in this process, and return its part of the index."""
    loaded = Plugin(plugin.name, plugin.version, "", plugin.source, installed=True, requires=plugin.requires)
    answer: dict[str, Any] = {}
    try:
        rows = [(spec.kind, _to_fields(plugin, spec)) for spec in load_specs(loaded)]
        if loaded.problem is not None:
            raise loaded.problem
        text = json.dumps(rows, default=lambda value: dict(getattr(value, "__dict__", value)))
        answer = {"specs": json.loads(text), "qualified_only": loaded.qualified_only}
        for kind, fields in answer["specs"]:
            _to_spec(kind, fields)
    except PluginError as error:
        prefix = plugin.broken("", "").what
        answer = {"problem": (error.what.removeprefix(prefix).strip(), error.why, error.fix)}
    except Exception as error:  # noqa: BLE001 specs of its own making, which nobody could read again
        answer = {"problem": ("its specs are not usable", describe(error), "")}
    return {
        **answer,
        "warnings": loaded.warnings,
        "seconds": loaded.seconds,
        "files": _find_imported(plugin, loaded.problem),
    }


def _find_imported(plugin: Plugin, problem: BaseException | None) -> list[tuple[str, list[int] | None]]:
    """Return the files of the plugin's own package that were imported, or failed to be: what it has depends on each."""
    if not isinstance(plugin.source, str):
        return []
    top = plugin.source.partition(".")[0]
    modules = [module for name, module in list(sys.modules.items()) if name.partition(".")[0] == top]
    files = {file for module in modules if isinstance(file := getattr(module, "__file__", None), str)}
    cause = problem.__cause__ if problem else None
    # A module that fails is not kept: the traceback has it, or the error itself when it cannot be compiled.
    failed = {frame.f_code.co_filename for frame, _ in walk_tb(cause.__traceback__)} if cause else set()
    failed |= {str(cause.filename)} if isinstance(cause, SyntaxError) else set()
    folder = f"{os.sep}{top}{os.sep}"
    return [(file, describe_file(file)) for file in sorted(files | {file for file in failed if folder in file})]


def _ask(plugin: Plugin) -> dict[str, Any]:
    """Load the plugin in another process and return its part of the index.

    The answer comes in a file: what a plugin prints cannot get into it.
    """
    import subprocess
    import tempfile

    log.info("indexing plugin %s, once", plugin.label)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        file = Path(folder, "answer.json")
        given = (str(file), plugin.name, plugin.version, str(plugin.source), *plugin.requires)
        try:
            # Without other plugins: one that lists the zoo's entries would start processes without end.
            process = start_module("zoo.registry.index", *given, environment={"ZOO_DISABLE_PLUGINS": "all"})
        except OSError as error:
            return {"problem": ("no process could be started to index it", describe(error), "")}
        try:
            code = process.wait(TIME_LIMIT)
            return dict(json.loads(file.read_bytes()))
        except subprocess.TimeoutExpired:
            fix = f"Try again: zoo plugins {plugin.name}"
            return {"problem": ("importing it failed", f"it took more than {TIME_LIMIT:g} s", fix)}
        except (OSError, ValueError):
            return {"problem": ("importing it failed", f"it ended the process ({describe_end(code)})", "")}
        finally:
            if process.poll() is None:
                kill(process)


def main(answer: str, name: str, version: str, module: str, *requires: str) -> None:
    """Write what the plugin has, and end at once: no thread that it started and no exit handler can hold that up."""
    plugin = Plugin(name, version, "", module, installed=True, requires=requires)
    Path(answer).write_text(json.dumps(_answer(plugin)))
    os._exit(0)


def _to_fields(plugin: Plugin, spec: AnySpec) -> dict[str, Any]:
    declared = {name: getattr(spec, name) for name in SPEC_CLASSES[spec.kind].field_names()}
    fields = {name: value for name, value in declared.items() if value not in (None, "", (), {})}
    if not isinstance(spec, WeightsSpec) and callable(spec.factory):
        reference = f"{getattr(spec.factory, '__module__', None)}:{getattr(spec.factory, '__qualname__', None)}"
        try:
            found = import_object(reference)
        except Exception:  # noqa: BLE001 whatever it is, the factory cannot be found again by name
            found = None
        if found != spec.factory:
            cause = "its factory cannot be imported by its name; expected a function or class of a module"
            raise plugin.broken(f"{spec.kind} {quote(spec.name)}", cause)
        fields["factory"] = reference
    return fields


if __name__ == "__main__":
    main(*sys.argv[1:])
