"""Imports: an object by `"package.module:object"`, and files given by path with what lies beside them.

A folder with such files is a package of zoo's own, with a name that no other has; nothing in it is on `sys.path`. Its
modules, and only they, import a name that lies beside them from there: each gets an `__import__` of its own, which the
statement `import` looks up in the `__builtins__` of its module. So each folder has its own `layers`, and a `json.py` in
one is nobody's `json`.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib
import importlib.util
import logging
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache, partial
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

log = logging.getLogger("zoo")

PACKAGE_PREFIX = "zoo_plugin_"
# What zoo is made of and what its plugins stand on, wherever it is installed.
FOUNDATION = {"zoo", "zoo_plugins", "torch", "torchvision", "torchmetrics", "timm", "numpy", "pytest"}
SITE_FOLDERS = ("site-packages", "dist-packages")


def import_object(reference: str, beside: Path | None = None) -> Any:
    """Return what `"package.module:object"` names; a module or package beside the file `beside` is found there.

    Raises:
        Exception: whatever the import raises; callers add the name of the plugin.
    """
    module, _, path = reference.partition(":")
    if beside is not None and beside.with_name(f"{module}.py").is_file():
        found = import_file(beside.with_name(f"{module}.py"))
    elif beside is not None and find_beside(beside.parent, module.partition(".")[0]) is not None:
        found = importlib.import_module(f"{_name_package(beside.parent)}.{module}")
    else:
        found = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def import_file(path: Path) -> ModuleType:
    """Import a Python file as a module of the package of its folder; once, however often it is asked for.

    Raises:
        BaseException: whatever the file raises.
    """
    _enter_package(path.parent)
    return importlib.import_module(_name_module(path))


def is_imported(path: Path) -> bool:
    """Tell whether `import_file` has imported a file, or is about to."""
    return _name_module(path) in sys.modules


def find_beside(folder: Path, top: str, importer: Path | None = None) -> ModuleSpec | None:
    """Return how a module beside a file is loaded, where `import top` means one there; `importer` is the file."""
    return _find_beside(_enter_package(folder), top, str(importer))


def list_folders() -> list[str]:
    """Return the folders of the files that were imported so far; another process calls `add_folders` with them."""
    found = [module for name, module in sys.modules.copy().items() if name.startswith(PACKAGE_PREFIX)]
    return [str(module.__path__[0]) for module in found if "." not in module.__name__]


def add_folders(folders: Sequence[str]) -> None:
    """Let modules of these folders be found by the names that `import_file` gives them.

    A worker process that was not forked needs this before it can unpickle any object of such a module.
    """
    for folder in folders:
        _enter_package(Path(folder))


def list_imported(folder: Path) -> list[str]:
    """Return the files of a folder, and of packages in it, that were imported as described above, sorted."""
    inside = f"{_name_package(folder)}."
    found = [module for name, module in sys.modules.copy().items() if name.startswith(inside)]
    return sorted({file for module in found if isinstance(file := getattr(module, "__file__", None), str)})


@cache
def _name_package(folder: Path) -> str:
    stem, digest = re.sub(r"[^a-z0-9]", "_", folder.name.lower()), hashlib.sha256(str(folder).encode()).hexdigest()[:8]
    return f"{PACKAGE_PREFIX}{stem}_{digest}"


def _name_module(path: Path) -> str:
    # A dot in the name of a file would make it look like a module of a package.
    return f"{_name_package(path.parent)}.{path.stem.replace('%', '%25').replace('.', '%2E')}"


def _enter_package(folder: Path) -> str:
    """Return the name of the package that a folder is, which can be imported from then on."""
    name = _name_package(folder)
    if name not in sys.modules:
        package = ModuleType(name, f"The files of {folder}, as zoo imports them.")
        package.__path__ = [str(folder)]
        sys.modules[name] = package
    if BesideFinder not in sys.meta_path:
        # First, because the finder of `sys.path` would find these modules too, and leave them the common `import`.
        sys.meta_path.insert(0, BesideFinder)
    return name


class BesideFinder:
    """Finds modules of the packages of this module, and nothing else."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return how a module is loaded, or None where it is another's."""
        package, _, stem = name.partition(".")
        if not stem or not package.startswith(PACKAGE_PREFIX) or path is None:
            return None
        file = Path(path[0], f"{stem.replace('%2E', '.').replace('%25', '%')}.py")
        if file.is_file():  # also where a folder has the same name, for it is files that are given by path
            return importlib.util.spec_from_file_location(name, file, loader=BesideLoader(name, str(file)))
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = BesideLoader(name, spec.loader.path)
        return spec


class BesideLoader(SourceFileLoader):
    """Runs a Python file with an `import` that looks beside it."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the file."""
        package = module.__name__.partition(".")[0]
        module.__dict__["__builtins__"] = {**vars(builtins), "__import__": partial(_import_beside, package)}
        super().exec_module(module)


def _import_beside(
    package: str,
    name: str,
    globals: Mapping[str, object] | None = None,
    locals: Mapping[str, object] | None = None,
    fromlist: Sequence[str] | None = (),
    level: int = 0,
) -> ModuleType:
    """Do what `__import__` does, for a module of `package`."""
    top = name.partition(".")[0]
    if level or _find_beside(package, top, str((globals or {}).get("__file__"))) is None:
        return builtins.__import__(name, globals, locals, fromlist or (), level)
    if fromlist:
        return builtins.__import__(f"{package}.{name}", globals, locals, fromlist, 0)
    importlib.import_module(f"{package}.{name}")
    return sys.modules[f"{package}.{top}"]


def _find_beside(package: str, top: str, importer: str) -> ModuleSpec | None:
    """Return what lies beside the modules of `package` where they mean it by `import top`.

    The standard library and installed packages come first, so that a file keeps its meaning when another is put beside
    it. All else that lies there comes before what `sys.path` has, such as the current folder of a program.
    """
    spec = BesideFinder.find_spec(f"{package}.{top}", sys.modules[package].__path__)
    if spec is None:
        return None
    if spec.loader is None:  # a folder without `__init__.py` gives way to any module, as everywhere in Python
        return spec if not _is_known(top) and importlib.util.find_spec(top) is None else None
    if not _is_known(top):
        return spec
    if spec.origin != importer:
        _warn_hidden(str(spec.origin), top)
    return None


def _is_known(top: str) -> bool:
    """Tell whether a module is of the standard library, of what zoo stands on, or installed."""
    if top in sys.stdlib_module_names or top in FOUNDATION:
        return True
    spec = PathFinder.find_spec(top, [path for path in sys.path if Path(path).name in SITE_FOLDERS])
    return spec is not None and spec.loader is not None


@cache
def _warn_hidden(file: str, top: str) -> None:
    log.warning("%s is not what the files beside it import as %s: installed or standard modules come first", file, top)


def find_module(name: str) -> Path | None:
    """Return the file of a module, which is not imported; None where there is none."""
    top, *rest = name.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except Exception:  # noqa: BLE001 finders of editable installations are foreign code; importing reports the error
        spec = None
    folders = [Path(folder, *rest) for folder in spec.submodule_search_locations or ()] if spec else []
    paths = [path for folder in folders for path in (folder.with_suffix(".py"), folder / "__init__.py")]
    return next((path for path in paths if path.is_file()), Path(spec.origin) if spec and spec.origin else None)
