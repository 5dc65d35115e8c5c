"""Source: the line of a plugin's code that a finding points to."""

from __future__ import annotations

import inspect
import re
import sys
import sysconfig
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

# Findings never point into these packages, because the author of a plugin cannot change them.
FOREIGN = ("torch", "torchvision", "timm", "torchmetrics", "numpy", "PIL", "pluggy", "zoo", "pydantic", "safetensors")


def find_error_line(error: BaseException) -> str:
    """Return `file:line` of the innermost frame of the plugin's own code behind an error, "" when there is none."""
    found = ""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines = [(frame.f_code.co_filename, line) for frame, line in walk_tb(current.__traceback__)]
        found = next((f"{file}:{line}" for file, line in reversed(lines) if is_plugin_file(file)), found)
        current = current.__cause__ or current.__context__
    return found


def is_plugin_file(file: str) -> bool:
    """Tell whether a file may be a plugin's: it belongs neither to Python, nor to zoo's core, nor to FOREIGN."""
    path = Path(file)
    if file.startswith("<") or not path.is_absolute() or Path(__file__).parents[1] in path.parents:
        return False
    sites = [place for place, part in enumerate(path.parts) if part in ("site-packages", "dist-packages")]
    if sites:
        return path.parts[sites[-1] + 1].removesuffix(".py") not in FOREIGN
    return not any(Path(sysconfig.get_path(name)) in path.parents for name in ("stdlib", "platstdlib"))


def find_definition(thing: Any) -> str:
    """Return `file:line` where a class or function is defined, "" when it cannot be told."""
    try:
        target = inspect.unwrap(thing) if callable(thing) else type(thing)
        file, (lines, line) = inspect.getsourcefile(target), inspect.getsourcelines(target)
        # The source starts with the decorators; the line of the definition itself is wanted.
        line += next((i for i, text in enumerate(lines) if re.match(r"\s*(async )?(def|class)\b", text)), 0)
    except (OSError, TypeError, ValueError):
        return ""
    return f"{file}:{line}" if file and is_plugin_file(str(Path(file).absolute())) else ""


def find_caller(module: object = None) -> str:
    """Return `file:line` of the plugin's code that runs now, or that builds `module`; "" when there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        # The module's own __init__ does not count: the line that called it built the module.
        inside = module is not None and frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is module
        if not inside and is_plugin_file(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
