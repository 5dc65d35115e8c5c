"""Published weights: what the loader of a plugin gives, checked against its model and kept as a weights file, once."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from zoo.errors import (
    DownloadError,
    SeveralErrors,
    StorageError,
    UsageError,
    WeightsError,
    ZooError,
    describe,
    quote,
)
from zoo.limits import BATCH_VALUES
from zoo.models.golden import MAX_SAMPLES, make_golden
from zoo.models.probe import check_model
from zoo.models.saving import save_proven
from zoo.models.weights import check_finite, load_tensors, rebuild_model
from zoo.records.metadata import ImageForm, WeightsMetadata
from zoo.records.origins import DatasetOrigin, Publication
from zoo.records.plain import to_json_table
from zoo.registry.entries import Entry, Registry
from zoo.registry.factories import load_factory
from zoo.registry.global_state import keep_generators
from zoo.registry.imports import import_object
from zoo.registry.index import find_names
from zoo.registry.origin import Origin, find_origin
from zoo.registry.params import resolve_params
from zoo.registry.plugins import blame
from zoo.registry.pretrained import PretrainedWeights
from zoo.registry.specs import ModelSpec, WeightsSpec
from zoo.storage.files import check_writable
from zoo.storage.folders import zoo_home
from zoo.storage.locks import lock
from zoo.version import __version__

log = logging.getLogger("zoo")

LOCK_TIMEOUT = 3600.0
"""Seconds to wait while another process fetches the same weights."""
ELSEWHERE = "Choose another place with ZOO_HOME"
NETWORK = ("urllib", "http", "socket", "ssl", "requests", "urllib3", "httpx", "httpx2", "httpcore", "huggingface_hub")
"""Packages whose errors say that something could not be fetched."""
WRONG_HASH = "invalid hash value"
"""What torch.hub says, in a plain error, of a file that is not the one expected."""


def fetch_published(entry: Entry[WeightsSpec], model: Entry[ModelSpec], path: Path, *, offline: bool) -> Path:
    """Return `path`, with what the loader of registered weights gives in it; that is called once for all processes.

    The file holds the tensors as the registered `model` has them, with golden samples.

    Raises:
        DownloadError: the loader's library cannot fetch them, or `offline` and it does not have them.
        PluginError: the loader fails, or what it gives does not fit the model.
        StorageError: the file cannot be written.
    """
    check_writable(path.parent, fix=ELSEWHERE)
    with lock(zoo_home() / "locks" / f"{hashlib.sha256(bytes(path)).hexdigest()[:32]}.lock", timeout=LOCK_TIMEOUT):
        if not path.is_file():
            log.info("fetching the weights %s; they are kept in %s", entry.qualified_name, path.parent)
            _save(entry, model, call_loader(entry, offline=offline), path)
    return path


def call_loader(entry: Entry[WeightsSpec], *, offline: bool) -> PretrainedWeights:
    """Return what the loader of registered weights gives; what it prints goes to stderr.

    Raises:
        DownloadError, PluginError: see `fetch_published`.
    """
    spec, plugin = entry.spec, entry.plugin
    loader: Any = spec.loader
    if isinstance(loader, str):
        beside = plugin.source if isinstance(plugin.source, Path) and not plugin.installed else None
        with blame(plugin.name, plugin.version, f"{loader} cannot be loaded"), plugin.importing():
            loader = import_object(loader, beside)
    guard = plugin.guarded("while it loaded weights")
    with entry.blamed("their loader failed"), guard, keep_generators(), redirect_stdout(sys.stderr):
        try:
            given = loader(name=entry.name, offline=offline)
        except ZooError as error:
            if error.fix or not isinstance(error, DownloadError):
                raise
            raise _advise(error.what, error.why, offline=offline) from error
        except Exception as error:
            if not _is_of_network(error):
                raise
            what = f"cannot fetch the weights {quote(entry.qualified_name)}"
            raise _advise(what, describe(error), offline=offline) from error
    if not isinstance(given, PretrainedWeights):
        got = f"expected zoo.PretrainedWeights, got {type(given).__name__}"
        raise plugin.broken(f"weights {quote(entry.name)}: their loader is not usable", got)
    return given


def _advise(what: str, why: str, *, offline: bool) -> DownloadError:
    fix = "Run once with offline=False" if offline else "Look at the network and try again"
    return DownloadError(what, f"offline, and not here: {why}" if offline else why, fix)


def _is_of_network(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it came from, says that something could not be fetched."""
    while error is not None:
        kinds = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
        if isinstance(error, ConnectionError | TimeoutError) or not kinds.isdisjoint(NETWORK):
            return True
        if isinstance(error, RuntimeError) and str(error).startswith(WRONG_HASH):
            return True
        error = error.__cause__
    return False


