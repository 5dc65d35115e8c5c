"""Predictor: a loaded model together with what turns raw images into its inputs and its logits into named classes."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from zoo.data.batch import lay_last
from zoo.data.images import find_images
from zoo.display import make_table, say
from zoo.errors import WeightsError, quote
from zoo.models.blame import blame_model
from zoo.models.device import choose_threads, resolve_device, use_threads
from zoo.models.drift import find_oddity
from zoo.models.features import FeatureExtractor
from zoo.models.flop import Work, count_work
from zoo.models.inputs import MAX_BATCH, Images, InputMaker, merge
from zoo.models.layout import AUTO, CHANNELS_LAST, MemoryFormat, choose_format, lay_model
from zoo.models.predictions import Predictions
from zoo.models.references import find_weights
from zoo.models.tf32 import use_tf32
from zoo.models.verification import load_file
from zoo.records.metadata import WeightsMetadata
from zoo.registry.arguments import checked
from zoo.registry.compatibility import show_shape
from zoo.registry.entries import Registry
from zoo.registry.places import open_places
from zoo.registry.settings import resolve_config

log = logging.getLogger("zoo")

BATCH = 64
"""Images of a batch of predictions, by whose work the CPU threads are chosen; there may be more or fewer."""
CHECKED = 64
"""Inputs of a call that are compared with those of the training."""


class Predictor:
    """A model as a weights file has it: `predictor(images)` gives `Predictions`.

    `model` is a plain `nn.Module` in eval mode on `device`; `class_names`, `preprocess`, `params` and `input_shape`
    are those of the file.
    """

    def __init__(self, model: nn.Module, weights: WeightsMetadata, device: torch.device) -> None:
        self.model, self.weights, self.device = model.to(device).eval(), weights, device
        self.class_names, self.params = weights.class_names, dict(weights.params)
        self.preprocess, self.input_shape = weights.preprocess, weights.input_shape
        self.inputs = InputMaker(weights, device)
        self.memory_format: MemoryFormat = AUTO
        """How the kernels lie from the first prediction on: `auto` until then, unless it is set before."""
        self._called = False
        self._features: FeatureExtractor | None = None

    def __repr__(self) -> str:
        trained = self.weights.dataset.name if self.weights.dataset else None
        name = f"{self.weights.model} trained on {trained}" if trained else self.weights.model
        return say("Predictor", name, f"{len(self.class_names)} classes", show_shape(self.input_shape), self.device)

    def _repr_html_(self) -> str:
        facts = {
            "model": self.weights.model,
            "trained on": self.weights.dataset.name if self.weights.dataset else "-",
            "params": self.params or "none",
            "input shape": show_shape(self.input_shape),
            "classes": ", ".join(self.class_names[:20]),
            "device": self.device,
        }
        return make_table(facts.items())

    @cached_property
    def work(self) -> Work:
        """What the model computes for one sample."""
        with blame_model(self.weights):
            return count_work(self.model, self.input_shape, self.device)

    def choose_threads(self, wish: int | None = None) -> int:
        """Return the CPU threads for batches of images: those that are wished for, else by the work of the model."""
        return choose_threads(self.work, BATCH, wish)

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

        A path or PIL image is decoded and turned upright. Arrays and tensors are `(C, H, W)`, or `(N, C, H, W)` for
        many; with `channels_last` they end in the channels. Integers are scaled by the range of their dtype; floats
        need `value_range`, what black and white are, `(0, 1)` say. All are brought to the channels and the size that
        the model takes, and the same pixels give the same answer in any form. A list gives one row per image. Samples
        of a model that was trained on other things than images are `(*shape)` or `(N, *shape)`; floats are taken as
        they are.

        Files of format 1 stay as they were: pictures are rounded when they are fitted, tensors of another size refused.

        What looks unlike the images of the training is predicted all the same, and warned about.

        Raises:
            DataError: an image cannot be read, or its form is not clear.
            WeightsError: the model's probabilities are not finite.
        """
        return self.predict(self.inputs.make(images, value_range, channels_last=channels_last))

    def embed(
        self, images: Images, *, value_range: tuple[float, float] | None = None, channels_last: bool = False
    ) -> NDArray[numpy.float32]:
        """Return the features of raw images, float32 `(N, D)`: what the model makes of them before its head.

        Arguments are those of a call. A model with the methods `forward_features(inputs)` and
        `forward_head(features, pre_logits=True)`, as timm's have them, says itself what its features are. Of any other
        they are the input of its last linear layer, which gives the logits; of a 1x1 convolution and of tokens it is
        the mean over all places.

        Raises:
            DataError: an image cannot be read, or its form is not clear.
            UsageError: the model has no such layer.
            WeightsError: the features are not finite.
        """
        return self.extract(self.inputs.make(images, value_range, channels_last=channels_last)).numpy()

    @property
    def features(self) -> FeatureExtractor:
        """Where the features of the model are: its `layer` and their `width`; raises what `embed` raises."""
        if self._features is None:
            with blame_model(self.weights):
                self._features = FeatureExtractor(self.model, self.input_shape, self.device)
        return self._features

    def predict(self, inputs: Iterable[Tensor]) -> Predictions:
        """Predict the classes of batches of inputs, as `inputs.make` gives them."""
        probabilities = self._run(inputs, lambda batch: self.model(batch).softmax(dim=1), len(self.class_names))
        if not bool(torch.isfinite(probabilities).all()):
            raise WeightsError(f"model {quote(self.weights.model)}", "it gives probabilities that are not finite")
        return Predictions(probabilities.numpy(), self.class_names)

    def extract(self, inputs: Iterable[Tensor]) -> Tensor:
        """Return the features of batches of inputs, as `inputs.make` gives them."""
        features = self._run(inputs, self.features, self.features.width)
        if not bool(torch.isfinite(features).all()):
            raise WeightsError(f"model {quote(self.weights.model)}", "it gives features that are not finite")
        return features

    def _run(self, inputs: Iterable[Tensor], compute: Callable[[Tensor], Tensor], width: int) -> Tensor:
        """Return what is computed of batches of inputs, as float32 `(N, width)` on the CPU."""
        results: list[Tensor] = []
        if not self._called:
            self._settle()
        # Looking after the global state takes as long as a small model's prediction, so it is done in the first call.
        guard = nullcontext() if self._called else self.weights.plugin.guarded("during a prediction")
        self._called = True
        with blame_model(self.weights), torch.inference_mode(), use_tf32(wanted=False), guard:
            for batch in merge(inputs):
                if not results:
                    self._warn(batch[:: max(1, len(batch) // CHECKED)][:CHECKED])
                for part in batch.split(MAX_BATCH):
                    laid = lay_last(part) if self.memory_format == CHANNELS_LAST else part
                    results.append(compute(laid).to("cpu", torch.float32))
        return torch.cat(results) if results else torch.zeros(0, width)

    def _settle(self) -> None:
        """Let the kernels lie as they are to."""
        if self.memory_format == AUTO:
            chosen = choose_format(AUTO, self.model, self.input_shape, self.work, self.device, trains=False)
            self.memory_format = chosen
        lay_model(self.model, self.memory_format)

    def _warn(self, inputs: Tensor) -> None:
        statistics = self.weights.statistics
        if statistics is not None and len(inputs) and (oddity := find_oddity(inputs.cpu(), statistics)):
            log.warning("the images may be not what %s was trained on: %s", self.weights.model, oddity)


@checked
def load(
    reference: str | os.PathLike[str],
    *,
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    device: str = "cpu",
    memory_format: str = AUTO,
    verify: bool = False,
) -> Predictor:
    """Load weights by reference: a path, a run folder, `@last`, `@best`, `MODEL@DATASET` or a name of `list_weights`.

    `memory_format` says how images and kernels lie in memory when it predicts: `contiguous`, `channels_last`, or
    `auto`, by the layers of the model; the last bits depend on it. `verify` proves the weights first, see `zoo.verify`.

    Raises:
        SettingError: there is no such memory format.
        WeightsError: the file is missing, damaged, not zoo's, or does not fit the model.
        OutOfMemoryError: the model does not fit into memory.
        PluginError: the plugin that provides the model is missing or broken.
        DeviceError: the device is not here.
    """
    target, (_, layout) = resolve_device(device), read_speed(None, memory_format)
    places = open_places(registry, plugins, runs_dir=runs_dir, offline=offline)
    predictor = load_path(find_weights(reference, places), places.registry, target, verify=verify)
    predictor.memory_format = layout
    return predictor


def read_speed(threads: int | str | None, memory_format: str) -> tuple[int | None, MemoryFormat]:
    """Return both settings as they are read in a training; raise SettingError for what is none."""
    if threads is None and memory_format == AUTO:
        return None, AUTO
    config = resolve_config({}, {"threads": threads, "memory_format": memory_format})
    return config.threads, config.memory_format


def load_path(path: Path, registry: Registry, device: torch.device | None = None, *, verify: bool = False) -> Predictor:
    """Load a weights file."""
    model, weights, _ = load_file(path, registry, verify=verify)
    with blame_model(weights):
        return Predictor(model, weights, device or torch.device("cpu"))


@checked
def predict(
    reference: str | os.PathLike[str],
    images: Images,
    *,
    value_range: tuple[float, float] | None = None,
    channels_last: bool = False,
    device: str = "cpu",
    threads: int | str | None = None,
    memory_format: str = AUTO,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Predictions:
    """Predict the classes of images with weights, which are loaded as `load` does.

    `images` are what a `Predictor` takes: a path, a PIL image, an array or a tensor, or a list of them. A folder means
    every image in it and in its subfolders, in the order of their names. `threads` are CPU threads, by default as many
    as the work of the model is worth. To predict often, load once and call the predictor.

    Raises:
        WeightsError, PluginError, DeviceError: see `load`.
        DataError: an image cannot be read, or its form is not clear.
    """
    wish, layout = read_speed(threads, memory_format)
    places: dict[str, Any] = {"registry": registry, "plugins": plugins, "runs_dir": runs_dir, "offline": offline}
    predictor = load(reference, **places, device=device, memory_format=layout)
    with use_threads(predictor.choose_threads(wish)):
        return predictor(list_images(images), value_range=value_range, channels_last=channels_last)


def list_images(images: Images) -> Images:
    """Return images with each folder replaced by what is in it."""
    if isinstance(images, str | os.PathLike) and Path(images).expanduser().is_dir():
        return list(find_images([os.fspath(images)]))
    if isinstance(images, list | tuple):
        return [part for image in images for part in _as_list(list_images(image), image)]
    return images


def _as_list(found: Images, image: Images) -> Sequence[Images]:
    return found if isinstance(found, list) else [image]


def load_model(reference: str | os.PathLike[str], **options: Any) -> nn.Module:
    """Return the bare model that a reference means, in eval mode; options and errors are those of `load`."""
    return load(reference, **options).model
