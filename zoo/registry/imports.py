"""Imports: an object by `"package.module:object"`, or a single file as a module with a name of its own."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

FILE_PREFIX = "zoo_plugin_"


def import_object(reference: str, beside: Path | None = None) -> Any:
    """Return what `"package.module:object"` names; a module beside the manifest `beside` comes first.

    Raises:
        Exception: whatever the import raises; callers add the name of the plugin.
    """
    module, _, path = reference.partition(":")
    file = beside.with_name(f"{module}.py") if beside is not None else None
    found = import_file(file) if file is not None and file.is_file() else importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def import_file(path: Path) -> ModuleType:
    """Import a Python file under a name of its own, which is in `sys.modules` before the file runs.

    Raises:
        BaseException: whatever the file raises.
    """
    name = _name_module(path)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def is_imported(path: Path) -> bool:
    """Tell whether `import_file` has imported a file, or is about to."""
    return _name_module(path) in sys.modules


def _name_module(path: Path) -> str:
    import hashlib

    stem, digest = re.sub(r"[^a-z0-9]", "_", path.stem.lower()), hashlib.sha256(str(path).encode()).hexdigest()[:8]
    return f"{FILE_PREFIX}{stem}_{digest}"


def imported_files() -> list[str]:
    """Return the files that were imported so far, in order; another process calls `import_file` with each.

    A worker process that was not forked cannot find such a module by its name, so it needs this before it can unpickle
    any object of the module.
    """
    found = [module for name, module in list(sys.modules.items()) if name.startswith(FILE_PREFIX)]
    return [str(module.__file__) for module in found if module.__file__]
