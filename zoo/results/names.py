"""Names: what results are called beside one another, and the settings that tell them apart."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zoo.records.metadata import WeightsMetadata
from zoo.records.plain import to_json_data

if TYPE_CHECKING:
    from zoo.results.reading import Result

EXECUTION_SETTINGS = {"seed", "device", "threads", "workers", "capture"}
"""Settings that do not change what is trained, but for the seed, which is told by itself."""
MODEL_FACTS = ("model", "plugin", "params", "dataset", "input_shape", "preprocess", "init", "frozen", "adapted_from")
"""Metadata that tell what is trained."""
MAX_TOLD = 60
"""Letters of the settings in a name, at most. Where they take more, the name of the folder is easier to read."""


def name_results(results: Sequence[Result]) -> list[Result]:
    """Return the results with their names, no two of which are equal.

    A result is called by its title, `baseline@shapes`. Where several have it, the settings and the seed that tell them
    apart follow: `baseline@shapes (lr=0.01), seed 43`. Where these do not tell them apart, or are too long to read, it
    is called by the folder of its run, else by its file.
    """
    titles: dict[str, list[int]] = {}
    for index, result in enumerate(results):
        titles.setdefault(result.title, []).append(index)
    wanted = ["" for _ in results]
    for title, indices in titles.items():
        if len(indices) == 1:
            wanted[indices[0]] = title
            continue
        told = tell_apart([_find_readable_settings(results[index]) for index in indices])
        seeds = [results[index].weights_metadata.seed for index in indices]
        for index, settings, seed in zip(indices, told, seeds, strict=True):
            name = f"{title} ({settings})" if settings else title
            name += f", seed {seed}" if seed is not None and len({*seeds}) > 1 else ""
            wanted[index] = name if len(settings) <= MAX_TOLD else ""
    taken = Counter(wanted)
    names: list[str] = []
    for result, name in zip(results, wanted, strict=True):
        names.append(name if name and taken[name] == 1 else _number(_name_file(result), {*names, *wanted}))
    return [replace(result, name=name) for result, name in zip(results, names, strict=True)]


def find_settings(metadata: WeightsMetadata) -> dict[str, str]:
    """Return the settings that make a model, without its seed, each as one text."""
    # Not all of the metadata: their golden samples alone are most of them.
    settings = {fact: to_json_data(getattr(metadata, fact)) for fact in MODEL_FACTS}
    settings |= {key: value for key, value in (metadata.train_config or {}).items() if key not in EXECUTION_SETTINGS}
    return dict(_flatten(settings, ""))


def _flatten(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, sort_keys=True)


def tell_apart(settings: Sequence[Mapping[str, str]]) -> list[str]:
    """Return for each of these settings those that not all have in common, as `hidden_units=10, dataset seed=5`."""
    known = dict.fromkeys(name for each in settings for name in each)
    telling = [name for name in known if len({each.get(name) for each in settings}) > 1]
    return [", ".join(f"{_shorten(name)}={each[name]}" for name in telling if name in each) for each in settings]


def _shorten(setting: str) -> str:
    """Return a setting as one says it: `hidden_units` of the model, `dataset test_size`."""
    return setting.removeprefix("params.").replace("dataset.params.", "dataset ")


def _find_readable_settings(result: Result) -> dict[str, str]:
    """Return the settings without those that follow from others and say nothing to a reader."""
    settings = find_settings(result.weights_metadata)
    return {key: value for key, value in settings.items() if not key.startswith(("dataset.digest", "dataset.samples"))}


def _name_file(result: Result) -> str:
    return result.run.resolve().name if result.run else result.weights.stem


def _number(base: str, taken: set[str]) -> str:
    """Return a name, numbered from 2 on where it is taken."""
    name, number = base, 1
    while name in taken:
        number += 1
        name = f"{base} ({number})"
    return name
