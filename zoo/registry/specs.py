"""Specs: what a plugin declares, as frozen plain data that needs the standard library alone.

A spec gives the name of a thing, the place of its factory and what can be known without importing it. Specs come from a
manifest (see `zoo.registry.manifest`), from hooks (see `zoo.registry.hookspecs`) or from decorators (see
`zoo.registry.decorators`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, ClassVar, Literal

from zoo.errors import show
from zoo.registry import fields
from zoo.registry.flaws import may_be_flawed

Kind = Literal["model", "dataset", "metric", "loss", "logger", "recipe", "weights"]
"""The kinds of things a zoo holds."""

SPEC_ATTRIBUTE = "__zoo_specs__"

Factory = Callable[..., Any]


@may_be_flawed
@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """One file of a data set: its place, its content and where to fetch it.

    Fields:
        path: Its place under the data folder: plain names joined by `/`.
        urls: Addresses to fetch it from, tried in this order: https, or http on this very machine. An empty list is for
            a file that people have to get themselves, from the homepage of the data set.
        size: Its size in bytes; None where nobody tells it.
        sha256: Its SHA-256, 64 lower-case hexadecimal digits.
        md5: Its MD5, 32 lower-case hexadecimal digits, for a file of which no SHA-256 is published: it finds damage,
            but a file made to have a given MD5 passes. Declare one of the two.
        unpacked_size: For a `.gz` file: the size of the unpacked file. The unpacked file, at the same path without
            `.gz`, can then replace the packed one and is checked as strictly. Declare both fields or none.
        unpacked_sha256: The SHA-256 of the unpacked file.
    """

    flaw: ClassVar[str] = ""

    path: str
    urls: tuple[str, ...]
    size: int | None = None
    sha256: str = ""
    md5: str = ""
    unpacked_size: int | None = None
    unpacked_sha256: str | None = None

    def __post_init__(self) -> None:
        fields.check_relative("path", self.path)
        if self.size is not None:
            fields.check_int("size", self.size, 0)
        if self.md5 and self.sha256:
            raise ValueError("md5: declare sha256 alone, which is the better of the two")
        if self.sha256 == self.md5 == "":
            raise ValueError("sha256: missing; or md5, where no SHA-256 is published")
        if self.md5:
            fields.check_md5("md5", self.md5)
        else:
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

    @property
    def algorithm(self) -> str:
        """What its content is checked by, as `hashlib` names it."""
        return "md5" if self.md5 else "sha256"

    @property
    def digest(self) -> str:
        """The hexadecimal digits that its content must have."""
        return self.md5 or self.sha256


@dataclass(frozen=True, kw_only=True)
class Spec:
    """What has a factory shares these fields: models, data sets, metrics, losses and loggers.

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


