"""Index: what installed plugins provide, found out once and kept until they change.

A manifest is read in this process. A plugin in module form must run to tell what it has: it runs once, in a process of
its own, which it may end or block. What it gave, or how it failed, is kept. A single file that is given by path runs in
this process, but is tried in another one before, once until it changes.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Callable, Collection, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

from zoo.errors import PluginError, StorageError, describe
from zoo.limits import MAX_KEPT
from zoo.registry.distributions import fingerprint
from zoo.registry.flaws import Flaw
from zoo.registry.imports import find_module, is_imported, list_imported
from zoo.registry.loading import load_specs
from zoo.registry.plugins import Plugin
from zoo.registry.rows import make_row, read_row
from zoo.registry.specs import AnySpec, WeightsSpec
from zoo.storage import processes
from zoo.storage.files import FileState, describe_file, digest, write_file
from zoo.storage.folders import zoo_home
from zoo.storage.processes import Answer, Process, Write
from zoo.storage.reading import read_file
from zoo.version import __version__

log = logging.getLogger("zoo")

TIME_LIMIT = 10.0
"""Seconds that a plugin may take to tell what it has; importing torch from a cold disk takes most of them."""
FILE_TIME_LIMIT = 30.0
"""Seconds that a single file may take. It may import what it likes at its top, so slow machines need more for it."""


@dataclass(frozen=True, kw_only=True)
class Listing:
    """What came of loading a plugin, as plain data that JSON can keep.

    Fields:
        specs: The kind and the declared fields of each spec.
        qualified_only: Whether they answer to `plugin/name` only.
        problem: Of a broken plugin: what failed, why, and what to do.
        warnings: What is odd but works.
        left_out: What is wrong with entries that are not among the specs.
        seconds: How long importing its code took.
        files: The files of its own package that were imported, or failed to be.
    """

    specs: Sequence[tuple[str, dict[str, Any]]] = ()
    qualified_only: bool = False
    problem: tuple[str, str, str] | None = None
    warnings: Sequence[str] = ()
    left_out: Sequence[Flaw] = ()
    seconds: float | None = None
    files: Sequence[FileState] = ()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Listing:
        """Read what `asdict` gave."""
        parts = {"files": FileState, "left_out": Flaw}
        return cls(**{**data, **{key: [part(**each) for each in data[key]] for key, part in parts.items()}})


def ensure_indexed(plugin: Plugin, *, fresh: bool = False) -> None:
    """Let a plugin know what it provides: from the index, or by loading it where it is not installed.

    `fresh` makes the index anew, unless that was done for this object already: a command asks a plugin once, however
    often it is looked up. A plugin that fails is marked with its `problem` and provides nothing.
    """
    if not plugin.installed:
        if plugin.specs is None and plugin.problem is None and isinstance(plugin.source, Path):
            plugin.problem = _try_file(plugin, plugin.source)
        load_specs(plugin)
    elif fresh and plugin.indexed is not None and not plugin.fresh:
        _apply_listing(plugin, _refresh_cache(plugin))
    elif plugin.indexed is None and plugin.problem is None:
        try:
            listing = _read_cache(plugin)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # also missing or damaged
            listing = _refresh_cache(plugin)
        _apply_listing(plugin, listing)


def find_names(plugin: Plugin, kind: str) -> list[tuple[str, ...]]:
    """Return name and aliases of each entry of a kind."""
    ensure_indexed(plugin)
    if plugin.specs is not None:
        return [(spec.name, *spec.aliases) for spec in plugin.specs if spec.kind == kind]
    return [(row["name"], *row.get("aliases", ())) for row_kind, row in plugin.indexed or () if row_kind == kind]


def find_specs(plugin: Plugin, kind: str, is_wanted: Callable[..., bool]) -> list[AnySpec]:
    """Return the specs of a kind of which `is_wanted(name, *aliases)` is true; no others are made from the index."""
    ensure_indexed(plugin)
    if plugin.specs is not None:
        return [spec for spec in plugin.specs if spec.kind == kind and is_wanted(spec.name, *spec.aliases)]
    rows = [row for row_kind, row in plugin.indexed or () if row_kind == kind]
    return [read_row(kind, row) for row in rows if is_wanted(row["name"], *row.get("aliases", ()))]


def find_weights_of(plugin: Plugin, models: Collection[str]) -> list[WeightsSpec]:
    """Return the specs of weights whose model goes by one of these bare names; no others are made from the index."""

    def is_wanted(model: str) -> bool:
        return model.rpartition("/")[2] in models

    ensure_indexed(plugin)
    if plugin.specs is not None:
        return [spec for spec in plugin.specs if isinstance(spec, WeightsSpec) and is_wanted(spec.model)]
    rows = [row for kind, row in plugin.indexed or () if kind == "weights" and is_wanted(row["model"])]
    return [WeightsSpec(**row) for row in rows]


def _apply_listing(plugin: Plugin, listing: Listing) -> None:
    plugin.problem = plugin.broken(*listing.problem) if listing.problem else None
    plugin.seconds, plugin.warnings = listing.seconds, list(listing.warnings)
    plugin.qualified_only, plugin.left_out = listing.qualified_only, list(listing.left_out)
    plugin.indexed = list(listing.specs)


def _read_cache(plugin: Plugin) -> Listing:
    """Return what is kept of a plugin; raise OSError for nothing, ValueError once it changed, any error for damage."""
    path, source = _find_cache(plugin)
    checksum, _, text = read_file(path, MAX_KEPT).decode().partition("\n")
    if digest(text) != checksum:
        raise ValueError("damaged")
    data = json.loads(text)
    listing = Listing.from_dict(data["listing"])
    # A plugin may fail for lack of another package, so a failure holds until anything is installed or removed.
    changed = data["source"] != source or not all(file.is_current for file in listing.files)
    if changed or (listing.problem and data["environment"] != fingerprint()):
        raise ValueError("the plugin has changed")
    return listing


def _refresh_cache(plugin: Plugin) -> Listing:
    """Load the plugin, a module in another process, and keep what came of it."""
    plugin.fresh = True
    path, source = _find_cache(plugin)
    listing = _load_elsewhere(plugin) if isinstance(plugin.source, str) else _load_here(plugin)
    text = json.dumps({"source": source, "environment": fingerprint(), "listing": asdict(listing)})
    _keep(path, f"{digest(text)}\n{text}")
    return listing


def _find_cache(plugin: Plugin) -> tuple[Path, dict[str, Any]]:
    """Return where the listing of a plugin is kept, and what it depends on beside the files that were imported.

    Those are versions, and the manifest or the file of the module, which is found without importing it.
    """
    file = plugin.source if isinstance(plugin.source, Path) else find_module(str(plugin.source))
    state = asdict(describe_file(file)) if file else None
    source = {"zoo": __version__, "version": plugin.version, "needs": list(plugin.requires), "file": state}
    place = digest(f"{plugin.source}\0{file}")[:16]
    return zoo_home() / "cache" / f"index-{plugin.name}-{place}.json", source


def _load_elsewhere(plugin: Plugin) -> Listing:
    log.info("indexing plugin %s, once", plugin.label)
    question = {"name": plugin.name, "version": plugin.version, "source": plugin.source, "requires": plugin.requires}
    answer = _ask(_load_in_process, question, TIME_LIMIT, f"Try again: zoo plugins {plugin.name}")
    return Listing(problem=answer) if isinstance(answer, tuple) else Listing.from_dict(answer)


def _ask(answer: Answer, question: dict[str, Any], limit: float, fix: str) -> dict[str, Any] | tuple[str, str, str]:
    """Return what another process answers, or what failed, why, and `fix` where it took longer than `limit` seconds."""
    failed = "importing it failed"
    try:
        # All plugins are left out there: one that lists the entries of zoo would start processes without end.
        with closing(Process(answer, {"ZOO_DISABLE_PLUGINS": "all", "ZOO_PLUGINS": ""})) as process:
            return process.ask(question, limit)
    except TimeoutError as error:
        return failed, str(error), fix
    except EOFError as error:
        return failed, str(error), ""
    except OSError as error:
        return "no process could be started to try it", describe(error), ""


def _load_in_process(question: dict[str, Any], write: Write) -> None:
    write(asdict(_load_here(Plugin(origin="", **question))))


def _try_file(plugin: Plugin, file: Path) -> PluginError | None:
    """Run a single file in another process before it runs here; return how it ended or blocked that, if it did.

    Errors that it raises are no matter here: they do the same in this process, with their traceback. That it went well
    is kept until the file, or one beside it that it imports, changes; what went wrong is tried again, for the cause may
    be elsewhere.
    """
    if file.suffix != ".py" or processes.is_contained or is_imported(file):
        return None
    facts = {"zoo": __version__, "python": sys.version, "file": asdict(describe_file(file))}
    kept = zoo_home() / "cache" / f"file-{plugin.name}-{digest(str(file))[:16]}.json"
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):  # also missing or damaged
        known = json.loads(read_file(kept, MAX_KEPT))
        if all(FileState(**state).is_current for state in known.pop("beside")) and known == facts:
            return None
    answer = _ask(
        _try_in_process, {"name": plugin.name, "file": str(file)}, FILE_TIME_LIMIT, "Look for an endless loop"
    )
    if isinstance(answer, tuple):
        return plugin.broken(*answer)
    _keep(kept, json.dumps({**facts, **answer}))
    return None


def _try_in_process(question: dict[str, Any], write: Write) -> None:
    file = Path(question["file"])
    load_specs(Plugin(question["name"], "", "", file))
    write({"beside": [asdict(describe_file(path)) for path in list_imported(file.parent)]})


def _keep(path: Path, text: str) -> None:
    """Write what was found out; where ZOO_HOME cannot be written, each command finds it out again."""
    with suppress(OSError, StorageError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(path, text.encode(), what="the index of a plugin")


def _load_here(plugin: Plugin) -> Listing:
    loaded = Plugin(plugin.name, plugin.version, "", plugin.source, installed=True, requires=plugin.requires)
    specs: list[tuple[str, dict[str, Any]]] = []
    problem = None
    try:
        for spec in load_specs(loaded):
            try:
                specs.append((spec.kind, make_row(plugin, spec)))
            except PluginError as error:
                loaded.left_out.append(Flaw(spec.kind, spec.name, error.why))
        if loaded.problem is not None:
            raise loaded.problem
        if loaded.left_out and not specs:
            raise plugin.explain_left_out(loaded.left_out[0])
    except PluginError as error:
        problem = (error.what.removeprefix(plugin.broken("", "").what).strip(), error.why, error.fix)
    except Exception as error:  # noqa: BLE001 a class of specs that the plugin derived may do anything
        problem = ("its specs are not usable", describe(error), "")
    return Listing(
        specs=[] if problem else specs,
        left_out=loaded.left_out,
        qualified_only=loaded.qualified_only and not problem,
        problem=problem,
        warnings=loaded.warnings,
        seconds=loaded.seconds,
        files=_find_imported(plugin, loaded.problem),
    )


def _find_imported(plugin: Plugin, problem: BaseException | None) -> list[FileState]:
    """Return the files of the plugin's own package that were imported, or failed to be: its listing depends on them."""
    if not isinstance(plugin.source, str):
        return []
    top = plugin.source.partition(".")[0]
    modules = [module for name, module in sys.modules.copy().items() if name.partition(".")[0] == top]
    files = {file for module in modules if isinstance(file := getattr(module, "__file__", None), str)}
    cause = problem.__cause__ if problem else None
    # sys.modules keeps no module that failed: its file is in the traceback, or in the error when it cannot be compiled.
    failed = {frame.f_code.co_filename for frame, _ in walk_tb(cause.__traceback__)} if cause else set()
    failed |= {str(cause.filename)} if isinstance(cause, SyntaxError) else set()
    folder = f"{os.sep}{top}{os.sep}"
    return [describe_file(file) for file in sorted(files | {file for file in failed if folder in file})]
