"""What a plugin declares: frozen specs of plain data, on the standard library alone.

A spec says what a thing is called, where its factory lives and what can be known about it without importing it.
Specs come from a manifest (see `zoo.manifest`), from hooks (see `zoo.hookspecs`) or from the decorators here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from types import MappingProxyType
from typing import Any, ClassVar, Literal, TypeVar

from zoo.errors import one_line

Kind = Literal["model", "dataset", "metric", "weights"]
"""The kinds of things a zoo holds."""

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
MAX_NAME = 64
# Names that Windows gives to devices: a file or folder of that name cannot exist there.
DEVICE_NAMES = {"con", "prn", "aux", "nul", *(f"{port}{digit}" for port in ("com", "lpt") for digit in range(10))}
FACTORY_PATTERN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
# Where http is allowed: this very machine, as tests and local mirrors need it. Printable ASCII only: it gets shown.
URL_PATTERN = re.compile(r"(https://[!-~]+|http://(127\.0\.0\.1|localhost)(:[0-9]+)?/[!-~]*)")
MAX_DEPTH = 20
MAX_SHOWN = 200
SPEC_ATTRIBUTE = "__zoo_specs__"

Factory = Callable[..., Any]
F = TypeVar("F", bound=Factory)


def show(value: object) -> str:
    """Return `repr(value)` for a message, cut short; some values are too deep or too large to be shown at all."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):
        text = f"<{type(value).__name__}>"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def check_name(name: object) -> str:
    """Return `name` when it may name a plugin or an entry.

    Raises:
        ValueError: it is not text of `[a-z0-9]([a-z0-9._-]*[a-z0-9])?`, is longer than 64 characters, or is the
            name of a device on Windows.
    """
    if not isinstance(name, str) or len(name) > MAX_NAME or not NAME_PATTERN.fullmatch(name):
        raise ValueError(
            f"name: expected lower-case letters, digits, '.', '_' and '-', at most {MAX_NAME}, got {show(name)}"
        )
    if name.partition(".")[0] in DEVICE_NAMES:
        raise ValueError(f"name: {name!r} is the name of a device on Windows")
    return name


def _check_text(spec: object, *names: str) -> None:
    for name in names:
        value = getattr(spec, name)
        if not isinstance(value, str):
            raise ValueError(f"{name}: expected text, got {show(value)}")
        # Shown in lists: one line, and nothing that drives a terminal.
        object.__setattr__(spec, name, one_line(value))


def _check_int(name: str, value: object, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name}: expected a whole number of at least {low}, got {show(value)}")


def _freeze_map(spec: object, *names: str) -> None:
    """Replace each mapping by a read-only copy, so that a spec is safe to share."""
    for name in names:
        value = getattr(spec, name)
        if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name}: expected a table of name = value, got {show(value)}")
        for key, item in value.items():
            _check_plain(f"{name}.{key}", item)
        object.__setattr__(spec, name, MappingProxyType(dict(value)))


def _check_plain(name: str, value: object, depth: int = 0) -> None:
    """Refuse what JSON has no form for: it could be neither listed nor stored with the weights."""
    if isinstance(value, list | tuple | dict) and depth < MAX_DEPTH:
        if isinstance(value, dict) and not all(isinstance(key, str) for key in value):
            raise ValueError(f"{name}: expected a table with names as keys, got {show(value)}")
        for item in value.values() if isinstance(value, dict) else value:
            _check_plain(name, item, depth + 1)
    elif not (
        value is None
        or isinstance(value, str | bool)
        or (isinstance(value, int) and abs(value) < 2**64)
        or (isinstance(value, float) and math.isfinite(value))
    ):
        raise ValueError(
            f"{name}: expected plain data (text, true or false, finite numbers of 64 bits, lists and tables of them), "
            f"got {show(value)}"
        )


