"""Sources: what the arguments of a run, a config file and a recipe say of it, as one.

The stronger source wins: arguments, then the file, then the recipe. Below them are the model's recommendation and the
defaults. Params belong to what they were given for: a stronger source that names another model, data set or metrics
takes those of the weaker ones away, as another optimizer does with the learning rate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from zoo.errors import UsageError, ZooError, quote
from zoo.records.config import RunConfig, read_config
from zoo.registry.entries import Entry, Registry
from zoo.registry.fields import make_absolute
from zoo.registry.index import find_names
from zoo.registry.paths import read_path
from zoo.registry.places import Places
from zoo.registry.specs import RecipeSpec
from zoo.training.plan import Wanted

MODEL, DATASET = "baseline", "shapes"
"""What is used where nothing else is named."""


def gather(
    given: Wanted, places: Places, config: str | Path | None = None, recipe: str | None = None
) -> tuple[Wanted, Places]:
    """Return what the arguments, a config file and a recipe want together, and the places with the plugins of the file.

    Raises:
        UsageError: the file cannot be used, there is no such recipe, or it is of another model.
    """
    told = RunConfig() if config is None else read_config(config)
    places = replace(places, registry=places.registry.including(told.plugins))
    registry, sources = places.registry, list[Wanted]()
    name = recipe or told.recipe
    entry = registry.get("recipe", name) if name else None
    if entry is not None:
        sources.append(read_recipe(entry, registry))
    if config is not None:
        sources.append(_read_path(_from_config(told), registry, make_absolute(Path(config).parent)))
    return combine([*sources, _read_path(given, registry)], registry, entry), places


def _read_path(wanted: Wanted, registry: Registry, folder: str = "") -> Wanted:
    """Return what is wanted with the name of a data set and a param in the place of a path.

    Relative paths are from the `folder`, the current one unless another is given.
    """
    if wanted.dataset is None:
        return wanted
    dataset, params = read_path(wanted.dataset, wanted.dataset_params, registry, folder)
    return replace(wanted, dataset=dataset, dataset_params=params)


def combine(sources: Sequence[Wanted], registry: Registry, recipe: Entry[RecipeSpec] | None = None) -> Wanted:
    """Return what several sources, the weakest first, want together; raise UsageError for a recipe of another model."""
    init = _find_last(sources, "init")
    model, dataset = _find_last(sources, "model"), _find_last(sources, "dataset")
    if not init:
        model, dataset = model or MODEL, dataset or DATASET
    if recipe is not None and model is not None and not _is_same("model", sources[0].model, model, registry):
        what = f"recipe {quote(recipe.name)} is of model {quote(sources[0].model)}, not of {quote(model)}"
        raise UsageError(what, fix="Leave the model out, or the recipe")
    kept = _keep_fitting(sources, model, dataset, registry)
    return Wanted(
        model=model,
        dataset=dataset,
        init=init,
        freeze=_find_last(sources, "freeze"),
        metrics=_find_last(sources, "metrics"),
        params=_merge([source.params for source in kept]),
        dataset_params=_merge([source.dataset_params for source in kept]),
        metric_params=_merge_each([source.metric_params for source in kept]),
        log=_find_last(sources, "log"),
        log_params=_merge_each([source.log_params for source in sources]),
        settings=kept[-1].settings,
        course_style=any(source.course_style for source in sources),
        sources=tuple(kept),
        recipe=recipe,
    )


def read_recipe(entry: Entry[RecipeSpec], registry: Registry) -> Wanted:
    """Return what a recipe says of a run."""
    spec = entry.spec
    return Wanted(
        source=f"recipe {entry.short_name}",
        model=_find_own("model", entry, registry),
        dataset=_find_own("dataset", entry, registry),
        metrics=spec.metrics,
        params=spec.params,
        dataset_params=spec.dataset_params,
        metric_params=spec.metric_params,
        settings=spec.train,
    )


def _from_config(told: RunConfig) -> Wanted:
    return Wanted(
        source="config",
        model=told.model,
        dataset=told.dataset,
        init=told.init,
        freeze=told.freeze,
        metrics=told.metrics,
        params=told.params,
        dataset_params=told.dataset_params,
        metric_params=told.metric_params,
        log=told.log,
        log_params=told.log_params,
        settings=told.train,
        course_style=told.course_style,
    )


def _find_own(kind: Literal["model", "dataset"], entry: Entry[RecipeSpec], registry: Registry) -> str:
    """Return the name of a recipe's model or data set: a bare one is first one of its own plugin."""
    name: str = getattr(entry.spec, kind)
    own = [plugin for plugin in registry.plugins if plugin.name == entry.plugin.name]
    if not entry.is_first_party and any(name in names for plugin in own for names in find_names(plugin, kind)):
        return entry.plugin.qualify(name)
    return name


def _find_last(sources: Sequence[Wanted], key: str) -> Any:
    """Return what the strongest source says that says something."""
    return next((value for source in reversed(sources) if (value := getattr(source, key)) is not None), None)


def _is_same(kind: Literal["model", "dataset"], name: str | None, other: str | None, registry: Registry) -> bool:
    """Tell whether two names mean the same entry; names that mean none are told with all other problems, later."""
    if name is None or other is None or name == other:
        return True
    try:
        return registry.get(kind, name).qualified_name == registry.get(kind, other).qualified_name
    except ZooError:
        return True


def _keep_fitting(
    sources: Sequence[Wanted], model: str | None, dataset: str | None, registry: Registry
) -> list[Wanted]:
    """Return the sources, each without params for something that the run does not have."""
    kept, metrics = [], None
    for source in reversed(sources):
        metrics = source.metrics if metrics is None else metrics
        names = [metrics] if isinstance(metrics, str) else metrics
        foreign = names is not None and source.metrics is not metrics
        kept.append(
            replace(
                source,
                params=source.params if _is_same("model", source.model, model, registry) else None,
                dataset_params=source.dataset_params
                if _is_same("dataset", source.dataset, dataset, registry)
                else None,
                metric_params={
                    name: params
                    for name, params in (source.metric_params or {}).items()
                    if not foreign or source is sources[-1] or name in (names or ())
                },
            )
        )
    return kept[::-1]


def _merge(tables: Sequence[Mapping[str, Any] | None]) -> dict[str, Any]:
    return {name: value for table in tables for name, value in (table or {}).items()}


def _merge_each(tables: Sequence[Mapping[str, Mapping[str, Any]] | None]) -> dict[str, dict[str, Any]]:
    """Return the values of each name of several tables of tables, the weakest first."""
    names = dict.fromkeys(name for table in tables for name in table or ())
    return {name: _merge([(table or {}).get(name) for table in tables]) for name in names}
