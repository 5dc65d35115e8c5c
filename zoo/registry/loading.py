"""Loading: run the code of a plugin, call its hooks and check what they give, so that a failure names the plugin."""

from __future__ import annotations

import importlib
import inspect
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from zoo.errors import ManifestError, ZooError, closest, describe, quote, shorten
from zoo.registry import hookspecs
from zoo.registry.flaws import Flaw, keep_flawed
from zoo.registry.imports import import_file
from zoo.registry.manifest import Manifest, read_manifest
from zoo.registry.plugins import Plugin
from zoo.registry.specs import SPEC_ATTRIBUTE, SPEC_CLASSES, AnySpec
from zoo.version import __version__

# No catalogue has this many entries: a hook that yields more never ends.
MAX_SPECS = 100_000


def load_specs(plugin: Plugin) -> list[AnySpec]:
    """Return the specs of a plugin; its code, if it has any, runs at the first call.

    An entry with a mistake is left out, see `left_out`. A plugin that fails, or of which all entries are left out, is
    marked with its `problem` and has no specs. Nothing is raised but KeyboardInterrupt.
    """
    if plugin.specs is None:
        specs: list[AnySpec] = []
        try:
            if plugin.problem is None:
                _check_requires(plugin)
                specs = _collect_specs(plugin, _load_provider(plugin))
                if plugin.left_out and not specs:
                    raise plugin.explain_left_out(plugin.left_out[0])
        except ZooError as error:
            plugin.problem = error
        plugin.specs = specs
    return plugin.specs


def _check_requires(plugin: Plugin) -> None:
    """Refuse a plugin whose metadata require another version of zoo, which no installer may have checked."""
    for text in plugin.requires:
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            needed = Requirement(text)
        except InvalidRequirement as error:
            raise plugin.broken(f"its metadata requires {quote(text)}", describe(error)) from error
        applies = needed.marker is None or needed.marker.evaluate({"extra": ""})
        if applies and not needed.specifier.contains(__version__, prereleases=True):
            fix = f"Fix: pip install -U {needed.name} {plugin.name}"
            raise plugin.broken(f"needs {needed.name} {needed.specifier}", f"this is {__version__}", fix)


def _load_provider(plugin: Plugin) -> object:
    """Return the manifest, or the object that answers the hooks."""
    source = plugin.source
    if isinstance(source, Path) and source.suffix == ".toml":
        try:
            return read_manifest(source, plugin.left_out)
        except ManifestError as error:
            if not plugin.installed:
                raise
            raise plugin.broken("its manifest is not usable", str(error)) from error
    if not isinstance(source, str | Path):
        return source
    started = time.perf_counter()
    try:
        with plugin.blamed("importing it failed"), plugin.importing(), keep_flawed():
            return import_file(source) if isinstance(source, Path) else importlib.import_module(source)
    finally:
        plugin.seconds = time.perf_counter() - started


def _collect_specs(plugin: Plugin, provider: object) -> list[AnySpec]:
    """Return the specs of one plugin by kind, without those that have a flaw or share a name."""
    if isinstance(provider, Manifest):
        plugin.qualified_only = provider.qualified_only
        specs = [spec for kind in SPEC_CLASSES for spec in provider.specs if spec.kind == kind]
    else:
        specs = _call_hooks(plugin, provider)
    plugin.left_out += [Flaw(spec.kind, shorten(spec.name), spec.flaw) for spec in specs if spec.flaw]
    specs = [spec for spec in specs if not spec.flaw]
    counts = Counter((spec.kind, name) for spec in specs for name in (spec.name, *spec.aliases))
    kept = []
    for spec in specs:
        # Which of two is meant nobody can tell, so neither is there.
        if twice := [name for name in (spec.name, *spec.aliases) if counts[spec.kind, name] > 1]:
            why = "declared twice" if twice[0] == spec.name else f"its alias {quote(twice[0])} is declared twice"
            plugin.left_out.append(Flaw(spec.kind, spec.name, why))
        else:
            kept.append(spec)
    plugin.left_out = list(dict.fromkeys(plugin.left_out))
    return kept


def _call_hooks(plugin: Plugin, provider: object) -> list[AnySpec]:
    """Call each hook and check what it gives; pluggy checks the hooks' names and arguments."""
    import pluggy

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    with plugin.blamed("its hooks are not usable"):
        manager.register(provider, plugin.name)
        plugin.warnings += _find_unknown_hooks(manager)
    specs = [spec for kind in hookspecs.HOOKS for spec in _call_hook(plugin, manager, kind)]
    if isinstance(provider, ModuleType):
        specs += _find_decorated(provider)
    return specs


def _find_unknown_hooks(manager: Any) -> list[str]:
    """Return a warning for each function that is marked as a hook but is none: misspelt, or for a newer zoo."""
    known = list(hookspecs.HOOKS.values())
    callers = [caller for provider in manager.get_plugins() for caller in manager.get_hookcallers(provider) or ()]
    warnings = []
    for name in sorted(caller.name for caller in callers if caller.name not in known):
        near = closest(name, known)
        hint = f"did you mean {quote(near)}?" if near else f"known hooks: {', '.join(known)}"
        warnings.append(f"unknown hook {quote(name)} is never called; {hint}")
    return warnings


def _call_hook(plugin: Plugin, manager: Any, kind: str) -> list[AnySpec]:
    hook, wanted = hookspecs.HOOKS[kind], SPEC_CLASSES[kind]
    specs: list[AnySpec] = []
    for implementation in getattr(manager.hook, hook).get_hookimpls():
        with plugin.blamed(f"{hook}() failed"), plugin.importing(), keep_flawed():
            given = implementation.function()
            if not isinstance(given, Iterable):
                raise TypeError(f"expected to yield {wanted.__name__} objects, got {type(given).__name__}")
            for spec in given:
                if isinstance(spec, AnySpec) and not isinstance(spec, wanted):
                    why = f"{hook}() is expected to yield {wanted.__name__} objects, got {type(spec).__name__}"
                    plugin.left_out.append(Flaw(spec.kind, shorten(spec.name), why))
                    continue
                if not isinstance(spec, wanted):
                    raise TypeError(f"expected to yield {wanted.__name__} objects, got {type(spec).__name__}")
                specs.append(spec)
                if len(specs) > MAX_SPECS:
                    raise ValueError(f"more than {MAX_SPECS} specs")
    return specs


def _find_decorated(module: ModuleType) -> list[AnySpec]:
    """Return the specs that decorators attached to objects of this very module, in the order of definition."""
    # getattr_static, because reading an attribute of a foreign object may run any code.
    marked = [value for value in vars(module).values() if inspect.getattr_static(value, SPEC_ATTRIBUTE, None)]
    own = [value for value in marked if getattr(value, "__module__", None) == module.__name__]
    unique = {id(value): value for value in own if SPEC_ATTRIBUTE in getattr(value, "__dict__", {})}
    return [spec for value in unique.values() for spec in getattr(value, SPEC_ATTRIBUTE)]
