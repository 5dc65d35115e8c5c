"""Sweep: settings searched on the validation split, and the best of them confirmed on the test split.

Each trial is a run as `zoo.run` does it, but scored on the validation split alone. What was tried, and what it came to,
is in the run folders; the same call goes on where it was stopped.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, Literal, Unpack

from zoo.errors import SettingError, UsageError
from zoo.records.run_folder import FINISHED, RUNNING
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.keywords import Settings
from zoo.registry.places import open_places
from zoo.results.plots.style import save_figure
from zoo.results.plots.sweep import Scale, plot_sweep
from zoo.studies.advice import Adviser, find_optuna
from zoo.studies.confirmation import confirm_best
from zoo.studies.points import USUAL_TRIALS, check_points, choose_points, settle_axes
from zoo.studies.ranking import Sweep, SweepTrial
from zoo.studies.search import Search
from zoo.studies.space import MOST_TRIALS, Axis, read_axes
from zoo.studies.study import Base, begin, name_plugins, refuse_ranks, settle_base
from zoo.studies.trials import Trial, check_jobs
from zoo.training.choice import Choice, make_choice
from zoo.training.interval import read_interval
from zoo.training.objective import name_objective
from zoo.training.plan import Plan, Wanted, list_directions
from zoo.training.request import Request

log = logging.getLogger("zoo")

SWEEP_FILE, PICTURE_FILE, CONFIRMATION = "sweep.json", "sweep.png", "confirmation"


@checked
def sweep(
    model: str | None = None,
    dataset: str | None = None,
    *,
    vary: Mapping[str, str | Sequence[Any]],
    trials: int | None = None,
    sampler: Literal["grid", "random", "tpe"] | None = None,
    sampler_seed: int = 0,
    prune: bool = False,
    budget: str | float | None = None,
    jobs: int = 1,
    confirm: int = 0,
    output: str | Path | None = None,
    config: str | Path | None = None,
    recipe: str | None = None,
    init: str | Path | None = None,
    freeze: str | Sequence[str] | None = None,
    metrics: str | Sequence[str] | None = None,
    params: Mapping[str, Any] | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    data_dir: str | Path | None = None,
    runs_dir: str | Path | None = None,
    offline: bool | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    on_trial: Callable[[SweepTrial], None] | None = None,
    **settings: Unpack[Settings],
) -> Sweep:
    """Search for the best settings of a training, on its validation split.

    `vary` names settings of `zoo.run`, `model`, `param.NAME` of the model or `dataset_param.NAME`, each with a list of
    values, as text `"sgd,adamw"`, or a range: `"0.1..0.9"`, `"8..64"` of whole numbers, `"log:1e-4..1e-1"`, with `":4"`
    behind it four values of it. The other arguments are those of `zoo.run`.

    A `grid` tries every combination; `random` draws `trials` of them, the same ones for the same `sampler_seed`. With a
    range or a number of trials it is random where nothing else is said. `tpe` draws where the trials before were good,
    and with `prune` ends a trial early whose best validation score is worse than the median of the others was at that
    epoch; both need Optuna, the extra `sweep`. After `budget`, `"1h"` say, no trial is begun; the best one so far is
    confirmed all the same.
    Each of `jobs` processes does one trial at a time.

    `output` is the folder, by default one in the folder of the runs with the names of model and data set. The same call
    goes on there: what is finished is not done again, and what was stopped or failed is. More trials may be asked for;
    all else must be as it was. Several machines that share the folder share the work.

    Only the validation split chooses; the best trial alone is scored on the test split. With `confirm`, so many seeds
    of it and of the settings without what was varied are trained and compared as `zoo.compare` does, each of them
    another seed than that of the trials.

    `on_trial` is called with each trial that is done.

    Raises:
        UsageError: there is no validation split, a value is wrong, or the folder has another sweep.
        ZooError: see `zoo.run`; an error of a single trial is told by the trial, unless all fail.
    """
    check_jobs(jobs)
    for name, value, least, most in (
        ("trials", trials, 1, MOST_TRIALS),
        ("confirm", confirm, 0, 1000),
        ("sampler_seed", sampler_seed, 0, 2**31),
    ):
        if value is not None and not least <= value <= most:
            raise SettingError(name, f"must be from {least} to {most}", value)
    if confirm == 1:
        raise SettingError("confirm", "one seed says nothing of a model, give 5 say", confirm)
    seconds = inf if budget is None else read_interval("budget", budget, seconds_only=True).count
    end = time.monotonic() + seconds
    axes = read_axes(vary)
    wanted = Wanted(
        model=model or next((axis.values[0] for axis in axes if axis.name == "model"), None),
        dataset=dataset,
        init=None if init is None else str(init),
        freeze=[freeze] if isinstance(freeze, str) else freeze,
        metrics=metrics,
        params=params,
        dataset_params=dataset_params,
        metric_params=metric_params,
        settings=settings,
    )
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline)
    base = settle_base(
        Base(wanted=wanted, places=places, config=None if config is None else str(config), recipe=recipe)
    )
    request = base.ask({})
    if request.pretrained is not None:  # @last is another file after the next run
        base = replace(base, wanted=replace(base.wanted, init=base.describe({})["init"]))
    refuse_ranks(request.plan, "a sweep")
    choice = find_choice(request.plan, axes)
    axes = settle_axes(base, axes)
    sampler = sampler or ("grid" if trials is None and all(axis.values for axis in axes) else "random")
    if prune and sampler != "tpe":
        raise SettingError("prune", "it is optuna that ends trials early", fix="Give sampler='tpe', too")
    points = choose_points(axes, sampler, trials, sampler_seed)
    check_points(base, points)
    if sampler == "tpe":
        find_optuna()
    folder = _choose_folder(base, request, output)
    asked = {
        "vary": {axis.name: str(axis) for axis in axes},
        "sampler": sampler,
        "sampler_seed": sampler_seed if sampler != "grid" else None,
        "prune": prune,
        "run": base.describe({}),
        "plugins": name_plugins(request),
    }
    begin(folder / SWEEP_FILE, asked, what="sweep")
    told: dict[str, Any] = {"monitor": choice.monitor, "higher": choice.higher_is_better, "prune": prune}
    number = trials or USUAL_TRIALS
    search = Search(
        base=base,
        folder=folder,
        choice=choice,
        listed=[Trial(name=f"trial-{number:03}", point=point) for number, point in enumerate(points, 1)],
        adviser=Adviser(folder=folder, axes=tuple(axes), trials=number, seed=sampler_seed, **told)
        if sampler == "tpe"
        else None,
    )
    try:
        search.go_on(jobs=jobs, seconds=end - time.monotonic(), on_trial=on_trial)
        done = search.score_best(data_dir)
        if (best := done.best) is None:
            return done
        done = replace(done, picture=_draw(done, best, axes))
        if not confirm or done.count(RUNNING):  # on another machine, where a better one may come of it
            return done
        place = folder / CONFIRMATION
        return replace(done, confirmation=confirm_best(base, best.name, best.point, place, jobs=jobs, seeds=confirm))
    except KeyboardInterrupt as error:
        done = search.look()
        told_so = f"{done.count(FINISHED)} of {done.asked} trials are finished in {folder}; the same command goes on."
        error.__notes__ = [told_so]  # what a trial said of itself is for whoever trains it alone
        raise


def find_choice(plan: Plan, axes: Sequence[Axis]) -> Choice:
    """Return what chooses by a score on the validation split.

    Raises:
        UsageError: there is no such split, or no such score that means the same in all trials.
    """
    samples = plan.dataset.spec.samples
    if not plan.config.validation and "train" in samples and "validation" not in samples:
        why = f"data set {plan.dataset.name} has none, and the test split must not choose"
        raise UsageError("a sweep chooses on a validation split", why, "Hold samples back with validation=0.1")
    objective = name_objective(plan.loss, plan.metrics)
    for axis in axes:
        if plan.config.monitor == objective and axis.name.partition(".")[0] == "loss_param":
            why = f"it is what is minimised, and {axis.name} makes another score of it"
            raise UsageError(
                f"monitor {objective} cannot choose", why, "Choose by loss, the cross-entropy, or a metric"
            )
    return make_choice(plan.config, objective, list_directions(plan.metrics))


def _choose_folder(base: Base, request: Request, output: str | Path | None) -> Path:
    if output is not None:
        return Path(output).expanduser().absolute()
    names = (request.plan.model.short_name, request.plan.dataset.short_name)
    return base.places.runs_dir / "-".join(["sweep", *(name.replace("/", "-") for name in names)])


def _draw(done: Sweep, best: SweepTrial, axes: Sequence[Axis]) -> Path | None:
    scored = [trial for trial in done.trials if trial.score is not None]
    scores = [trial.score for trial in scored if trial.score is not None]
    title = f"{len(scores)} trials, validation {done.monitor}"
    columns: dict[str, tuple[list[Any], Scale]] = {
        axis.name: ([trial.point[axis.name] for trial in scored], axis.scale) for axis in axes
    }
    path = done.folder / PICTURE_FILE
    try:
        figure = plot_sweep(title, columns, scores, scored.index(best), done.monitor)
        save_figure(figure, path)
    except UsageError as error:  # matplotlib is not installed: the table says the same
        log.warning("no picture: %s", error)
        return None
    return path
