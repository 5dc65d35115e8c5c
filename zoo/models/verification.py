"""Verification: a weights file is proved to mean what it meant when it was saved."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from zoo.display import make_table, say
from zoo.errors import OutOfMemoryError, quote
from zoo.models.blame import blame_model
from zoo.models.golden import TOLERANCE, check_golden
from zoo.models.references import find_weights
from zoo.models.weights import check_digests, read_model
from zoo.records.header import read_header
from zoo.records.metadata import WeightsMetadata, read_metadata
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.places import open_places


@dataclass(frozen=True, kw_only=True, repr=False)
class Verification:
    """What was proved of a weights file: `checks` by name with what was found."""

    path: Path
    checks: dict[str, str]

    def __repr__(self) -> str:
        return say("Verification", f"{self.path} verified: {', '.join(self.checks)}")

    def _repr_html_(self) -> str:
        return make_table(self.checks.items(), ("check", "found"), caption=f"verified {self.path}")


@checked
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
    return Verification(path=path, checks=load_file(path, places.registry, verify=True)[2])


def load_file(path: Path, registry: Registry, *, verify: bool) -> tuple[nn.Module, WeightsMetadata, dict[str, str]]:
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
