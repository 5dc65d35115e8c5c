"""The metadata of a weights file: its parts and the form of each; docs/reference/weights-format.md says more."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from zoo.errors import WeightsError
from zoo.records.forms import LATER_STEPS, REQUIRED, check_forms
from zoo.records.header import FORMAT
from zoo.records.origins import DatasetOrigin, FileOrigin, ModelOrigin, Publication, RecipeOrigin, read_fields
from zoo.records.plain import to_json_table
from zoo.records.process import ProcessOrigin
from zoo.registry.origin import Origin
from zoo.registry.preprocess import Preprocess


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """The form of a raw image: shape `(C, H, W)`, dtype as torch names it, and the values of black and white."""

    shape: tuple[int, ...]
    dtype: str = "uint8"
    range: tuple[float, float] = (0.0, 255.0)


@dataclass(frozen=True, kw_only=True)
class FeatureForm:
    """The features that the model has of an input: the layer or method that they are from, and how many there are."""

    layer: str
    width: int


@dataclass(frozen=True, kw_only=True)
class GoldenSamples:
    """A few raw images and what the model made of them when it was saved.

    Fields:
        dtype: Of the raw images, as torch names it.
        shape: `(N, C, H, W)` of what is stored.
        stride: Only every `stride`-th row and column of the images is stored.
        images: Their bytes in base64, contiguous and little-endian.
        probabilities: One row of `num_classes` probabilities for each image.
        labels: The name of the most probable class of each image.
    """

    dtype: str
    shape: tuple[int, ...]
    stride: int = 1
    images: str
    probabilities: tuple[tuple[float, ...], ...]
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class TypicalSample:
    """What a single training input looks like: its mean, its standard deviation and, of an image, its border's mean.

    Fields:
        centre: The mean of these traits over the samples.
        precision: The inverse of their covariance.
        limit: The squared Mahalanobis distance from `centre` above which a sample is warned about.
    """

    centre: tuple[float, ...]
    precision: tuple[tuple[float, ...], ...]
    limit: float


@dataclass(frozen=True, kw_only=True)
class InputStatistics:
    """What training inputs look like after preprocessing.

    Fields:
        low, high: The extreme values.
        mean: Mean and standard deviation, over the samples, of each sample's own mean.
        contrast: The same of each sample's own standard deviation.
        typical: What a single one looks like; None where there are too few, and in files of older versions.
        warned: The share of single samples, not trained on, that are warned about: as they are and changed.
    """

    low: float
    high: float
    mean: tuple[float, float]
    contrast: tuple[float, float]
    typical: TypicalSample | None = None
    warned: Mapping[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class WeightsMetadata:
    """What a weights file says of itself beside its tensors; None and empty mean that it is not known.

    docs/reference/weights-format.md says what each key means. `others` are keys that this zoo does not know.
    """

    model: str
    plugin: Origin
    params: Mapping[str, Any]
    dataset: DatasetOrigin | None = None
    metrics: Mapping[str, float | None] | None = None
    train_config: Mapping[str, Any] | None = None
    seed: int | None = None
    device: str | None = None
    threads: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    recipe: RecipeOrigin | None = None
    init: FileOrigin | None = None
    adapted_from: FileOrigin | None = None
    converted_from: ModelOrigin | None = None
    published: Publication | None = None
    frozen: tuple[str, ...] = ()
    input_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    preprocess: Preprocess
    image: ImageForm | None = None
    features: FeatureForm | None = None
    statistics: InputStatistics | None = None
    golden: GoldenSamples | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT
    others: Mapping[str, Any] = field(default_factory=dict)

    @property
    def qualified_model(self) -> str:
        """`plugin/name` of the model."""
        return self.plugin.qualify(self.model)

    @property
    def title(self) -> str:
        """`MODEL@DATASET`, or the model alone where no data set is named."""
        return f"{self.model}@{self.dataset.name}" if self.dataset else self.model

    @property
    def raw_image(self) -> ImageForm:
        """The form of a raw image; where the file does not say it, preprocessing changes no shape."""
        return self.image or ImageForm(shape=self.input_shape)

    @classmethod
    def from_json(cls, table: Mapping[str, Any]) -> WeightsMetadata:
        """Read the metadata of a file and check that they say how to rebuild the model and to feed it.

        What is optional has its form where it is there.

        Raises:
            ValueError: a part is missing or of another form; says which, what was expected and what is there.
        """
        check_forms(table)
        known = {part.name for part in fields(cls)} - {"others"}
        parts = {key: read_part(key, value) for key, value in table.items() if key in known and value is not None}
        return cls(**parts, others={key: value for key, value in table.items() if key not in known})

    def without_folders(self) -> WeightsMetadata:
        """Return it without paths of this machine, as files hold it."""
        dataset = self.dataset and self.dataset.without_folder()
        files = {key: getattr(self, key) for key in ("init", "adapted_from", "converted_from")}
        origins = {key: origin and origin.without_folder() for key, origin in files.items()}
        recipe = self.recipe and replace(self.recipe, plugin=self.recipe.plugin.without_folder())
        published = self.published and self.published.without_folder()
        plugin = self.plugin.without_folder()
        return replace(self, plugin=plugin, dataset=dataset, recipe=recipe, published=published, **origins)

    def to_json(self) -> dict[str, Any]:
        """Return the table that a file holds; what is not known is left out."""
        own = {key: value for key, value in vars(self).items() if value or value == 0 or key in REQUIRED}
        own.pop("others", None)
        if self.format == 1:  # what is made of such a file goes on giving its predictions
            steps = self.preprocess.to_dict()
            own["preprocess"] = {key: value for key, value in steps.items() if key not in LATER_STEPS}
        return to_json_table({"format": self.format, **own, **self.others})


def read_metadata(path: Path, table: Mapping[str, Any]) -> WeightsMetadata:
    """Read the metadata in a file's header; raise WeightsError for another program's file or one changed by hand."""
    if "predictions" in table:
        raise WeightsError(f"{path} holds predictions, not weights", fix="Give the weights file beside it")
    if "embeddings" in table:
        raise WeightsError(
            f"{path} holds embeddings, not weights", fix="Give the weights file that they were made with"
        )
    if "model" not in table:
        raise WeightsError(f"{path} was not written by zoo", "its metadata names no model")
    try:
        return WeightsMetadata.from_json(table)
    except ValueError as error:
        raise WeightsError(f"{path} cannot be used", f"its metadata is wrong: {error}") from error


def read_part(key: str, value: Any) -> Any:
    """Return the record of a part of metadata or of a run's record; the part has its form."""
    return PARTS[key](value) if key in PARTS else value


def _read_statistics(table: Mapping[str, Any]) -> Any:
    typical = table.get("typical")
    parts = {
        "typical": None if typical is None else read_fields(TypicalSample, typical),
        "warned": table.get("warned"),
    }
    return read_fields(InputStatistics, {**table, **parts})


PARTS: dict[str, Callable[[Any], Any]] = {
    "plugin": Origin.from_json,
    "loss_plugin": Origin.from_json,
    "dataset": DatasetOrigin.from_json,
    "process": ProcessOrigin.from_json,
    "recipe": RecipeOrigin.from_json,
    "published": Publication.from_json,
    "preprocess": Preprocess.from_dict,
    "image": partial(read_fields, ImageForm),
    "features": partial(read_fields, FeatureForm),
    "statistics": _read_statistics,
    "golden": partial(read_fields, GoldenSamples),
    **dict.fromkeys(("init", "adapted_from"), partial(read_fields, FileOrigin)),
    "converted_from": partial(read_fields, ModelOrigin),
    **dict.fromkeys(("frozen", "adapted", "verdict", "trend", "input_shape", "class_names"), tuple),
}
"""How a part becomes its record, in metadata and in the record of a run alike."""