def _freeze_texts(spec: object, *names: str) -> None:
    for name in names:
        value = getattr(spec, name)
        if isinstance(value, str) or not all(isinstance(item, str) for item in _listed(name, value)):
            raise ValueError(f"{name}: expected a list of texts, got {show(value)}")
        object.__setattr__(spec, name, tuple(value))


def _listed(name: str, value: object) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{name}: expected a list, got {show(value)}")
    return tuple(value)


def _check_relative(name: str, path: object) -> None:
    """Refuse a path that could leave the folder it is meant for, on any operating system."""
    parts = path.split("/") if isinstance(path, str) and len(path) <= MAX_SHOWN else []
    if not parts or not all(map(_is_file_name, parts)):
        raise ValueError(f"{name}: expected a relative path of plain names joined by '/', got {show(path)}")


def _is_file_name(part: str) -> bool:
    return (
        re.search(r'[\\:*?"<>|]', part) is None
        and part.isprintable()
        and part.strip(" ") == part
        and not part.endswith(".")
        and part != ""
        and part.partition(".")[0].lower() not in DEVICE_NAMES
    )


def _check_url(name: str, url: object) -> None:
    if not isinstance(url, str) or not URL_PATTERN.fullmatch(url):
        raise ValueError(f"{name}: expected an https:// address, got {show(url)}")


def _check_sha256(name: str, value: object) -> None:
    if not isinstance(value, str) or not SHA256_PATTERN.fullmatch(value):
        raise ValueError(f"{name}: expected a SHA-256 of 64 lower-case hexadecimal digits, got {show(value)}")


@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """One file of a data set: where it belongs under the data folder, what it must be, where it can be had.

    `unpacked_size` and `unpacked_sha256` are optional and for a `.gz` file: the unpacked file beside it (same path
    without `.gz`) is then as good as the packed one, and checked as strictly.
    """

    path: str
    size: int
    sha256: str
    urls: tuple[str, ...]
    unpacked_size: int | None = None
    unpacked_sha256: str | None = None

    def __post_init__(self) -> None:
        _check_relative("path", self.path)
        _check_int("size", self.size, 0)
        _check_sha256("sha256", self.sha256)
        _freeze_texts(self, "urls")
        for url in self.urls:
            _check_url("urls", url)
        if (self.unpacked_size is None) != (self.unpacked_sha256 is None):
            raise ValueError("unpacked_size and unpacked_sha256: expected both or none")
        if self.unpacked_sha256 is not None:
            _check_int("unpacked_size", self.unpacked_size, 0)
            _check_sha256("unpacked_sha256", self.unpacked_sha256)
            if not self.path.endswith(".gz"):
                raise ValueError(f"unpacked_sha256: only for a path that ends in .gz, got {show(self.path)}")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What all kinds declare.

    `factory` is `"package.module:object"` or, in code, the callable itself; `params` are the factory's own keyword
    arguments with their defaults, as shown to users.
    """

    kind: ClassVar[Kind]

    name: str
    factory: str | Factory
    description: str = ""
    aliases: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    task: str = "classification"

    def __post_init__(self) -> None:
        check_name(self.name)
        if not callable(self.factory) and not (
            isinstance(self.factory, str) and FACTORY_PATTERN.fullmatch(self.factory)
        ):
            raise ValueError(f"factory: expected 'package.module:object' or a callable, got {show(self.factory)}")
        _check_text(self, "description", "task")
        if self.task != "classification":
            raise ValueError(f"task: expected 'classification', got {show(self.task)}")
        _freeze_texts(self, "aliases")
        for alias in self.aliases:
            check_name(alias)
        _freeze_map(self, "params")

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names that may be declared."""
        return tuple(f.name for f in fields(cls))


