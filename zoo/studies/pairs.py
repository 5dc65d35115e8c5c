"""Pairs: which model meets which data set in a matrix, what each pair is told, and the cells that come of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from zoo.errors import IncompatibleError, UsageError, quote
from zoo.registry.entries import Registry
from zoo.registry.paths import read_path
from zoo.registry.settings import keep_fitting
from zoo.studies.cells import UNFIT, MatrixCell
from zoo.studies.space import Point
from zoo.studies.study import Base, Problems
from zoo.studies.trials import WAITING
from zoo.training.plan import Wanted
from zoo.training.request import Request


def follow_recipe(
    recipe: str | None, told: Mapping[str, Any], metrics: Any, settings: Mapping[str, Any], base: Base
) -> tuple[Base, dict[str, dict[str, Mapping[str, Any]]]]:
    """Return what all cells are told, and the params that a recipe has for its own model and data set."""
    own: dict[str, dict[str, Mapping[str, Any]]] = {"params": {}, "dataset_params": {}}
    levels: list[Mapping[str, Any]] = [told.get("train", {}), settings]
    wanted = Wanted(metrics=metrics or told.get("metrics"))
    if recipe is not None:
        spec = base.places.registry.get("recipe", recipe).spec
        levels.insert(0, spec.train)
        own = {"params": {spec.model: spec.params}, "dataset_params": {spec.dataset: spec.dataset_params}}
        if wanted.metrics is None:
            wanted = replace(wanted, metrics=spec.metrics, metric_params=spec.metric_params)
    given: dict[str, Any] = {}
    for level in keep_fitting(levels):
        given |= level
    return replace(base, wanted=replace(wanted, settings=given)), own


def check_owners(table: str, given: Mapping[str, Any], names: Sequence[str], registry: Registry) -> None:
    """Raise UsageError where a table of params is of a model or a data set that is not in the matrix."""
    kind: Literal["model", "dataset"] = "model" if table == "params" else "dataset"
    known = {registry.get(kind, read_path(name, None, registry)[0]).qualified_name for name in names}
    for name in given:
        if registry.get(kind, name).qualified_name not in known:
            fix = f"Name it among the {kind}s, or leave its params out"
            raise UsageError(f"{table} of {quote(name)}", f"that {kind} is not part of this matrix", fix)


def list_cells(
    base: Base,
    models: Sequence[str],
    datasets: Sequence[str],
    seeds: int,
    own: Mapping[str, Mapping[str, Any]],
    beside: Path,
) -> tuple[list[tuple[MatrixCell, Point]], dict[tuple[str, str], Request]]:
    """Return all cells, each with what it is told, and the training of each pair that fits together.

    All pairs have their first seed before any has its second, so that a matrix that is stopped has seen all of them.
    A relative path of a data set is one from the folder `beside`.

    Raises:
        ZooError: what is wrong with any pair but that it does not fit together, each thing once with its first pair.
    """
    registry, problems = base.places.registry, Problems()
    pairs: dict[tuple[str, str], tuple[dict[str, Any], Request | None, str]] = {}
    for model in models:
        for dataset in datasets:
            named, path = read_path(dataset, None, registry, beside)
            first, second = registry.get("model", model), registry.get("dataset", named)
            point: dict[str, Any] = {"model": model, "dataset": named}
            point |= {f"dataset_param.{param}": value for param, value in (path or {}).items()}
            for kind, entry, table in (("param", first, "params"), ("dataset_param", second, "dataset_params")):
                for name, values in own[table].items():
                    if name in (entry.name, entry.short_name, entry.qualified_name):
                        point |= {f"{kind}.{param}": value for param, value in values.items()}
            pair = first.short_name, dataset if path else second.short_name
            with problems.catch(" on ".join(pair)):
                try:
                    found: tuple[Request | None, str] = base.ask(point), ""
                except IncompatibleError as error:
                    found = None, str(error)
                pairs[pair] = point, *found
    problems.raise_any()
    requests = {pair: request for pair, (_, request, _) in pairs.items() if request is not None}
    seed = next((request.plan.config.seed for request in requests.values()), 42)
    cells: list[tuple[MatrixCell, Point]] = []
    names: dict[str, tuple[str, str]] = {}
    for number in range(seed, seed + seeds):
        for (model, dataset), (told, request, why) in pairs.items():
            name = re.sub(r"[^a-z0-9._-]+", "-", f"{model}-{dataset.lstrip('./~')}-seed{number}".lower())
            if (other := names.setdefault(name, (model, dataset))) != (model, dataset):
                what = f"{model} on {dataset} and {other[0]} on {other[1]} would have the same folder, {name}"
                raise UsageError(what, fix="Ask for them in two matrices, each with an output=... of its own")
            status = UNFIT if request is None else WAITING
            cell = MatrixCell(name=name, model=model, dataset=dataset, seed=number, status=status, metrics={}, why=why)
            cells.append((cell, {**told, "seed": number}))
    return cells, requests
