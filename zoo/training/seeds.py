"""Seeds: one training repeated with several seeds, because a single one says little about a model."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

from zoo.errors import SettingError, SeveralErrors, UsageError, ZooError
from zoo.records.config import read_config
from zoo.records.history import Epoch
from zoo.records.result import RunResult
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry, choose_registry
from zoo.registry.keywords import Settings
from zoo.registry.places import open_places
from zoo.registry.settings import resolve_config
from zoo.training.plan import Wanted
from zoo.training.run import run
from zoo.training.sources import gather


class RunArguments(Settings, total=False):
    """What `run_seeds` hands on to each `run` beside the names, for a type checker."""

    config: str | Path | None
    recipe: str | None
    init: str | Path | None
    freeze: str | Sequence[str] | None
    metrics: str | Sequence[str] | None
    params: Mapping[str, Any] | None
    dataset_params: Mapping[str, Any] | None
    metric_params: Mapping[str, Mapping[str, Any]] | None
    data_dir: str | Path | None
    runs_dir: str | Path | None
    offline: bool | None
    course_style: bool
    progress: bool
    on_epoch: Callable[[Epoch], None] | None
    callbacks: Sequence[object]
    log: str | Sequence[str] | None
    log_params: Mapping[str, Mapping[str, Any]] | None
    checkpoint_every: str | float | None
    max_time: str | float | None
    rank_timeout: str | float | None


@checked
def run_seeds(
    seeds: int | str | None = None,
    model: str | None = None,
    dataset: str | None = None,
    *,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    on_run: Callable[[RunResult], None] | None = None,
    **arguments: Unpack[RunArguments],
) -> list[RunResult]:
    """Train as `run` does, once for each of `seeds` seeds: `seed`, which is 42 by default, and those that follow it.

    Each is a run with a folder of its own. The other arguments are those of `run`. A config file may say how many seeds
    there are.

    Raises:
        ZooError: see `run`; of a run that fails it says the seed, and which runs were finished before.
    """
    if arguments.get("expect"):
        raise UsageError("a recipe's scores are of one run", "expect=True and several seeds", "Use zoo.run")
    chosen = choose_registry(registry, plugins)
    config, recipe = arguments.get("config"), arguments.get("recipe")
    if seeds is None and config is not None:
        seeds = read_config(config).seeds
    count = read_count(seeds)
    given = Wanted(model=model, dataset=dataset, settings={"seed": arguments.pop("seed", None)})
    wanted, _ = gather(given, open_places(chosen), config, recipe)
    first = resolve_config(*({"seed": settings.get("seed")} for settings in wanted.levels)).seed
    resolve_config({}, {"seed": first + count - 1})  # raises when the last seed is out of range
    results: list[RunResult] = []
    for number in range(first, first + count):
        try:
            arguments["seed"] = number
            results.append(run(model, dataset, registry=chosen, **arguments))
        except (UsageError, SeveralErrors):
            raise  # such an error comes from the arguments, not from a seed
        except ZooError as error:
            error.what = f"seed {number}: {error.what}"
            error.fix = " ".join(filter(None, [error.fix and f"{error.fix.rstrip('.')}.", _list_finished(results)]))
            raise
        except BaseException as error:
            error.add_note(_list_finished(results))
            raise
        if on_run is not None:
            on_run(results[-1])
    return results


@checked
def summarise_runs(results: Sequence[RunResult]) -> dict[str, dict[str, Any]]:
    """Return `mean`, `sd` and `n` of each metric over runs; `sd` divides by n - 1 and is None for a single run."""
    summary = {}
    for name in results[0].metrics:
        values = [result.metrics[name] for result in results]
        sd = statistics.stdev(values) if len(values) > 1 else None
        summary[name] = {"mean": statistics.fmean(values), "sd": sd, "n": len(values)}
    return summary


def read_count(seeds: object) -> int:
    """Return the number of seeds, which the command line gives as text."""
    text = str(seeds)
    if isinstance(seeds, bool) or not text.isascii() or not text.isdigit() or int(text[:9]) < 1 or len(text) > 9:
        raise SettingError("seeds", "must be a whole number of at least 1", seeds)
    return int(text)


def _list_finished(results: Sequence[RunResult]) -> str:
    if not results:
        return "No run was finished before"
    return "Finished before: " + ", ".join(f"seed {result.seed} in {result.run}" for result in results)
