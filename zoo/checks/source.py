"""Source: the line of a plugin's code that a finding points to."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from zoo.registry.source import is_plugin_file


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
