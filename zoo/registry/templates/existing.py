"""Existing files: a package made from a plugin file, which declares in it what it declared alone."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template

from zoo.errors import IncompatibleError, UsageError, quote
from zoo.registry.compatibility import adapt_preprocess
from zoo.registry.distributions import normalize_name
from zoo.registry.imports import find_beside
from zoo.registry.index import ensure_indexed
from zoo.registry.manifest import first_party_path, read_manifest
from zoo.registry.plugins import DISTRIBUTION, Plugin, plugin_from_path
from zoo.registry.preprocess import Preprocess
from zoo.registry.rows import name_callable
from zoo.registry.specs import AnySpec, DatasetSpec, ModelSpec, Spec
from zoo.registry.templates import (
    TEXTS,
    NewPlugin,
    check_target,
    choose_folder,
    choose_names,
    list_commands,
    package,
    write_files,
)
from zoo.registry.templates.sources import Sources, read_sources


def write_package(
    file: str | os.PathLike[str], name: str | None = None, *, output: str | os.PathLike[str] | None = None
) -> NewPlugin:
    """Write a package from a plugin file, with what it imports from beside it, and return what was written.

    The package is called `zoo-NAME`, after the file where no `name` is given, and becomes the folder of that name;
    `output` is another path for it. The file runs as `--plugin` runs it, to tell what it declares. It stays as it is.

    Raises:
        UsageError: the file or the name cannot be made a package; the path exists.
        PluginError: the file does not work, or declares what nobody could find in a package.
        StorageError: the path cannot be written.
    """
    plugin, path = _find_plugin(file)
    words = choose_names(name or re.sub("[^a-z0-9.]+", "-", path.stem.lower()).strip("-."))
    target = choose_folder(words, output)
    check_target(target)
    specs = _list_specs(plugin, path)
    texts = {
        spec.factory: f"{words['package']}.{spec.factory}"
        for spec in specs
        if isinstance(spec.factory, str) and find_beside(path.parent, spec.factory.partition(".")[0].partition(":")[0])
    }
    sources = read_sources(path, [text.partition(":")[0].partition(".")[0] for text in texts])
    _check_texts(plugin, sources, texts)
    needed, unknown = _find_dependencies([*sources.foreign, *_list_named(specs, texts)])
    words |= _describe(words["project"], sources.main, specs)
    words["dependencies"] = ", ".join([package.OWN, *(f'"{name}"' for name in needed)])
    words["point"] = f"{words['package']}.{sources.main}"
    words["found"] = "it runs that module once after an installation, in a process of its own"
    written = {
        "README.md": package.README_FROM_FILE,
        "pyproject.toml": package.PROJECT,
        f"tests/test_{words['package'].removeprefix('zoo_')}.py": package.TESTS_FROM_FILE,
        f"{words['package']}/__init__.py": package.INIT_FROM_FILE,
    }
    files = {where: Template(text).substitute(words).encode() for where, text in written.items()}
    files |= {f"{words['package']}/{where}": data for where, data in sources.rewrite(words["package"], texts).items()}
    write_files(target, files)
    notes = [f"{plugin.name}: {text}" for text in (*plugin.left_out, *plugin.warnings)]
    if unknown:
        notes.append(f"no installed package has {', '.join(unknown)}: add what brings it to pyproject.toml")
    return NewPlugin(path=target, files=tuple(files), commands=list_commands(target, words["run"]), notes=tuple(notes))


def _find_plugin(file: str | os.PathLike[str]) -> tuple[Plugin, Path]:
    """Return the plugin of a Python file, after it ran, and its path."""
    plugin = plugin_from_path(os.fspath(file))
    path = plugin.source
    if not isinstance(path, Path) or path.suffix != ".py" or path.stem == "__init__":
        raise UsageError(f"file {quote(file)}", "expected a plugin file like my_model.py")
    ensure_indexed(plugin)
    if plugin.problem is not None:
        raise plugin.problem
    return plugin, path


def _list_specs(plugin: Plugin, path: Path) -> list[Spec]:
    """Return what a plugin declares; raise an error where a package could not provide it."""
    specs: list[AnySpec] = plugin.specs or []
    if not specs:
        fix = "Mark a class or function with @zoo.model, @zoo.dataset, @zoo.metric or @zoo.loss"
        raise UsageError(f"file {quote(path)} declares nothing", fix=fix)
    found: list[Spec] = []
    for spec in specs:
        if not isinstance(spec, Spec):
            why = "they are weights of the file's own model, and the package will have another"
            raise plugin.broken(
                f"weights {quote(spec.name)}", why, "Take them out, and make them anew with zoo.convert"
            )
        name_callable(plugin, spec)
        found.append(spec)
    return found


def _check_texts(plugin: Plugin, sources: Sources, texts: dict[str, str]) -> None:
    """Refuse a factory that is named by a text which the code makes: nothing could be put in its place."""
    nodes = (node for source in sources.files for node in ast.walk(source.tree))
    constants = {node.value for node in nodes if isinstance(node, ast.Constant)}
    for text in texts.keys() - constants:
        why = f"its factory {quote(text)} is beside the file, and the code does not say so as one text"
        raise plugin.broken("it cannot be made a package", why, "Give the class or function itself as factory")


def _list_named(specs: Sequence[Spec], texts: dict[str, str]) -> list[str]:
    """Return the modules of factories that are named by a text and are not beside the file."""
    named = [spec.factory for spec in specs if isinstance(spec.factory, str) and spec.factory not in texts]
    return [text.partition(":")[0].partition(".")[0] for text in named]


def _find_dependencies(modules: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the packages to require for modules that are imported, and the modules of which no package is known.

    What zoo itself requires is there.
    """
    from importlib.metadata import PackageNotFoundError, packages_distributions, requires

    try:
        lines = [line for line in requires(DISTRIBUTION) or () if "extra ==" not in line]
    except PackageNotFoundError:  # a checkout that is on the path and not installed
        lines = []
    there = {DISTRIBUTION, *(normalize_name(re.split(r"[^\w.-]", line)[0]) for line in lines)}
    owners = packages_distributions()
    needed, unknown = set(), []
    for module in modules:
        names = {normalize_name(name) for name in owners.get(module, ())}
        if module in sys.stdlib_module_names or module in ("zoo", "zoo_plugins") or names & there:
            continue
        if len(names) == 1:
            needed |= names
        else:  # a namespace that several share, or a folder on the path
            unknown.append(module)
    return sorted(needed), sorted(set(unknown))


