"""The certificate: all checks of all entries of a plugin. `zoo.checks.isolation` makes it in a process of its own."""

from __future__ import annotations

import platform
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from zoo.checks.base import Check, Fault, run_checks
from zoo.checks.targets import find_target
from zoo.registry.certificates import Certificate, Finding, decide, find_source
from zoo.registry.entries import Entry, Registry
from zoo.registry.imports import list_imported
from zoo.registry.index import find_names
from zoo.registry.loading import load_specs
from zoo.registry.manifest import TABLES
from zoo.registry.params import FIXED
from zoo.registry.plugins import Plugin
from zoo.registry.specs import SPEC_CLASSES
from zoo.storage import folders
from zoo.storage.files import FileState, describe_file
from zoo.version import __version__

HEAVY = ("torch", "torchvision", "timm", "torchmetrics", "tensorflow", "jax", "pandas", "matplotlib")
"""Packages that take long to import, so that listing a plugin must not import them."""

OnStart = Callable[[str, str], None]


@dataclass
class PluginSubject:
    """A plugin to check, and the registry it is in."""

    plugin: Plugin
    registry: Registry


def check_loads(subject: PluginSubject) -> str:
    """Its entries can be listed.

    A plugin whose manifest, import or hooks fail provides nothing.
    """
    plugin = subject.plugin
    subject.registry.retry(plugin)
    if plugin.problem is not None:
        raise Fault(str(plugin.problem), "Mend what it names; zoo plugins NAME shows it too")
    counts = {kind: len(find_names(plugin, kind)) for kind in SPEC_CLASSES}
    if not any(counts.values()):
        fix = "Yield specs from a hook that is marked @zoo.hookimpl, use a decorator, or add a table to the manifest"
        raise Fault("; ".join(["it provides nothing", *subject.registry.warnings_of(plugin)]), fix)
    plural = {kind: table for table, kind in TABLES.items()}
    return ", ".join(f"{count} {kind if count == 1 else plural[kind]}" for kind, count in counts.items() if count)


def check_listing(subject: PluginSubject) -> str:
    """Reading it imports nothing heavy.

    A manifest is data. A module with hooks runs to be listed, once after each installation: with torch at its top
    everybody waits for that. A single file is for its author; it may import what it likes.
    """
    plugin, before = subject.plugin, set(sys.modules)
    fresh = Plugin(plugin.name, plugin.version, "", plugin.source, installed=plugin.installed, requires=plugin.requires)
    started = time.perf_counter()
    load_specs(fresh)
    seconds = time.perf_counter() - started
    heavy = [name for name in HEAVY if name in sys.modules and name not in before]
    if isinstance(plugin.source, Path) and plugin.source.suffix == ".toml":
        if heavy:
            raise Fault(f"reading its manifest imported {heavy[0]}", "Take imports out of what is read")
        return "its manifest is read as data"
    if not plugin.installed:
        return "a single file runs to be listed"
    if heavy:
        fix = "Import it inside the functions that use it, and name factories as 'package.module:object'"
        raise Fault(f"importing {plugin.source} imports {', '.join(heavy)}, {seconds:.1f} s", fix, status="warning")
    return f"importing {plugin.source} takes {seconds:.2f} s and nothing heavy"


def check_names(subject: PluginSubject) -> str:
    """Its hooks and names mean what their author expects.

    An entry with a mistake is left out, a misspelt hook is never called, and a bare name that zoo has already means
    zoo's own.
    """
    if left_out := subject.plugin.left_out:
        raise Fault("; ".join(map(str, left_out)), "Mend what it names, or take the entry out")
    if told := subject.registry.warnings_of(subject.plugin):
        raise Fault("; ".join(told), "Rename it", status="warning")
    return "no unknown hooks, no names of zoo's own"


PLUGIN_CHECKS: Mapping[str, Check[PluginSubject]] = {
    "loads": check_loads,
    "listing": check_listing,
    "names": check_names,
}
"""The checks of the plugin itself."""


def examine(
    registry: Registry,
    plugin: Plugin,
    pattern: str = "",
    *,
    data_dir: Path,
    offline: bool = False,
    done: Sequence[str] = (),
    on_start: OnStart = lambda entry, check: None,
) -> Iterator[tuple[str, Finding]]:
    """Yield what the checks find, each with its entry: `"plugin"`, then `"kind name"`; those of `done` are left out.

    Everything heavy is imported after the plugin itself was read.
    """
    if "plugin" not in done:
        whole = PluginSubject(plugin, registry)
        for finding in run_checks(PLUGIN_CHECKS, whole, gates=("loads",), on_start=partial(on_start, "plugin")):
            yield "plugin", finding
    for kind in SPEC_CLASSES:
        for entry in list_own_entries(registry, plugin, kind, pattern):
            label = f"{kind} {entry.name}"
            if label in done:
                continue
            checks, subject, gates = choose_checks(entry, registry, data_dir, offline)
            from zoo.models.device import use_threads

            with warnings.catch_warnings(), use_threads(1):
                warnings.simplefilter("ignore")  # the checks give strange inputs, which plugins may warn about
                for finding in run_checks(checks, subject, gates=gates, on_start=partial(on_start, label)):
                    yield label, finding


