"""Source: the line of a plugin's code that a finding points to."""

from __future__ import annotations

import inspect
import re
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import FrameType
from typing import Any

from torch import nn

CREATED = "_zoo_created_at"
# Code that no plugin's author can mend: the standard library, torch and its kin, zoo itself.
FOREIGN = ("torch", "torchvision", "timm", "torchmetrics", "numpy", "PIL", "pluggy", "zoo", "pydantic", "safetensors")


def find_line(error: BaseException) -> str:
    """Return `file:line` of the innermost frame of the plugin's own code behind an error, "" when there is none."""
    found = ""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        lines = [(frame.f_code.co_filename, line) for frame, line in walk_tb(current.__traceback__)]
        own = [f"{file}:{line}" for file, line in lines if is_own(file)]
        found = own[-1] if own else found
        current = current.__cause__ or current.__context__
    return found


def is_own(file: str) -> bool:
    """Tell whether a file may be a plugin's: not part of Python, of torch and its kin, or of zoo's core."""
    path = Path(file)
    if file.startswith("<") or not path.is_absolute():
        return False
    if Path(__file__).parents[1] in path.parents:
        return False
    if any(part in ("site-packages", "dist-packages") for part in path.parts):
        below = path.parts[
            max(i for i, part in enumerate(path.parts) if part in ("site-packages", "dist-packages")) + 1
        ]
        return below.removesuffix(".py") not in FOREIGN
    return not any(Path(sysconfig.get_path(name)) in path.parents for name in ("stdlib", "platstdlib"))


def find_definition(thing: Any) -> str:
    """Return `file:line` where a class or function is defined, "" when it cannot be told."""
    try:
        target = inspect.unwrap(thing) if callable(thing) else type(thing)
        file, (lines, line) = inspect.getsourcefile(target), inspect.getsourcelines(target)
        # The decorators come first.
        line += next((i for i, text in enumerate(lines) if re.match(r"\s*(async )?(def|class)\b", text)), 0)
    except (OSError, TypeError, ValueError):
        return ""
    return f"{file}:{line}" if file and is_own(str(Path(file).absolute())) else ""


@contextmanager
def note_lines() -> Iterator[None]:
    """Let every module that is built inside remember the plugin's line that built it; see `find_creation`."""
    original = nn.Module.__init__

    def init(self: nn.Module, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        # A plain attribute, which no state dict and no traversal sees.
        self.__dict__[CREATED] = find_caller(self)

    nn.Module.__init__ = init  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Module.__init__ = original  # type: ignore[method-assign]


def find_caller(module: nn.Module | None = None) -> str:
    """Return `file:line` of the plugin's code that is running, "" when there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        # A class's own __init__ does not create it; who calls that does.
        own = module is not None and frame.f_code.co_name == "__init__" and frame.f_locals.get("self") is module
        if not own and is_own(frame.f_code.co_filename):
            return f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""


def find_creation(module: nn.Module) -> str:
    """Return `file:line` of the plugin's code that built a module inside `note_lines`, "" when unknown."""
    return str(module.__dict__.get(CREATED, ""))