def _describe(project: str, main: str, specs: Sequence[Spec]) -> dict[str, str]:
    """Return the words that say what a package has, how to run it and what its tests check."""
    nouns = [TEXTS[kind].NOUN for kind in TEXTS if any(spec.kind == kind for spec in specs)]
    kinds = f"{', '.join(nouns[:-1])} and {nouns[-1]}" if len(nouns) > 1 else nouns[0]
    qualified = [f"{project}/{spec.name}" for spec in specs]
    models = [spec for spec in specs if isinstance(spec, ModelSpec)]
    fetches = any(isinstance(spec, DatasetSpec) and spec.files for spec in specs)
    return {
        "module": main,
        "summary": f"A {kinds} for zoo" if len(specs) == len(nouns) else f"What {main}.py has for zoo",
        "names": ", ".join(f"`{spec.name}`" for spec in specs),
        "entries": ", ".join(f'"{name}"' for name in dict.fromkeys(qualified)),
        "options": ", offline=False" if fetches else "",
        "run": _choose_run(project, specs),
        "convert": Template(package.CONVERT).substitute(model=f"{project}/{models[0].name}") if models else "",
    }


def _choose_run(project: str, specs: Sequence[Spec]) -> str:
    """Return a command that uses the first thing of each kind, as far as they are declared to fit."""
    first = {spec.kind: spec for spec in reversed(specs)}
    model, dataset = first.get("model"), first.get("dataset")
    own = [spec for spec in read_manifest(first_party_path()).specs if isinstance(spec, DatasetSpec)]
    usual = next(spec for spec in own if spec.name == "shapes")
    known = [spec for spec in (dataset, usual) if isinstance(spec, DatasetSpec)]
    if isinstance(model, ModelSpec):
        known = [spec for spec in known if spec.input_shape and _fits(model, spec)]
        if not known:
            return f"zoo show {project}/{model.name}"
    words = ["zoo run", f"--model {project}/{model.name}" if model else "--model baseline"]
    words.append("--dataset shapes" if known[0] is usual else f"--dataset {project}/{known[0].name}")
    if metric := first.get("metric"):
        words.append(f"--metric accuracy --metric {project}/{metric.name}")
    if loss := first.get("loss"):
        words.append(f"--loss {project}/{loss.name}")
    return " ".join(words)


def _fits(model: ModelSpec, dataset: DatasetSpec) -> bool:
    try:
        adapt_preprocess(model, dataset.name, dataset.input_shape or (), Preprocess())
    except IncompatibleError:
        return False
    return True
