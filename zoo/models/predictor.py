"""Predictor: a loaded model together with what turns raw images into its inputs and its logits into named classes."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor, nn

from zoo.data.images import fit_image, read_image
from zoo.errors import DataError, OutOfMemoryError, WeightsError, quote
from zoo.models.blame import blame_model
from zoo.models.device import resolve_device
from zoo.models.drift import find_oddity
from zoo.models.golden import TOLERANCE, check_golden
from zoo.models.weights import check_digests, read_model
from zoo.records.header import read_header
from zoo.records.metadata import WeightsMetadata, read_metadata
from zoo.records.references import find_weights
from zoo.registry.entries import Registry
from zoo.registry.places import open_places
from zoo.registry.preprocess import Preprocess

log = logging.getLogger("zoo")

AT_ONCE = 1 << 20
"""Values that are predicted at once, where images have most of them: before, during or after preprocessing."""

CHECKED = 64
"""Inputs of a call that are compared with those of the training."""

Array = numpy.ndarray[Any, Any]
Images = Any
"""A path, a PIL image, a numpy array or a tensor, or a list of them."""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The most probable class of one image."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a model makes of images, in columns: `probabilities` is an array `(N, num_classes)` of float32.

    Rows are `Prediction`s: `predictions[0].label`; `for prediction in predictions`.
    """

    probabilities: Array
    class_names: tuple[str, ...]

    @property
    def indices(self) -> Array:
        """The most probable class of each image, int64 `(N,)`."""
        return numpy.asarray(self.probabilities.argmax(axis=1))

    @property
    def labels(self) -> Array:
        """Their names, `(N,)`."""
        return numpy.asarray(numpy.array(self.class_names)[self.indices])

    def top(self, k: int) -> list[list[Prediction]]:
        """Return the `k` most probable classes of each image, the most probable first."""
        order = (-self.probabilities).argsort(axis=1, kind="stable")[:, :k]
        return [[self._make(row, int(index)) for index in indices] for row, indices in enumerate(order)]

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, row: int) -> Prediction:
        return self._make(row, int(self.probabilities[row].argmax()))

    def __iter__(self) -> Iterator[Prediction]:
        return (self[row] for row in range(len(self)))

    def _make(self, row: int, index: int) -> Prediction:
        return Prediction(index=index, label=self.class_names[index], probability=float(self.probabilities[row, index]))


