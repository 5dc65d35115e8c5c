"""zoo: any registered model, data set and metric, one command, plain PyTorch.

The public names are listed once, in `__init__.pyi`. Each is imported when first used, so that `import zoo` alone costs
nothing and imports no torch.
"""

from __future__ import annotations

from zoo.version import __version__ as __version__

_homes: dict[str, str] = {}


def _find_homes() -> dict[str, str]:
    """Return the module of each public name."""
    if not _homes:
        import re

        # The loader finds the file in a zip archive too.
        stub = __spec__.loader.get_data(__file__[: -len("py")] + "pyi").decode()  # type: ignore[union-attr]
        _homes.update((name, home) for home, name in re.findall(r"^from (\S+) import (\w+) as \w+$", stub, re.M))
    return _homes


def __getattr__(name: str) -> object:
    homes = _find_homes()
    if name == "__all__":
        import builtins

        # `from zoo import *` must not take the builtin `list` from anybody.
        return sorted(name for name in homes if not hasattr(builtins, name))
    if name not in homes:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    # With `fromlist` a name that is a module of its home is imported too.
    value = getattr(__import__(homes[name], fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_find_homes()})
