"""Conversion: weights of one registered model handed on to another that is the same under a new name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from zoo.display import make_table, say
from zoo.errors import StorageError, UsageError, WeightsError, quote
from zoo.models.blame import blame_model
from zoo.models.golden import check_golden
from zoo.models.references import find_weights
from zoo.models.saving import save_proven
from zoo.models.weights import check_digests, hash_tensors, read_model
from zoo.records.header import read_header
from zoo.records.metadata import ModelOrigin, read_metadata
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.factories import load_factory
from zoo.registry.origin import find_origin
from zoo.registry.params import resolve_params
from zoo.registry.places import open_places
from zoo.storage import files


@dataclass(frozen=True, kw_only=True, repr=False)
class Conversion:
    """Weights that were handed on: the file, the model that it had and has, as `plugin/name`, and its proof.

    `difference` is the largest one between a probability of the golden samples then and now.
    """

    weights: Path
    was: str
    model: str
    samples: int
    difference: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {**asdict(self), "weights": str(self.weights)}

    def __repr__(self) -> str:
        return say("Conversion", f"{self.was} -> {self.model}", self.proof, weights=self.weights)

    def _repr_html_(self) -> str:
        return make_table([("was", self.was), ("is", self.model), ("proof", self.proof), ("weights", self.weights)])

    @property
    def proof(self) -> str:
        """What was proved, in words."""
        return f"{self.samples} golden samples replayed, probabilities within {self.difference:.1g}"


@checked
def convert(
    reference: str | os.PathLike[str],
    model: str,
    *,
    output: str | os.PathLike[str],
    overwrite: bool = False,
    registry: Registry | None = None,
    plugins: Sequence[str | Path | object] = (),
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
) -> Conversion:
    """Make weights those of the registered model `model`, and save them to `output`.

    It is for a model that moved: from a plugin file into a package, say. The plugin that it was in need not be here.
    The new model is built with the params of the file, takes all its tensors, and must give the predictions of its
    golden samples. All else that the file says stays, and it says what it was converted from. `overwrite` lets `output`
    be the file itself.

    Raises:
        UnknownNameError, AmbiguousNameError: no such model, or several.
        UsageError: `output` is the file itself.
        WeightsError: the file is missing, damaged, without golden samples, or the new model is another one: names the
            tensor that does not fit, or tells by how much a probability differs.
        PluginError: the plugin of the new model is broken.
        StorageError: the new file cannot be written; an older one stays.
    """
    places = open_places(registry, plugins, runs_dir=runs_dir, offline=offline)
    path, target = find_weights(reference, places), Path(output)
    if not overwrite and target.exists() and target.samefile(path):
        raise UsageError(
            f"output {quote(target)} is the file to convert",
            fix="Write to another one with output=..., or give overwrite=True",
        )
    header = read_header(path)
    metadata = read_metadata(path, header.metadata)
    check_digests(path, header)
    entry = places.registry.get("model", model)
    what = f"{path} cannot become weights of {quote(entry.qualified_name)}"
    if metadata.golden is None:
        raise WeightsError(what, "it has no golden samples, which would prove that both models are the same")
    named = replace(metadata, model=entry.name, plugin=find_origin(entry))
    with blame_model(named):
        try:
            built = read_model(path, named, places.registry)
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
    return Conversion(
        weights=target,
        was=metadata.qualified_model,
        model=entry.qualified_name,
        samples=len(metadata.golden.labels),
        difference=difference,
    )
