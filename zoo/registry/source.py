"""Source: the line of a plugin's code that an error comes from."""

from __future__ import annotations

import re
import sysconfig
from pathlib import Path
from traceback import walk_tb

from zoo.errors import describe
from zoo.registry.imports import PACKAGE_PREFIX

# Messages never point into these packages, because the author of a plugin cannot change them.
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


def describe_fault(error: BaseException) -> str:
    """Return what `describe` tells of an error and, where code of a plugin raised it, `(FILE, line NUMBER)`."""
    told = re.sub(rf"\b{PACKAGE_PREFIX}\w+\.(?=\w)", "", describe(error))  # what zoo calls the folder of a file
    file, _, line = find_error_line(error).rpartition(":")
    # Python says of a syntax error itself where it is.
    return f"{told} ({Path(file).name}, line {line})" if file and not isinstance(error, SyntaxError) else told