@may_be_flawed
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
        aux_weights: In training mode the model may give a tuple: the logits, and auxiliary ones of the same shape. The
            loss of each of these counts by its weight, and is added. In evaluation it gives the logits alone.
        capture: Whether a training may make the calls of a first step again in place of calling the model. True says
            that `forward` keeps nothing from call to call, and depends on nothing but its tensors; False forbids it;
            None lets zoo read the code.
    """

    kind: ClassVar[Kind] = "model"

    input_shape: tuple[int | str, ...] | None = None
    adapt: tuple[str, ...] = ()
    train: Mapping[str, Any] = field(default_factory=dict)
    aux_weights: tuple[float, ...] = ()
    capture: bool | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        fields.freeze_shape(self, "input_shape", any_size=True)
        fields.freeze_texts(self, "adapt")
        for adaptation in self.adapt:
            if adaptation not in ("channels", "resize"):
                raise ValueError(f"adapt: expected 'channels' or 'resize', got {show(adaptation)}")
        fields.freeze_map(self, "train")
        weights = fields.read_list("aux_weights", self.aux_weights)
        if not all(type(weight) in (int, float) and 0 < weight < inf for weight in weights):
            raise ValueError(f"aux_weights: expected numbers above 0, got {show(self.aux_weights)}")
        object.__setattr__(self, "aux_weights", weights)
        if not isinstance(self.capture, bool | None):
            raise ValueError(f"capture: expected true or false, got {show(self.capture)}")


@may_be_flawed
@dataclass(frozen=True, kw_only=True)
class DatasetSpec(Spec):
    """A data set: `factory(*, root, **params)` gives `DataSplits`.

    `root` is the data folder. The first four fields are claims: they are shown without loading anything, and checked
    against what the factory gives when a user gives no params.

    Fields:
        input_shape: Shape of one raw image, channels first. Where images of many sizes are resized by a `rounded`
            preprocess, that of the inputs it makes of them.
        num_classes: Number of classes; follows from `class_names` where those are given.
        class_names: Their names, in the order of the targets.
        samples: Number of samples by split: `train`, `validation`, `test`.
        files: The files it is read from. Missing ones are fetched and all are verified before the factory runs. Once
            they are there, no network is needed.
        homepage: Where it comes from.
        license: Under which terms it may be used.
        path_param: The name of a param that is a path, if one is. A relative one is from the folder of the manifest
            where that gives it in `params`, else from the current folder. A path in the place of the name of a data
            set means zoo's own data set that has such a param, with that path.
        path_marks: Patterns of file names, `"*.tar"` say. Where several of zoo's own have a path as a param, a path
            means the one with a mark that is the name of the file there, or of one in the folder there.
    """

    kind: ClassVar[Kind] = "dataset"

    input_shape: tuple[int, ...] | None = None
    num_classes: int | None = None
    class_names: tuple[str, ...] = ()
    samples: Mapping[str, int] = field(default_factory=dict)
    files: tuple[FileSpec, ...] = ()
    homepage: str = ""
    license: str = ""
    path_param: str = ""
    path_marks: tuple[str, ...] = ()

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
        fields.check_text(self, "homepage", "license", "path_param")
        if self.path_param and not self.path_param.isidentifier():
            raise ValueError(f"path_param: expected the name of a param, got {show(self.path_param)}")
        fields.freeze_texts(self, "path_marks")


@may_be_flawed
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


@may_be_flawed
@dataclass(frozen=True, kw_only=True)
class LossSpec(Spec):
    """A loss: `factory(*, num_classes, **params)` gives a callable, what a training minimises.

    It maps logits `(N, num_classes)` and targets `(N,)` to the mean over the batch, a tensor of one value.

    Fields:
        soft_targets: Whether it takes targets `(N, num_classes)` as well, the share of each class.
    """

    kind: ClassVar[Kind] = "loss"

    soft_targets: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.soft_targets, bool):
            raise ValueError(f"soft_targets: expected true or false, got {show(self.soft_targets)}")


@may_be_flawed
@dataclass(frozen=True, kw_only=True)
class LoggerSpec(Spec):
    """A logger: `factory(*, run_dir, **params)` gives an object that is told what happens in a run.

    It is used by runs that ask for it. `run_dir` is the folder of the run.
    """

    kind: ClassVar[Kind] = "logger"


@may_be_flawed
@dataclass(frozen=True, kw_only=True)
class RecipeSpec:
    """A recipe: a training with all that it needs, and what it comes to.

    Fields:
        name: What users type, as for models.
        model: The model's name, `plugin/name` where it is another plugin's.
        dataset: The data set's name, likewise.
        description: One line for `zoo list`.
        aliases: Further names for the same thing.
        params: Params of the model.
        dataset_params: Params of the data set.
        metrics: The metrics.
        metric_params: Params of metrics, a table for each.
        train: The settings, such as `{"epochs": 5, "lr": 0.01}`. What a user gives replaces them.
        expect: The scores on the test split that it comes to, by name.
        tolerance: How far each score may be off on another machine; 0 where none is given.
    """

    kind: ClassVar[Kind] = "recipe"
    flaw: ClassVar[str] = ""

    name: str
    model: str
    dataset: str
    description: str = ""
    aliases: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    dataset_params: Mapping[str, Any] = field(default_factory=dict)
    metrics: tuple[str, ...] = ("accuracy",)
    metric_params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    expect: Mapping[str, float] = field(default_factory=dict)
    tolerance: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        fields.check_name(self.name)
        fields.check_text(self, "description")
        fields.check_reference("model", self.model)
        fields.check_reference("dataset", self.dataset)
        fields.freeze_names(self, "aliases")
        fields.freeze_texts(self, "metrics")
        for key in ("params", "dataset_params", "metric_params", "train", "expect", "tolerance"):
            fields.freeze_map(self, key)
        for name, params in self.metric_params.items():
            if not isinstance(params, Mapping):
                raise ValueError(f"metric_params.{name}: expected a table, got {show(params)}")
        fields.check_numbers("expect", self.expect)
        fields.check_numbers("tolerance", self.tolerance)
        for name, value in self.tolerance.items():
            if name not in self.expect or value < 0:
                raise ValueError(f"tolerance.{name}: expected 0 or more for a score of expect, got {show(value)}")


@may_be_flawed
@dataclass(frozen=True, kw_only=True)
class WeightsSpec:
    """Trained weights that a plugin ships or points to.

    They are in a file that `zoo run` or `zoo.save` wrote, or another library has them. Declare one of three: `file`,
    `url` with `size` and `sha256`, or `loader`.

    Fields:
        name: What users type, as for models; `MODEL@DATASET` finds them too.
        model: The model's name, `plugin/name` where it is another plugin's.
        dataset: The name of the data set they were trained on, `plugin/name` where it is another plugin's.
        description: One line for `zoo list`, such as how they were trained.
        aliases: Further names for the same thing.
        file: Where they are, `"package:path/in/it.safetensors"`; in a manifest given by path also a path beside it.
        url: Address to fetch them from when they are used: https, or http on this very machine.
        loader: A function that gives them, `"package.module:function"`; in code also the function itself. It is called
            as `loader(*, name, offline)` when they are first used, and gives `PretrainedWeights`. zoo checks these
            against the model and keeps them as a weights file, which is used from then on.
        size: Size of the file there, in bytes.
        sha256: Its SHA-256, 64 lower-case hexadecimal digits.
        default: Whether `MODEL@DATASET` means these where there are several.
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
    loader: str | Factory = ""
    default: bool = False
    metrics: Mapping[str, float] = field(default_factory=dict)
    homepage: str = ""
    license: str = ""

    def __post_init__(self) -> None:
        fields.check_name(self.name)
        fields.check_text(self, "description", "homepage", "license")
        fields.check_reference("model", self.model)
        fields.check_reference("dataset", self.dataset)
        fields.freeze_names(self, "aliases")
        if [self.file, self.url, self.loader].count("") != 2:
            raise ValueError("file, url, loader: expected one of them")
        if self.url:
            fields.check_url("url", self.url)
            fields.check_int("size", self.size, 1)
            fields.check_sha256("sha256", self.sha256)
        elif self.size is not None or self.sha256:
            raise ValueError("size, sha256: only together with url")
        if self.file:
            fields.check_package_path("file", self.file)
        if self.loader:
            fields.check_factory("loader", self.loader)
        if not isinstance(self.default, bool):
            raise ValueError(f"default: expected true or false, got {show(self.default)}")
        fields.freeze_map(self, "metrics")
        fields.check_numbers("metrics", self.metrics)


AnySpec = ModelSpec | DatasetSpec | MetricSpec | LossSpec | LoggerSpec | RecipeSpec | WeightsSpec
SPEC_CLASSES: dict[str, type[AnySpec]] = {
    "model": ModelSpec,
    "dataset": DatasetSpec,
    "metric": MetricSpec,
    "loss": LossSpec,
    "logger": LoggerSpec,
    "recipe": RecipeSpec,
    "weights": WeightsSpec,
}
