"""Saving: gather what a weights file must know of a model, and prove from the written file that it is enough."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import IterableDataset

from zoo.data.splits import Split, count_samples, read_image, read_places
from zoo.errors import DataError, SettingError, UsageError, WeightsError, describe
from zoo.models.drift import ENOUGH, SAMPLES, measure_inputs
from zoo.models.features import FeatureExtractor
from zoo.models.golden import MAX_SAMPLES, check_golden, make_golden
from zoo.models.probe import check_model
from zoo.models.weights import read_model, save_weights
from zoo.records.header import read_header
from zoo.records.metadata import FeatureForm, ImageForm, InputStatistics, WeightsMetadata, read_metadata
from zoo.records.plain import to_json_data
from zoo.registry.arguments import checked
from zoo.registry.entries import Entry, Registry, choose_registry
from zoo.registry.factories import load_factory
from zoo.registry.origin import find_origin
from zoo.registry.params import resolve_params
from zoo.registry.preprocess import Preprocess, name_dtype
from zoo.version import __version__

log = logging.getLogger("zoo")

READ_SAMPLES, MEASURED_VALUES = 256, 1 << 26
"""Samples of a Dataset that are read once more for the statistics; those of tensors cost nothing to look at. Of large
ones there are fewer, but ENOUGH: their inputs may have so many values, which take 256 MB."""


def save_proven(path: Path, model: nn.Module, entry: Entry[Any], metadata: WeightsMetadata) -> None:
    """Write weights; the file takes the place of an older one only when it gives the golden samples' predictions back.

    Raises:
        WeightsError: the model is not the one of that name, keeps something outside its state dict, or is random.
        PluginError, OutOfMemoryError: the model cannot be built again.
        StorageError: it cannot be written.
    """

    def check(part: Path) -> None:
        saved = read_metadata(path, read_header(part).metadata)
        try:
            written = read_model(part, saved, Registry([entry.plugin]), mapped=True)
        except WeightsError as error:
            why = f"{error.what.replace(str(part), 'the file')}: {error.why}"
            raise WeightsError(f"{path} was not saved", why) from error
        try:
            check_golden(path, written, saved)
        except WeightsError as error:
            what = f"{path} was not saved: what it holds does not give the predictions back"
            why = f"the model {OUTSIDE}, is random in eval mode, or another than named"
            raise WeightsError(what, why) from error

    metadata = replace(metadata, features=describe_features(model, metadata.input_shape))
    save_weights(path, model, metadata, check=check if metadata.golden else None)


def describe_features(model: nn.Module, input_shape: tuple[int, ...]) -> FeatureForm | None:
    """Return which features a model has of an input; None where it has none that are clear."""
    device = next(iter(model.state_dict().values())).device
    try:
        found = FeatureExtractor(model, input_shape, device)
    except Exception as error:  # noqa: BLE001 they are for reading; a model without them is saved all the same
        log.debug("the model has no features: %s", describe(error))
        return None
    return FeatureForm(layer=found.layer, width=found.width)


OUTSIDE = "keeps something outside its state dict"


@dataclass(frozen=True, kw_only=True)
class SampleFacts:
    """What of a weights file comes from the data: the form of raw images, the statistics of inputs.

    `images` are raw ones of the test split, at most 8, for the golden samples.
    """

    image: ImageForm
    statistics: InputStatistics
    images: Tensor


def measure_samples(preprocess: Preprocess, train: Split, test: Split) -> SampleFacts:
    """Read what a weights file says of the data: statistics are of training samples, images of test ones.

    Raises:
        DataError: a sample cannot be read; names it.
    """
    first = next(iter(take_images(train, 1)))
    room = max(ENOUGH, MEASURED_VALUES // prod(preprocess.output_shape(first.shape[1:])))
    counts = [min(room, SAMPLES if isinstance(split, tuple) else READ_SAMPLES) for split in (train, test)]
    raw, others = (take_images(split, count) for split, count in zip((train, test), counts, strict=True))
    inputs, seen = ([preprocess(part) for batch in some for part in batch.split(256)] for some in (raw, others))
    images = next(iter(take_images(test, MAX_SAMPLES)))
    return SampleFacts(image=describe_images(images, raw), statistics=measure_inputs(inputs, seen), images=images)


def take_images(split: Split, count: int) -> list[Tensor]:
    """Return raw images of a split, evenly spread over it, as batches `(N, C, H, W)` of one shape and dtype each.

    Of a stream they are the first ones.

    Raises:
        DataError: a sample cannot be read; names it.
    """
    samples = count_samples(split)
    places = range(0, samples, max(1, samples // count))[:count]
    if isinstance(split, tuple):
        return [split[0][places.start : places.stop : places.step]]
    images = []
    if isinstance(split, IterableDataset):
        places, samples = range(0), min(count, samples)
        images = [image.unsqueeze(0) for image, _ in read_places(split, range(samples))]
    for place in places:
        try:
            images.append(read_image(split, place).unsqueeze(0))
        except Exception as error:
            if isinstance(error, DataError) and "sample" in error.what:
                raise  # it says already where that is
            raise DataError(f"sample {place} cannot be read", describe(error)) from error
    forms = dict.fromkeys((image.shape, image.dtype) for image in images)
    return [torch.cat([image for image in images if (image.shape, image.dtype) == form]) for form in forms]


def describe_images(image: Tensor, seen: Iterable[Tensor]) -> ImageForm:
    """Return shape, dtype and range of raw images `(N, C, H, W)`; of floats the usual range that holds all."""
    if not image.dtype.is_floating_point:
        low, high = (0.0, 1.0) if image.dtype == torch.bool else (0.0, float(torch.iinfo(image.dtype).max))
    else:
        low, high = min(float(part.min()) for part in seen), max(float(part.max()) for part in seen)
        for usual in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
            if usual[0] <= low and high <= usual[1]:
                low, high = usual
                break
    return ImageForm(shape=tuple(image.shape[1:]), dtype=name_dtype(image.dtype), range=(low, high))


def on_cpu(model: nn.Module, call: Callable[[], Any]) -> Any:
    """Return what a call gives while the model is on the CPU, where golden samples are replayed."""
    device = next(iter(model.state_dict().values())).device
    model.cpu()
    try:
        return call()
    finally:
        model.to(device)


@checked
def save(
    module: nn.Module,
    path: str | os.PathLike[str],
    *,
    model: str,
    input_shape: Sequence[int],
    class_names: Sequence[str],
    params: Mapping[str, Any] | None = None,
    preprocess: Preprocess | None = None,
    images: Tensor | None = None,
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    **facts: Any,
) -> Path:
    """Save a module trained elsewhere as weights of the registered model `model`, and return the path.

    `module` must have the state dict of that model built with `params`. `images` are raw training images
    `(N, C, H, W)`: they give the statistics that later inputs are compared with, and the golden samples; without them
    the golden samples are noise. `facts` go into the metadata: metrics, dataset, seed ...

    Raises:
        UnknownNameError, UsageError: no such model, params it does not have, or a module with other logits.
        WeightsError: the module is not that model; an older file stays.
        StorageError: the file cannot be written.
    """
    entry = choose_registry(registry, plugins).get("model", model)
    unknown = facts.keys() & {"format", "plugin", "image", "statistics", "golden", "digests"}
    if unknown:
        raise SettingError(sorted(unknown)[0], "zoo finds that out itself")
    chosen = preprocess or Preprocess()
    noise = torch.Generator().manual_seed(0)
    raw = torch.randint(256, (8, *input_shape), dtype=torch.uint8, generator=noise) if images is None else images
    if raw.ndim != len(input_shape) + 1 or chosen.output_shape(raw.shape[1:]) != tuple(input_shape):
        raise UsageError(f"images {tuple(raw.shape)}", f"do not become inputs of {tuple(input_shape)}")
    with entry.blamed("failed"):
        device = next(iter(module.state_dict().values())).device
        zeros = torch.zeros(2, *input_shape, device=device)
        check_model(module, zeros, name=entry.name, dataset="class_names", num_classes=len(class_names))
        table = {
            "model": entry.name,
            "plugin": find_origin(entry),
            "params": resolve_params(entry.spec, load_factory(entry), params or {}),
            "input_shape": input_shape,
            "class_names": class_names,
            "preprocess": chosen,
            "versions": {"zoo": __version__, "torch": str(torch.__version__)},
            **facts,
            "image": describe_images(raw, [raw]),
            "golden": on_cpu(module, lambda: make_golden(module, chosen, raw, list(class_names))),
            "statistics": measure_inputs([chosen(part) for part in raw.split(256)]) if images is not None else None,
        }
        target = Path(path)
        save_proven(target, module, entry, read_metadata(target, to_json_data(table)))
    return target
