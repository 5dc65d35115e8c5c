"""Adaptation: the model of a weights file rebuilt for other classes, with the tensors that fit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.display import make_table, say
from zoo.errors import SettingError, StorageError, UsageError, quote
from zoo.limits import BATCH_VALUES, MAX_CLASSES
from zoo.models.device import use_seed
from zoo.models.freezing import freeze as freeze_parameters
from zoo.models.golden import MAX_SAMPLES, make_golden
from zoo.models.predictor import load_path
from zoo.models.pretrained import read_pretrained
from zoo.models.references import find_weights
from zoo.models.saving import save_proven
from zoo.records.metadata import ImageForm, WeightsMetadata
from zoo.records.origins import DatasetOrigin
from zoo.records.plain import to_json_table
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.factories import build_model, load_factory
from zoo.registry.origin import find_origin
from zoo.registry.params import resolve_params
from zoo.registry.places import open_places
from zoo.storage import files
from zoo.version import __version__

SEED = 0
"""Of what is new: the same file always gives the same adaptation."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Adaptation:
    """What an adapted model has of the old one: `kept` tensors, `new` ones with the reason, `unused` ones of the file.

    `frozen` are the parameters that a training from this file leaves as they are.
    """

    weights: Path
    model: str
    class_names: tuple[str, ...]
    kept: list[str]
    new: dict[str, str]
    unused: list[str]
    frozen: list[str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return to_json_table({**asdict(self), "weights": str(self.weights)})

    def __repr__(self) -> str:
        told = f"{len(self.kept)} tensors kept, {len(self.new)} new"
        return say("Adaptation", f"{self.model} for {len(self.class_names)} classes", told, weights=self.weights)

    def _repr_html_(self) -> str:
        rows = [*((name, "kept", "") for name in self.kept), *((name, "new", why) for name, why in self.new.items())]
        return make_table([*rows, *((name, "unused", "") for name in self.unused)], ("tensor", "", "why"), most=100)


@checked
def adapt(
    reference: str | os.PathLike[str],
    *,
    num_classes: int | None = None,
    class_names: Sequence[str] | None = None,
    dataset: str | None = None,
    freeze: str | Sequence[str] = (),
    output: str | os.PathLike[str],
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
) -> Adaptation:
    """Rebuild the model of weights for other classes, keep the tensors that fit and save it to `output`.

    The classes are `class_names`, the declared ones of a registered `dataset`, or `num_classes` without names. What
    depends on the classes is new, as it comes from seed 0. Parameters whose names match a shell pattern of `freeze`
    are not trained by a run that starts from the new file.

    Raises:
        UsageError: the classes are not clear, a pattern matches nothing, or nothing fits.
        WeightsError, PluginError: see `load`.
        StorageError: the new file cannot be written; an older one stays.
    """
    places = open_places(registry, plugins, runs_dir=runs_dir, offline=offline)
    names, data = _find_classes(places.registry, num_classes, class_names, dataset)
    patterns = [freeze] if isinstance(freeze, str) else list(freeze)
    path = find_weights(reference, places)
    target = Path(output)
    if target.exists() and target.samefile(path):
        raise UsageError(f"output {target} is the file to adapt", fix="Write to another one with output=...")
    load_path(path, places.registry)  # names whatever is wrong with the file or its model
    pretrained = read_pretrained(path)
    metadata, shape = pretrained.metadata, pretrained.metadata.input_shape
    entry = places.registry.get("model", metadata.qualified_model)
    params = resolve_params(entry.spec, load_factory(entry), metadata.params)
    with use_seed(SEED):
        model = build_model(entry, input_shape=shape, num_classes=len(names), params=params)
    with entry.blamed("failed"):
        transfer = pretrained.transfer_to(model, entry, params, shape, names)
        frozen = freeze_parameters(model, patterns, new=transfer.new)
        golden = make_golden(model, metadata.preprocess, _make_noise(metadata.raw_image), names)
    adapted = WeightsMetadata(
        model=entry.name,
        plugin=find_origin(entry),
        params=params,
        input_shape=shape,
        class_names=tuple(names),
        preprocess=metadata.preprocess,
        image=metadata.raw_image,
        seed=SEED,
        versions={"zoo": __version__, "torch": str(torch.__version__)},
        adapted_from=pretrained.origin,
        dataset=data,
        frozen=tuple(patterns),
        golden=golden,
    )
    try:
        with entry.blamed("failed"):
            save_proven(target, model, entry, adapted)
    except StorageError as error:
        fix = error.fix.replace(files.ELSEWHERE, "Use output=... to write elsewhere.")
        raise StorageError(error.what, error.why, fix) from error
    return Adaptation(weights=target, model=entry.name, class_names=tuple(names), frozen=frozen, **asdict(transfer))


def _find_classes(
    registry: Registry, num_classes: int | None, class_names: Sequence[str] | None, dataset: str | None
) -> tuple[list[str], DatasetOrigin | None]:
    """Return the names of the new classes, and the data set that they come from."""
    if sum(wish is not None for wish in (num_classes, class_names, dataset)) != 1:
        raise UsageError("the new classes are not clear", "expected one of num_classes, class_names, dataset")
    if num_classes is not None:
        if type(num_classes) is not int or not 2 <= num_classes <= MAX_CLASSES:
            raise SettingError("num_classes", f"must be a whole number from 2 to {MAX_CLASSES}", num_classes)
        return [f"class {index}" for index in range(num_classes)], None
    if class_names is not None:
        names = [class_names] if isinstance(class_names, str) else list(class_names)
        if len(names) < 2 or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names):
            raise SettingError("class_names", "expected at least two different texts", names)
        return names, None
    entry = registry.get("dataset", str(dataset))
    if not entry.spec.class_names:
        why = "its classes are known only when it is loaded"
        fix = "Give their number with num_classes=..., or in Python their class_names"
        raise UsageError(f"dataset {quote(entry.name)} declares no class names", why, fix)
    return list(entry.spec.class_names), DatasetOrigin(name=entry.name, plugin=find_origin(entry))


def _make_noise(image: ImageForm) -> Tensor:
    """Return raw images to prove the file with: there are none of the new classes yet."""
    low, high = image.range
    count = max(1, min(MAX_SAMPLES, BATCH_VALUES // prod(image.shape)))
    unit = torch.rand(count, *image.shape, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64)
    images: Tensor = unit.mul_(high - low).add_(low).to(getattr(torch, image.dtype))
    return images