def list_own_entries(registry: Registry, plugin: Plugin, kind: Any, pattern: str = "") -> list[Entry[Any]]:
    """Return the entries of one plugin whose bare name matches a shell pattern, "" for all."""
    entries = [entry for entry in registry.list_entries(kind, "*") if entry.plugin is plugin]
    return [entry for entry in entries if not pattern or fnmatchcase(entry.name, pattern)]


def choose_checks(
    entry: Entry[Any], registry: Registry, data_dir: Path, offline: bool
) -> tuple[Mapping[str, Check[Any]], Any, Sequence[str]]:
    """Return the checks of an entry's kind, their subject, and the checks without which the others are not tried."""
    kind = entry.spec.kind
    if kind == "model":
        from zoo.checks.model import contract as models
        from zoo.checks.model.subject import ModelSubject

        return models.MODEL_CHECKS, ModelSubject(entry), models.GATES
    if kind == "dataset":
        from zoo.checks.dataset import contract as datasets
        from zoo.checks.dataset.subject import DatasetSubject

        subject = DatasetSubject(entry=entry, root=data_dir, offline=offline)
        if entry.spec.path_param and not entry.spec.params.get(entry.spec.path_param):
            return datasets.PATH_CHECKS, subject, ()
        return datasets.DATASET_CHECKS, subject, datasets.GATES
    if kind == "metric":
        from zoo.checks.metric import contract as metrics
        from zoo.checks.metric.subject import MetricSubject

        return metrics.METRIC_CHECKS, MetricSubject(entry), metrics.GATES
    if kind == "recipe":
        from zoo.checks import recipe

        return recipe.RECIPE_CHECKS, recipe.RecipeSubject(entry, registry), ("plan",)
    if kind == "logger":
        from zoo.checks import logger

        return logger.LOGGER_CHECKS, logger.LoggerSubject(entry), logger.GATES
    if kind == "loss":
        from zoo.checks.loss import contract as losses

        return losses.LOSS_CHECKS, losses.LossSubject(entry), losses.GATES
    if kind != "weights":
        return {}, None, ()
    from zoo.checks import weights

    return weights.WEIGHTS_CHECKS, weights.WeightsSubject(entry, registry, offline), ()


def issue_certificate(
    plugins: Sequence[Plugin], findings: Mapping[str, Sequence[Finding]], files: Sequence[FileState], *, whole: bool
) -> Certificate:
    """Return the certificate of a plugin after its checks; `whole` says whether all entries were checked."""
    first = plugins[0]
    return Certificate(
        plugin=first.name,
        version=first.version,
        source=find_source(first),
        zoo=__version__,
        versions={"torch": version("torch"), "python": platform.python_version()},
        date=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        verdict=decide(findings),
        whole=whole,
        findings={entry: list(many) for entry, many in findings.items()},
        files=list(files),
    )


def list_files(plugins: Sequence[Plugin], registry: Registry) -> list[FileState]:
    """Return the files of a plugin that were read or imported so far, with time and size.

    Those are its manifest or file, what was imported from beside it, and the imported modules of the packages that
    define its factories.
    """
    paths = {str(plugin.source) for plugin in plugins if isinstance(plugin.source, Path)}
    packages = {plugin.source.partition(".")[0] for plugin in plugins if isinstance(plugin.source, str)}
    for plugin in plugins:
        if isinstance(plugin.source, Path) and not plugin.installed:
            paths.update(list_imported(plugin.source.parent))
    for plugin in plugins:
        for kind in FIXED:
            for entry in list_own_entries(registry, plugin, kind):
                factory = entry.spec.factory
                name = factory if isinstance(factory, str) else getattr(factory, "__module__", "")
                packages.add(name.partition(":")[0].partition(".")[0])
    packages -= set(HEAVY)
    # A copy, because the loop may trigger a garbage collection whose finalisers import modules.
    for name, module in sys.modules.copy().items():
        file = getattr(module, "__file__", None)
        if name.partition(".")[0] in packages and isinstance(file, str):
            paths.add(file)
    return [describe_file(path) for path in sorted(paths)]


def check_plugin(target: str | Path, *, data_dir: str | Path | None = None, offline: bool = False) -> Certificate:
    """Check every entry of a plugin in this process and return its certificate; nothing is kept of it.

    `target` is the name of an installed plugin, `name/pattern` for some of its entries, or the path of a file.

    Raises:
        UnknownNameError, UsageError: there is no such plugin or file.
    """
    registry, parts, pattern = find_target(target)
    root = folders.data_dir(data_dir)
    findings: dict[str, list[Finding]] = {}
    for plugin in parts:
        if not plugin.installed:
            load_specs(plugin)  # without trying a file in another process first: all of this is in this one
        for entry, found in examine(registry, plugin, pattern, data_dir=root, offline=offline):
            findings.setdefault(entry, []).append(found)
    return issue_certificate(parts, findings, list_files(parts, registry), whole=not pattern)
