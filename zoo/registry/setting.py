"""Setting: how one is declared, and the values of those that are no plain text or number."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

from zoo.limits import MAX_SIDE
from zoo.registry.fields import check_plain

NO_OPERATIONS = "none"
"""The text that means no operation of augmentation at all."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is declared of one setting beside its name, its type and its default.

    Fields:
        help: A sentence for `--help`, without the default.
        metavar: What stands for its value there.
        shown_default: The default in words, where the value alone does not say it.
        limits: `ge`, `gt`, `le` and `lt`, those that apply.
        only: The values of other settings that it is for: with others it may not be given.
        follows_optimizer: Whether a recommended value holds for the recommended optimizer only.
        follows_loss: Whether it holds for the recommended loss only.
        convert: What turns a value as it is given into one of its type; see `zoo.registry.params.Expected`.
        given_type: The type of a value as it is given, where that is not its own.
        option: Its option on the command line, where that is not its name: of a table, whose option gives one value.
    """

    help: str
    metavar: str = "N"
    shown_default: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    only: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    follows_optimizer: bool = False
    follows_loss: bool = False
    convert: Callable[[Any], Any] | None = None
    given_type: str = ""
    option: str = ""


def setting(default: Any, help: str, **declared: Any) -> Any:
    """Declare a setting as a field of `TrainConfig`; the keywords are limits and the other fields of `Setting`."""
    limits: dict[str, float] = {name: declared.pop(name) for name in ("ge", "gt", "le", "lt") if name in declared}
    words = {"shown_default": "" if default is None else str(default), **declared}
    return field(default=default, metadata={Setting: Setting(help=help, limits=limits, **words)})


def read_size(value: Any) -> Any:
    """Return the height and width that 64, "64", "48x64" or (48, 64) mean; raise ValueError for anything else."""
    parts: Any = value.lower().split("x") if isinstance(value, str) else value
    if isinstance(parts, list | tuple):
        parts = [int(part) if isinstance(part, str) and part.isdecimal() and len(part) < 10 else part for part in parts]
    sizes = [parts, parts] if type(parts) is int else parts * 2 if isinstance(value, str) and len(parts) == 1 else parts
    is_pair = isinstance(sizes, list | tuple) and len(sizes) == 2
    if is_pair and all(type(size) is int and 1 <= size <= MAX_SIDE for size in sizes):
        return tuple(sizes)
    raise ValueError(f"must be a size such as 64 or 48x64, height first, of sides from 1 to {MAX_SIDE}")


def read_number(value: Any) -> Any:
    """Return a number as it is, and None for auto, which means the same as to give none."""
    return None if value == "auto" else value


def read_operations(value: Any) -> Any:
    """Return operations of augmentation as text: a list of texts, and of tables with a name and params, joined.

    Raise ValueError for a list of anything else.
    """
    if not isinstance(value, list | tuple):
        return value
    return ",".join(map(_write_operation, value)) or NO_OPERATIONS


def _write_operation(item: Any) -> str:
    if isinstance(item, str) and item.strip():
        return item.strip()
    if isinstance(item, Mapping) and isinstance(item.get("name"), str):
        return write_operation(item["name"], {key: value for key, value in item.items() if key != "name"})
    raise ValueError("must be operations, flip say, or tables such as {name = 'crop', padding = 2}")


def write_operation(name: str, params: Mapping[str, Any]) -> str:
    """Return an operation of augmentation as text, `crop:padding=2`."""
    return ":".join([name, *(f"{key}={_write_param(value)}" for key, value in params.items())])


def _write_param(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(_write_param, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    return str(value).lower() if isinstance(value, bool) else str(getattr(value, "value", value))


def read_table(value: Any) -> Any:
    """Return a table of plain values by name, None for an empty one; raise ValueError for anything else."""
    if not isinstance(value, Mapping):
        raise ValueError("must be a table of values by name")
    for name, each in value.items():
        if not isinstance(name, str):
            raise ValueError("must be a table of values by name")
        check_plain(name, each)
    return dict(value) or None


def read_loss(value: Any) -> Any:
    """Return the name of a loss; zoo's own cross-entropy goes by its bare name, which always means it."""
    return "cross-entropy" if value == "zoo/cross-entropy" else value


def read_weights(value: Any) -> Any:
    """Return "balanced", or the numbers that "1,2,0.5" or (1, 2, 0.5) mean; raise ValueError for anything else."""
    if value is None or value == "balanced":
        return value
    try:
        parts = [float(part) for part in (value.split(",") if isinstance(value, str) else value)]
    except (TypeError, ValueError):
        parts = []
    if len(parts) < 2 or not all(0 < part < inf for part in parts):
        raise ValueError("must be balanced, or a number above 0 for each class, such as 1,2,0.5")
    return tuple(parts)
