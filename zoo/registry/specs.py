"""Specs: what a plugin declares, as frozen plain data that needs the standard library alone.

A spec gives the name of a thing, the place of its factory and what can be known without importing it. Specs come from a
manifest (see `zoo.registry.manifest`), from hooks (see `zoo.registry.hookspecs`) or from decorators (see
`zoo.registry.decorators`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ClassVar, Literal, TypeVar

from zoo.errors import quote, shorten, show, suggest
from zoo.registry import fields

Kind = Literal["model", "dataset", "metric", "weights"]
"""The kinds of things a zoo holds."""

SPEC_ATTRIBUTE = "__zoo_specs__"

Factory = Callable[..., Any]

S = TypeVar("S")

_keeps_flawed = ContextVar("keeps_flawed", default=False)


@dataclass(frozen=True)
class Flaw:
    """What is wrong with one entry of a plugin, which is left out for it; `name` is as it was given, in words."""

    kind: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.kind} {quote(self.name)} is left out: {self.why}"


@contextmanager
def keep_flawed() -> Iterator[None]:
    """Let specs of the body that cannot be made be objects with a `flaw`: its code goes on to the next one.

    Plugins are imported and asked in here. Anywhere else a spec raises what is wrong with it.
    """
    token = _keeps_flawed.set(True)
    try:
        yield
    finally:
        _keeps_flawed.reset(token)


def _may_be_flawed(spec_class: type[S]) -> type[S]:
    """Let `keep_flawed` keep objects of a class; its generated `__init__` raises for unknown and missing fields too."""
    make: Callable[..., None] = vars(spec_class)["__init__"]
    known = vars(spec_class)["__dataclass_fields__"]

    @wraps(make)
    def init(self: S, *args: Any, **given: Any) -> None:
        try:
            make(self, *args, **given)
        except (TypeError, ValueError) as error:
            if not _keeps_flawed.get():
                raise
            why = str(error)
            for key in sorted(given.keys() - known.keys()):
                why = f"{shorten(key)}: unknown field. {suggest(key, known, 'Known: ' + ', '.join(known))}"
            name = given.get("name", "")
            object.__setattr__(self, "name", name if isinstance(name, str) else show(name))
            object.__setattr__(self, "flaw", why)

    setattr(spec_class, "__init__", init)  # noqa: B010 a type checker keeps the signature of the dataclass
    return spec_class


@_may_be_flawed
@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """One file of a data set: its place, its content and where to fetch it.

    Fields:
        path: Its place under the data folder: plain names joined by `/`.
        size: Its size in bytes.
        sha256: Its SHA-256, 64 lower-case hexadecimal digits.
        urls: Addresses to fetch it from, tried in this order: https, or http on this very machine.
        unpacked_size: For a `.gz` file: the size of the unpacked file. The unpacked file, at the same path without
            `.gz`, can then replace the packed one and is checked as strictly. Declare both fields or none.
        unpacked_sha256: The SHA-256 of the unpacked file.
    """

    flaw: ClassVar[str] = ""

    path: str
    size: int
    sha256: str
    urls: tuple[str, ...]
    unpacked_size: int | None = None
    unpacked_sha256: str | None = None

    def __post_init__(self) -> None:
        fields.check_relative("path", self.path)
        fields.check_int("size", self.size, 0)
        fields.check_sha256("sha256", self.sha256)
        fields.freeze_texts(self, "urls")
        for url in self.urls:
            fields.check_url("urls", url)
        if (self.unpacked_size is None) != (self.unpacked_sha256 is None):
            raise ValueError("unpacked_size and unpacked_sha256: expected both or none")
        if self.unpacked_sha256 is not None:
            fields.check_int("unpacked_size", self.unpacked_size, 0)
            fields.check_sha256("unpacked_sha256", self.unpacked_sha256)
            if not self.path.endswith(".gz"):
                raise ValueError(f"unpacked_sha256: only for a path that ends in .gz, got {show(self.path)}")


@dataclass(frozen=True, kw_only=True)
class Spec:
    """Models, data sets and metrics share these fields.

    Fields:
        name: What users type. Lower-case letters, digits, `.`, `_` and `-`, at most 64, the first and last one a letter
            or digit. Files are called after it, so it is none of the names that Windows gives to devices, alone or
            before a `.`: `con`, `prn`, `aux`, `nul`, `com0` to `com9`, `lpt0` to `lpt9`. In a manifest it is the
            table's name, in a decorator an argument.
        factory: The callable that builds the object, `"package.module:object"`; in code also the callable itself. A
            decorator fills it in.
        description: One line for `zoo list`.
        aliases: Further names for the same thing.
        params: Values of the factory's own keyword arguments where a user gives none. `zoo show` shows them. An
            argument that is not listed keeps the default of the signature.
        task: The task it solves; there is only one so far.
    """

    kind: ClassVar[Kind]
    flaw: ClassVar[str] = ""

    name: str
    factory: str | Factory
    description: str = ""
    aliases: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    task: str = "classification"

    def __post_init__(self) -> None:
        fields.check_name(self.name)
        fields.check_factory("factory", self.factory)
        fields.check_text(self, "description", "task")
        if self.task != "classification":
            raise ValueError(f"task: expected 'classification', got {show(self.task)}")
        fields.freeze_names(self, "aliases")
        fields.freeze_map(self, "params")


@_may_be_flawed
@dataclass(frozen=True, kw_only=True)
class ModelSpec(Spec):
    """A model: `factory(*, input_shape, num_classes, **params)` gives an `nn.Module`.

    It maps float inputs `(N, *input_shape)` to logits `(N, num_classes)`.

    Fields:
        input_shape: Pattern of the inputs it takes, channels first without the batch axis: `(3, "*", "*")` is RGB of
            any size. None takes anything. It is checked before anything is fetched or built.
        adapt: What zoo may do to the data to make them fit: `"channels"` turns grey to RGB or back, `"resize"` scales
            to the size of the pattern. What was done is printed, and stored with the weights.
        train: Recommended settings, such as `{"epochs": 5, "lr": 0.01}`. They replace zoo's defaults; what a user gives
            replaces them.
    """

    kind: ClassVar[Kind] = "model"

    input_shape: tuple[int | str, ...] | None = None
    adapt: tuple[str, ...] = ()
    train: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.freeze_shape(self, "input_shape", any_size=True)
        fields.freeze_texts(self, "adapt")
        for adaptation in self.adapt:
            if adaptation not in ("channels", "resize"):
                raise ValueError(f"adapt: expected 'channels' or 'resize', got {show(adaptation)}")
        fields.freeze_map(self, "train")


@_may_be_flawed
@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data set: `factory(*, root, **params)` gives `DataSplits`.

    `root` is the data folder. The first four fields are claims: they are shown without loading anything, and checked
    against what the factory gives when a user gives no params.

    Fields:
        input_shape: Shape of one raw image, channels first.
        num_classes: Number of classes; follows from `class_names` where those are given.
        class_names: Their names, in the order of the targets.
        samples: Number of samples by split: `train`, `validation`, `test`.
        files: The files it is read from. Missing ones are fetched and all are verified before the factory runs. Once
            they are there, no network is needed.
        homepage: Where it comes from.
        license: Under which terms it may be used.
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
        fields.freeze_shape(self, "input_shape")
        if self.num_classes is not None:
            fields.check_int("num_classes", self.num_classes, 1)
        fields.freeze_texts(self, "class_names")
        if self.class_names and self.num_classes is None:
            object.__setattr__(self, "num_classes", len(self.class_names))
        if self.class_names and len(self.class_names) != self.num_classes:
            raise ValueError(f"class_names: expected {self.num_classes} names, got {len(self.class_names)}")
        fields.freeze_map(self, "samples")
        for split, count in self.samples.items():
            if split not in ("train", "validation", "test"):
                raise ValueError(f"samples: expected train, validation or test, got {show(split)}")
            fields.check_int(f"samples.{split}", count, 0)
        files = fields.read_list("files", self.files)
        if not all(isinstance(file, FileSpec) for file in files):
            raise ValueError(f"files: expected FileSpec objects, got {show(files)}")
        for file in files:
            if file.flaw:
                raise ValueError(f"files: {file.flaw}")
        object.__setattr__(self, "files", files)
        fields.check_text(self, "homepage", "license")


@_may_be_flawed
@dataclass(frozen=True, kw_only=True)
class MetricSpec(Spec):
    """A metric: `factory(*, num_classes, **params)` gives an object with `update`, `compute` and `reset`.

    Fields:
        higher_is_better: False where less is better, as for errors.
        bounds: Lowest and highest value it can have, `(0, 1)` for a share; `inf` where there is no limit.
    """

    kind: ClassVar[Kind] = "metric"

    higher_is_better: bool = True
    bounds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.higher_is_better, bool):
            raise ValueError(f"higher_is_better: expected true or false, got {show(self.higher_is_better)}")
        if self.bounds is not None:
            bounds = fields.read_list("bounds", self.bounds)
            numbers = len(bounds) == 2 and all(type(value) in (int, float) for value in bounds)
            if not numbers or not bounds[0] < bounds[1]:
                raise ValueError(f"bounds: expected lowest and highest value, got {show(self.bounds)}")
            object.__setattr__(self, "bounds", bounds)


@_may_be_flawed
@dataclass(frozen=True, kw_only=True)
class WeightsSpec:
    """Trained weights that a plugin ships or points to.

    They are in a file that `zoo run` or `zoo.save` wrote. Declare either `file`, or `url` with `size` and `sha256`.

    Fields:
        name: What users type, as for models; `MODEL@DATASET` finds them too.
        model: The model's name, `plugin/name` where it is another plugin's.
        dataset: The name of the data set they were trained on, `plugin/name` where it is another plugin's.
        description: One line for `zoo list`, such as how they were trained.
        aliases: Further names for the same thing.
        file: Where they are, `"package:path/in/it.safetensors"`; in a manifest given by path also a path beside it.
        url: Address to fetch them from when they are used: https, or http on this very machine.
        size: Size of the file there, in bytes.
        sha256: Its SHA-256, 64 lower-case hexadecimal digits.
        metrics: The value of each metric on the test split, by the name of the metric.
        homepage: Where they come from.
        license: Under which terms they may be used.
    """

    kind: ClassVar[Kind] = "weights"
    flaw: ClassVar[str] = ""

    name: str
    model: str
    dataset: str
    description: str = ""
    aliases: tuple[str, ...] = ()
    file: str = ""
    url: str = ""
    size: int | None = None
    sha256: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    homepage: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        fields.check_name(self.name)
        fields.check_text(self, "model", "dataset", "description", "homepage", "license")
        for key in ("model", "dataset"):
            parts = getattr(self, key).split("/")
            if len(parts) > 2:
                raise ValueError(f"{key}: expected a name or plugin/name, got {show(getattr(self, key))}")
            for part in parts:
                fields.check_name(part, key)
        fields.freeze_names(self, "aliases")
        if bool(self.file) == bool(self.url):
            raise ValueError("file, url: expected one of them")
        if self.file:
            fields.check_package_path("file", self.file)
            if self.size is not None or self.sha256:
                raise ValueError("size, sha256: only together with url")
        else:
            fields.check_url("url", self.url)
            fields.check_int("size", self.size, 1)
            fields.check_sha256("sha256", self.sha256)
        fields.freeze_map(self, "metrics")
        for name, value in self.metrics.items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"metrics.{name}: expected a number, got {show(value)}")


AnySpec = ModelSpec | DatasetSpec | MetricSpec | WeightsSpec
SPEC_CLASSES: dict[str, type[AnySpec]] = {
    "model": ModelSpec,
    "dataset": DatasetSpec,
    "metric": MetricSpec,
    "weights": WeightsSpec,
}