def _save(entry: Entry[WeightsSpec], model: Entry[ModelSpec], given: PretrainedWeights, path: Path) -> None:
    """Build the model, give it the tensors and write the file, whole and proved, or not at all."""
    metadata = _describe(entry, model, given)
    tensors = {name: tensor.detach().cpu() for name, tensor in given.state_dict.items()}
    told = Path(entry.qualified_name)  # what errors call the weights, as they are in no file yet
    try:
        built = rebuild_model(told, metadata, Registry([model.plugin]), size=sum(map(_count_bytes, tensors.values())))
        check_finite(told, tensors)
        load_tensors(told, built, tensors)
    except WeightsError as error:
        what = f"weights {quote(entry.name)} cannot be those of model {quote(model.qualified_name)}"
        raise entry.plugin.broken(what, str(error)) from error
    names = list(metadata.class_names)
    with model.blamed("failed"):
        zeros = torch.zeros(2, *given.input_shape)
        check_model(built.eval(), zeros, name=model.name, dataset=entry.spec.dataset, num_classes=len(names))
        golden = make_golden(built, given.preprocess, draw_images(given.raw_shape), names)
    try:
        save_proven(path, built, model, replace(metadata, golden=golden))
    except StorageError as error:
        raise StorageError(error.what, error.why, ELSEWHERE) from error


def _count_bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def _describe(entry: Entry[WeightsSpec], model: Entry[ModelSpec], given: PretrainedWeights) -> WeightsMetadata:
    """Return what the file says, all but its golden samples."""
    spec = entry.spec
    try:
        params = resolve_params(model.spec, load_factory(model), given.params)
    except (UsageError, SeveralErrors) as error:
        raise entry.plugin.broken(f"weights {quote(entry.name)}", str(error)) from error
    plugin, _, dataset = spec.dataset.rpartition("/")
    if not plugin and any(dataset in names for names in find_names(entry.plugin, "dataset")):
        plugin = entry.plugin.name
    return WeightsMetadata(
        model=model.name,
        plugin=find_origin(model),
        params=to_json_table(params),
        dataset=DatasetOrigin(name=dataset, plugin=Origin(name=plugin) if plugin else None),
        versions={**given.versions, "zoo": __version__, "torch": str(torch.__version__)},
        published=Publication(
            name=entry.name,
            plugin=find_origin(entry),
            license=given.license or spec.license,
            homepage=given.homepage or spec.homepage,
            source=given.source,
            sha256=given.sha256,
            metrics=spec.metrics,
        ),
        input_shape=given.input_shape,
        class_names=given.names,
        preprocess=given.preprocess,
        image=ImageForm(shape=given.raw_shape),
    )


def draw_images(shape: Sequence[int]) -> Tensor:
    """Return raw images of a shape, dtype uint8: blurred spots of several sizes, each time the same ones.

    A model looks at them as at pictures; pixels that are all noise are grey to it, and much alike.
    """
    noise, count = torch.Generator().manual_seed(0), max(1, min(MAX_SAMPLES, BATCH_VALUES // prod(shape)))
    if len(shape) != 3:
        return torch.randint(256, (count, *shape), dtype=torch.uint8, generator=noise)
    spots = [torch.rand(count, shape[0], cells, cells, generator=noise) for cells in (2, 5, 12)]
    layers = [functional.interpolate(each, tuple(shape[1:]), mode="bilinear") for each in spots]
    images = 0.5 * layers[0] + 0.3 * layers[1] + 0.2 * layers[2]
    low, high = images.amin(dim=(1, 2, 3), keepdim=True), images.amax(dim=(1, 2, 3), keepdim=True)
    return ((images - low) / (high - low).clamp(min=1e-6) * 255).to(torch.uint8)