class Predictor:
    """A model as a weights file has it: `predictor(images)` gives `Predictions`.

    `model` is a plain `nn.Module` in eval mode on `device`; `class_names`, `preprocess`, `params` and `input_shape`
    are those of the file.
    """

    def __init__(self, model: nn.Module, weights: WeightsMetadata, device: torch.device) -> None:
        self.model, self.weights, self.device = model.to(device).eval(), weights, device
        self.class_names, self.params = weights.class_names, dict(weights.params)
        self.preprocess, self.input_shape = weights.preprocess, weights.input_shape
        self._dtype = getattr(torch, weights.raw_image.dtype)
        # Floats of a table, say, have no black and white.
        self._takes_floats = len(weights.raw_image.shape) != 3 and self._dtype.is_floating_point
        self._called = False

    @property
    def image(self) -> dict[str, Any]:
        """The form of a raw image: `shape`, `dtype` and `range`."""
        return asdict(self.weights.raw_image)

    @property
    def metadata(self) -> dict[str, Any]:
        """What the file says of itself, as its JSON table."""
        return self.weights.to_json()

    def __call__(
        self, images: Images, *, value_range: tuple[float, float] | None = None, channels_last: bool = False
    ) -> Predictions:
        """Predict the classes of raw images.

        A path or PIL image is decoded, turned upright and brought to the channels and size of the training images.
        Arrays and tensors are `(C, H, W)`, or `(N, C, H, W)` for many, and must have that size; with `channels_last`
        they end in the channels. Integers are scaled by the range of their dtype; floats need `value_range`, what
        black and white are, `(0, 1)` say. A list gives one row per image. Samples of a model that was trained on other
        things than images are `(*shape)` or `(N, *shape)`; floats are taken as they are.

        What looks unlike the images of the training is predicted all the same, and warned about.

        Raises:
            DataError: an image cannot be read, or its form is not clear.
            WeightsError: the model's probabilities are not finite.
        """
        parts = self._prepare(images, value_range, channels_last)
        results: list[Tensor] = []
        # Looking after the global state takes as long as a small model's prediction, so it is done in the first call.
        guard = nullcontext() if self._called else self.weights.plugin.guarded("during a prediction")
        self._called = True
        with blame_model(self.weights), torch.inference_mode(), guard:
            for part in parts:
                for raw in part.split(max(1, AT_ONCE // max(1, self.preprocess.count_values(part.shape[1:])))):
                    inputs = self._to_inputs(raw.to(self.device), value_range)
                    if not results:
                        self._warn(inputs[:: max(1, len(inputs) // CHECKED)][:CHECKED])
                    results.append(self.model(inputs).softmax(dim=1).to("cpu", torch.float32))
        if not results:
            results.append(torch.zeros(0, len(self.class_names)))
        probabilities = torch.cat(results)
        if not bool(torch.isfinite(probabilities).all()):
            raise WeightsError(f"model {quote(self.weights.model)}", "it gives probabilities that are not finite")
        return Predictions(probabilities.numpy(), self.class_names)

    def _prepare(self, images: Images, value_range: tuple[float, float] | None, channels_last: bool) -> list[Tensor]:
        """Return raw images as batches `(N, C, H, W)`, each of one dtype."""
        if isinstance(images, list | tuple):
            singles = [part for image in images for part in self._prepare(image, value_range, channels_last)]
            if len({(part.dtype, part.shape[1:]) for part in singles}) <= 1:
                return [torch.cat(singles)] if singles else []
            return singles
        if isinstance(images, str | os.PathLike | bytes) or hasattr(images, "getbands"):
            if len(self.weights.raw_image.shape) != 3:
                raise DataError("images", f"the model takes inputs of {self.input_shape}, which no picture has")
            return [fit_image(read_image(images), self.weights.raw_image.shape).unsqueeze(0)]
        raw = torch.as_tensor(images)
        dimensions = len(self.input_shape)
        if raw.ndim not in (dimensions, dimensions + 1):
            raise DataError("images", self._expected(raw), "Add the missing axis, images[None] say")
        if channels_last:
            raw = raw.movedim(-1, -dimensions)
        batch = raw if raw.ndim > dimensions else raw.unsqueeze(0)
        self._check_shape(batch)
        wide = raw.dtype in (torch.int32, torch.int64, torch.uint32, torch.uint64)
        if raw.is_complex() or (wide and raw.dtype != self._dtype):
            fix = "Give uint8, or float with value_range"
            raise DataError(f"images of dtype {raw.dtype}", "have no default range", fix)
        if raw.is_floating_point() and value_range is None and not self._takes_floats:
            fix = "Say what black and white are: value_range=(0, 1), or (0, 255), or (-1, 1)"
            raise DataError(f"images of dtype {raw.dtype}", "their range is not known", fix)
        if value_range is not None and not value_range[0] < value_range[1]:
            raise DataError(f"value_range: expected (low, high), got {value_range}")
        if raw.is_floating_point() and not bool(torch.isfinite(raw).all()):
            raise DataError("images", "have values that are not finite")
        return [batch]

    def _check_shape(self, batch: Tensor) -> None:
        shape, wanted = tuple(batch.shape[1:]), self.weights.raw_image.shape
        if shape == wanted or (self.preprocess.resize is not None and shape[0] == wanted[0] and min(shape) > 0):
            return
        if (shape[-1], *shape[:-1]) == wanted:
            raise DataError("images", f"{self._expected(batch)}: the channels come last", "Say so: channels_last=True")
        raise DataError("images", self._expected(batch), "Give the files or PIL images instead, they are fitted")

    def _expected(self, raw: Tensor) -> str:
        shape = self.weights.raw_image.shape
        return f"expected {shape} or (N, {', '.join(map(str, shape))}), got {tuple(raw.shape)}"

    def _to_inputs(self, raw: Tensor, value_range: tuple[float, float] | None) -> Tensor:
        """Preprocess raw images of any range as the training's were."""
        trained = self._dtype
        if raw.dtype == trained and not raw.is_floating_point():
            return self.preprocess(raw)
        if raw.is_floating_point() and value_range is None:
            return self.preprocess(raw.to(trained))
        if raw.is_floating_point():
            low, high = value_range or (0, 1)
            unit = (raw.to(torch.float32) - low) / (high - low)
        else:
            unit = Preprocess()(raw)
        if not trained.is_floating_point and self.preprocess.scale is None:
            return replace(self.preprocess, scale=1.0)(unit)
        low, high = self.weights.raw_image.range
        return self.preprocess(unit * (high - low) + low)

    def _warn(self, inputs: Tensor) -> None:
        statistics = self.weights.statistics
        if statistics is not None and len(inputs) and (oddity := find_oddity(inputs.cpu(), statistics)):
            log.warning("the images may be not what %s was trained on: %s", self.weights.model, oddity)


def load(
    reference: str | os.PathLike[str],
    *,
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    device: str = "cpu",
    verify: bool = False,
) -> Predictor:
    """Load weights by reference: a path, a run folder, `@last`, `@best`, `MODEL@DATASET` or a name of `list_weights`.

    `verify` proves them first, see `zoo.verify`.

    Raises:
        WeightsError: the file is missing, damaged, not zoo's, or does not fit the model.
        OutOfMemoryError: the model does not fit into memory.
        PluginError: the plugin that provides the model is missing or broken.
        DeviceError: the device is not here.
    """
    target = resolve_device(device)
    places = open_places(registry, plugins, runs_dir=runs_dir, offline=offline)
    return load_path(find_weights(reference, places), places.registry, target, verify=verify)


def load_path(path: Path, registry: Registry, device: torch.device | None = None, *, verify: bool = False) -> Predictor:
    """Load a weights file."""
    model, weights, _ = _load_file(path, registry, verify=verify)
    with blame_model(weights):
        return Predictor(model, weights, device or torch.device("cpu"))


@dataclass(frozen=True, kw_only=True)
class Verification:
    """What was proved of a weights file: `checks` by name with what was found."""

    path: Path
    checks: dict[str, str]


def verify(
    reference: str | os.PathLike[str],
    *,
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
) -> Verification:
    """Prove that a weights file still means what it meant: digests, header, model, and the golden samples replayed.

    Raises:
        WeightsError: names what is missing or has changed.
        PluginError: the plugin that provides the model is missing or broken.
    """
    places = open_places(registry, plugins, runs_dir=runs_dir, offline=offline)
    path = find_weights(reference, places)
    return Verification(path=path, checks=_load_file(path, places.registry, verify=True)[2])


def _load_file(path: Path, registry: Registry, *, verify: bool) -> tuple[nn.Module, WeightsMetadata, dict[str, str]]:
    """Return the model of a file, its metadata, and what was checked of it."""
    header = read_header(path)
    weights = read_metadata(path, header.metadata)
    checks = {"header": f"format {weights.format}, {len(header.tensors)} tensors, {header.size} bytes"}
    if verify:
        check_digests(path, header)
        checks["digests"] = ", ".join(weights.digests) or "none in this file"
    try:
        with blame_model(weights):
            model = read_model(path, weights, registry)
    except OutOfMemoryError as error:
        what = f"{path}: not enough memory for its model {quote(weights.model)}"
        fix = f"See its params: zoo show {shlex.quote(str(path))}"
        raise OutOfMemoryError(what, error.why, fix) from error
    checks["model"] = f"{weights.model} of plugin {weights.plugin.name}, rebuilt with its params"
    if verify and weights.golden is not None:
        with blame_model(weights):
            difference, count = check_golden(path, model, weights), len(weights.golden.labels)
        checks["golden samples"] = f"{count} replayed, probabilities within {difference:.1g} of {TOLERANCE:g} allowed"
    elif verify:
        checks["golden samples"] = "none in this file: nothing proves its predictions"
    return model, weights, checks


def load_model(reference: str | os.PathLike[str], **options: Any) -> nn.Module:
    """Return the bare model that a reference means, in eval mode; options and errors are those of `load`."""
    return load(reference, **options).model