@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A model: `factory(*, input_shape, num_classes, **params)` gives an `nn.Module` from inputs to logits.

    `input_shape` is a pattern, channels first without the batch axis, such as `(3, "*", "*")`; None takes anything.
    `adapt` names what may be done to the data to fit it: `"channels"`, `"resize"`. `train` recommends settings.
    """

    kind: ClassVar[Kind] = "model"

    input_shape: tuple[int | str, ...] | None = None
    adapt: tuple[str, ...] = ()
    train: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_shape is not None:
            shape = _listed("input_shape", self.input_shape)
            for size in shape:
                if size != "*":
                    _check_int("input_shape", size, 1)
            object.__setattr__(self, "input_shape", shape)
        _freeze_texts(self, "adapt")
        for adaptation in self.adapt:
            if adaptation not in ("channels", "resize"):
                raise ValueError(f"adapt: expected 'channels' or 'resize', got {show(adaptation)}")
        _freeze_map(self, "train")


@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data set: `factory(*, root, **params)` gives `DataSplits`.

    `input_shape`, `num_classes`, `class_names` and `samples` (split -> count) are claims, shown without loading and
    checked against what is loaded. `files` are fetched and verified before the factory runs.
    """

    kind: ClassVar[Kind] = "dataset"

    input_shape: tuple[int, ...] | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    samples: Mapping[str, int] = field(default_factory=dict)
    files: tuple[FileSpec, ...] = ()
    homepage: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_shape is not None:
            shape = _listed("input_shape", self.input_shape)
            for size in shape:
                _check_int("input_shape", size, 1)
            object.__setattr__(self, "input_shape", shape)
        if self.num_classes is not None:
            _check_int("num_classes", self.num_classes, 1)
        _freeze_texts(self, "class_names")
        if self.class_names and self.num_classes is None:
            object.__setattr__(self, "num_classes", len(self.class_names))
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"class_names: expected {self.num_classes} names, got {len(self.class_names)}")
        _freeze_map(self, "samples")
        for split, count in self.samples.items():
            if split not in ("train", "validation", "test"):
                raise ValueError(f"samples: expected train, validation or test, got {show(split)}")
            _check_int(f"samples.{split}", count, 0)
        files = _listed("files", self.files)
        if not all(isinstance(file, FileSpec) for file in files):
            raise ValueError(f"files: expected FileSpec objects, got {show(files)}")
        object.__setattr__(self, "files", files)
        _check_text(self, "homepage", "license")


@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """A metric: `factory(*, num_classes, **params)` gives an object with `update`, `compute` and `reset`."""

    kind: ClassVar[Kind] = "metric"

    higher_is_better: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.higher_is_better, bool):
            raise ValueError(f"higher_is_better: expected true or false, got {show(self.higher_is_better)}")


AnySpec = ModelSpec | DatasetSpec | MetricSpec
SPEC_CLASSES: dict[str, type[AnySpec]] = {"model": ModelSpec, "dataset": DatasetSpec, "metric": MetricSpec}


def _attach(spec_class: type[AnySpec], declared: dict[str, Any]) -> Callable[[F], F]:
    def decorate(factory: F) -> F:
        spec = spec_class(factory=factory, **declared)
        # Its own only: a class does not repeat what the class it is derived from declares.
        own = vars(factory).get(SPEC_ATTRIBUTE, ())
        setattr(factory, SPEC_ATTRIBUTE, (*own, spec))
        return factory

    return decorate


def model(*, name: str, **declared: Any) -> Callable[[F], F]:
    """Attach a `ModelSpec` to a factory in a single-file plugin. Nothing is registered by importing the file."""
    return _attach(ModelSpec, {"name": name, **declared})


def dataset(*, name: str, **declared: Any) -> Callable[[F], F]:
    """Attach a `DatasetSpec` to a factory in a single-file plugin. Nothing is registered by importing the file."""
    return _attach(DatasetSpec, {"name": name, **declared})


def metric(*, name: str, **declared: Any) -> Callable[[F], F]:
    """Attach a `MetricSpec` to a factory in a single-file plugin. Nothing is registered by importing the file."""
    return _attach(MetricSpec, {"name": name, **declared})
