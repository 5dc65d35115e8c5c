"""Loading: from the entry of a data set to its splits: fetched, built, checked."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo.data.splits import DataSplits, check_splits, copy_splits, count_samples, name_splits
from zoo.data.streams import count_stream
from zoo.data.survey import survey
from zoo.errors import quote
from zoo.registry.arguments import checked
from zoo.registry.entries import Entry, Registry
from zoo.registry.factories import call_factory, load_factory, refuse_params
from zoo.registry.fetching import fetch_dataset
from zoo.registry.params import resolve_params
from zoo.registry.paths import read_path
from zoo.registry.places import Places, open_places
from zoo.registry.specs import DatasetSpec

log = logging.getLogger("zoo")


def build_dataset(entry: Entry[Any], *, root: Path, params: Mapping[str, Any]) -> DataSplits:
    """Build a data set from the files under `root`.

    Raises:
        ZooError: what the factory raises in zoo's own words, a DataError say.
        PluginError: the factory fails otherwise or gives something else than `DataSplits`.
    """
    splits = call_factory(entry, root=root, **params)
    if not isinstance(splits, DataSplits):
        why = f"expected zoo.DataSplits, got {type(splits).__name__}"
        raise entry.plugin.broken(f"dataset {quote(entry.name)}", why)
    with entry.blamed("cannot be used"):
        splits = copy_splits(entry.name, splits)
        counts = entry.spec.samples
        counted: dict[str, Any] = {name: count_stream(split, counts.get(name)) for name, split in splits.items()}
        return replace(splits, **counted)


def prepare_dataset(
    entry: Entry[DatasetSpec], root: Path, params: Mapping[str, Any], *, given: bool, offline: bool
) -> DataSplits:
    """Fetch, load and check a data set; `given` tells that a refused param is the user's.

    Raises:
        DataError, DownloadError, PluginError, UsageError.
    """
    fetch_dataset(entry, root, offline=offline)
    log.debug("loading %s", entry.name)
    with refuse_params(given):
        splits = build_dataset(entry, root=root, params=params)
    with entry.blamed("cannot be used"):
        for warning in check_splits(entry.name, splits):
            log.warning("%s", warning)
        return name_splits(entry.name, splits, entry.plugin.guarded)


def open_dataset(name: str, params: Mapping[str, Any] | None, places: Places) -> tuple[Entry[DatasetSpec], DataSplits]:
    """Return the entry of a data set by its name, and its splits built with the given params.

    Raises:
        UnknownNameError, UsageError: no such data set, or a param that it cannot have.
        DataError, DownloadError, PluginError: the data cannot be had or used.
    """
    name, params = read_path(name, params, places.registry)
    entry = places.registry.get("dataset", name)
    values = resolve_params(entry.spec, load_factory(entry), params or {})
    splits = prepare_dataset(entry, places.data_dir, values, given=bool(params), offline=places.offline)
    return entry, survey(entry.name, splits)


def find_false_claims(spec: DatasetSpec, splits: DataSplits, raw_shape: tuple[int, ...]) -> list[str]:
    """Return in words which facts that the spec declares are not those of the loaded data."""
    loaded = {name: count_samples(split) for name, split in splits.items()}
    # Raw images of many sizes have no shape in common; what becomes of them has.
    preprocess = splits.preprocess
    shape = preprocess.output_shape(raw_shape) if preprocess is not None and preprocess.rounded else raw_shape
    claims: dict[str, tuple[Any, Any]] = {
        "input_shape": (spec.input_shape, shape),
        "num_classes": (spec.num_classes, len(splits.class_names)),
        "class_names": (spec.class_names or None, tuple(splits.class_names)),
        **{f"samples.{name}": (count, loaded.get(name, "no such split")) for name, count in spec.samples.items()},
    }
    return [
        f"{name}: declared {claimed}, loaded {found}"
        for name, (claimed, found) in claims.items()
        if claimed is not None and claimed != found
    ]


@checked
def load_dataset(
    dataset: str,
    *,
    params: Mapping[str, Any] | None = None,
    data_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> DataSplits:
    """Fetch, build and check a data set, and return its splits as they are before preprocessing.

    `images, targets = splits.train` where a split is a pair of tensors, as those of FashionMNIST are: uint8
    `(60000, 1, 28, 28)` and int64 `(60000,)`. Other data sets give a map-style Dataset of `(image, target)`, whose
    images arrive as tensors `(C, H, W)`, or a stream of them. `make_loader` makes batches of each.

    Raises:
        UnknownNameError, UsageError: no such data set, or a param that it cannot have.
        DataError, DownloadError, PluginError: the data cannot be had or used.
    """
    return open_dataset(dataset, params, open_places(registry, plugins, data_dir=data_dir, offline=offline))[1]
