"""Embedding: the features that weights give for images, and the file that keeps them."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
from numpy.typing import NDArray

from zoo.display import make_table, say
from zoo.errors import UsageError
from zoo.limits import MAX_PATHS
from zoo.models.device import resolve_device, use_threads
from zoo.models.inputs import Images
from zoo.models.predictor import Predictor, list_images, load_path, read_speed
from zoo.models.references import find_weights
from zoo.models.weights import hash_tensors
from zoo.records.header import read_header
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.places import open_places
from zoo.storage.files import write_file

FORMAT = 1
"""The number of the form of an embeddings file."""


@dataclass(frozen=True, kw_only=True)
class EmbeddingOrigin:
    """What features are from.

    Fields:
        reference: The weights, as they were asked for.
        model: Their model, `plugin/name`.
        digest: SHA-256 of their tensors.
        layer: The layer whose input the features are, or the method that gives them.
    """

    reference: str
    model: str
    digest: str
    layer: str


@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Embeddings:
    """Features of images.

    Fields:
        features: One row for each image: float32 `(N, D)`.
        paths: The file of each row; empty where images were given in another form.
        origin: The weights that they are from.
    """

    features: NDArray[numpy.float32]
    paths: tuple[str, ...]
    origin: EmbeddingOrigin

    def __len__(self) -> int:
        return len(self.features)

    def __repr__(self) -> str:
        count, width = self.features.shape
        return say("Embeddings", f"{count:,} x {width:,} of {self.origin.model}", f"layer {self.origin.layer}")

    def _repr_html_(self) -> str:
        rows = [
            (str(path), *(f"{value:.4f}" for value in row[:6]))
            for path, row in zip(self._names, self.features, strict=True)
        ]
        return make_table(rows, ("image", "features", *("",) * 5), caption=repr(self))

    @property
    def _names(self) -> Sequence[object]:
        return self.paths or range(len(self))

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write them as a safetensors file, whole or not at all, and return its path.

        It has one tensor, `features`. The key `zoo` of its metadata is a JSON table whose `embeddings` is the origin,
        the key `paths` a JSON list of the files.

        Raises:
            UsageError: there are more names of files than the header of a file may have.
            StorageError: it cannot be written; an older one stays.
        """
        target = Path(path)
        check_paths(measure_paths(self.paths))
        told = json.dumps({"format": FORMAT, "embeddings": vars(self.origin)})
        raw = numpy.ascontiguousarray(self.features, dtype="<f4")
        # The library would write the keys of the metadata in another order each time.
        table = {"dtype": "F32", "shape": raw.shape, "data_offsets": [0, raw.nbytes]}
        about = {"zoo": told, "paths": json.dumps(self.paths)}
        header = json.dumps({"__metadata__": about, "features": table}).encode()
        header += b" " * (-len(header) % 8)
        parts = [struct.pack("<Q", len(header)), header, raw.tobytes()]
        write_file(target, parts, what="embeddings", fix="Write elsewhere with output=...")
        return target


def measure_paths(paths: Iterable[str]) -> int:
    """Return the bytes that names of files take in a header."""
    return sum(len(json.dumps(path)) + 2 for path in paths)


def check_paths(size: int) -> None:
    """Raise UsageError where names of files take more bytes than there is room for."""
    if size > MAX_PATHS:
        why = f"at most {MAX_PATHS} go into the header of a file"
        raise UsageError(f"the names of the images take {size} bytes", why, "Embed them in parts")


def describe_origin(reference: str | os.PathLike[str], path: Path, predictor: Predictor) -> EmbeddingOrigin:
    """Return what the features of a predictor are from, which was loaded from the file that a reference means."""
    weights = predictor.weights
    digest = weights.digests.get("tensors") or hash_tensors(path, read_header(path))
    layer = predictor.features.layer
    return EmbeddingOrigin(reference=os.fspath(reference), model=weights.qualified_model, digest=digest, layer=layer)


@checked
def embed(
    reference: str | os.PathLike[str],
    images: Images,
    *,
    value_range: tuple[float, float] | None = None,
    channels_last: bool = False,
    device: str = "cpu",
    threads: int | str | None = None,
    memory_format: str = "auto",
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> Embeddings:
    """Return the features of images, with weights which are loaded as `load` does.

    `images` are what `predict` takes, folders as well. The features are those of `Predictor.embed`, where to embed
    often; `save` of the result writes them to a file. `threads` and `memory_format` are as `predict` takes them.

    Raises:
        WeightsError, PluginError, DeviceError: see `load`.
        UsageError: the model has no features.
        DataError: an image cannot be read, or its form is not clear.
    """
    wish, layout = read_speed(threads, memory_format)
    places = open_places(registry, plugins, runs_dir=runs_dir, offline=offline)
    path = find_weights(reference, places)
    predictor = load_path(path, places.registry, resolve_device(device))
    predictor.memory_format = layout
    listed = list_images(images)
    with use_threads(predictor.choose_threads(wish)):
        features = predictor.embed(listed, value_range=value_range, channels_last=channels_last)
    return Embeddings(features=features, paths=_name_files(listed), origin=describe_origin(reference, path, predictor))


def _name_files(images: Any) -> tuple[str, ...]:
    """Return the paths of images that are all given as paths; else none: a tensor may hold several images."""
    listed = images if isinstance(images, list | tuple) else [images]
    if all(isinstance(image, str | os.PathLike) for image in listed):
        return tuple(os.fspath(image) for image in listed)
    return ()
