"""Handover: weights of one registered model given to another that is the same under a new name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from zoo.errors import StorageError, WeightsError, quote
from zoo.models.blame import blame_model
from zoo.models.golden import check_golden
from zoo.models.saving import save_proven
from zoo.models.weights import check_digests, hash_tensors, read_model
from zoo.records.header import read_header
from zoo.records.metadata import read_metadata
from zoo.records.origins import ModelOrigin
from zoo.registry.entries import Entry, Registry
from zoo.registry.factories import load_factory
from zoo.registry.origin import find_origin
from zoo.registry.params import resolve_params
from zoo.registry.specs import ModelSpec
from zoo.storage import files


def hand_over(path: Path, target: Path, entry: Entry[ModelSpec], registry: Registry) -> tuple[str, int, float]:
    """Save zoo weights to `target` as those of another model.

    Return the model that they were of, as `plugin/name`, the number of golden samples and the largest difference of a
    probability. The plugin of the old model need not be here.

    Raises:
        WeightsError: the file is damaged, without golden samples, or the new model is another one: names the tensor
            that does not fit, or tells by how much a probability differs.
        PluginError: the plugin of the new model is broken.
        StorageError: the new file cannot be written; an older one stays.
    """
    header = read_header(path)
    metadata = read_metadata(path, header.metadata)
    check_digests(path, header)
    what = f"{path} cannot become weights of {quote(entry.qualified_name)}"
    if metadata.golden is None:
        raise WeightsError(what, "it has no golden samples, which would prove that both models are the same")
    named = replace(metadata, model=entry.name, plugin=find_origin(entry))
    with blame_model(named):
        try:
            built = read_model(path, named, registry)
        except WeightsError as error:
            raise WeightsError(what, f"{error.what.replace(str(path), 'the file')}: {error.why}") from error
        try:
            difference = check_golden(path, built, named)
        except WeightsError as error:
            raise WeightsError(what, f"with that model {error.why}") from error
        params = resolve_params(entry.spec, load_factory(entry), metadata.params)
        origin = ModelOrigin(
            path=str(path.absolute()), digest=hash_tensors(path, header), model=metadata.qualified_model
        )
        try:
            save_proven(target, built, entry, replace(named, params=params, converted_from=origin))
        except StorageError as error:
            fix = error.fix.replace(files.ELSEWHERE, "Write elsewhere with output=...")
            raise StorageError(error.what, error.why, fix) from error
    return metadata.qualified_model, len(metadata.golden.labels), difference
