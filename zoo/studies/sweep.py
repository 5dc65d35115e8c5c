"""Sweep: settings searched on the validation split, and the best of them confirmed on the test split.

Each trial is a run as `zoo.run` does it, but scored on the validation split alone. What was tried, and what it came to,
is in the run folders; the same call goes on where it was stopped.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any, Literal, Unpack

from zoo.errors import DataError, ErrorCollector, SettingError, UsageError, ZooError
from zoo.records.repeat import write_command
from zoo.records.run_folder import FINISHED, WEIGHTS_FILE
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.keywords import Settings
from zoo.registry.places import open_places
from zoo.results.plots.style import save_figure
from zoo.results.plots.sweep import plot_sweep
from zoo.studies.advice import Adviser, find_optuna, follow_advice
from zoo.studies.confirmation import confirm_best
from zoo.studies.ranking import Sweep, SweepTrial, rank_trials, tell_trial
from zoo.studies.space import (
    Axis,
    Point,
    describe_point,
    draw_points,
    list_grid,
    read_axes,
    settle,
    show_value,
)
from zoo.studies.study import Base, begin, name_plugins, settle_base
from zoo.studies.trials import Trial, do_all, find_attempts
from zoo.training.choice import Choice, make_choice
from zoo.training.evaluation import evaluate
from zoo.training.interval import read_interval
from zoo.training.objective import name_objective
from zoo.training.plan import Plan, Wanted, list_directions
from zoo.training.request import Request

log = logging.getLogger("zoo")

SWEEP_FILE, PICTURE_FILE, CONFIRMATION = "sweep.json", "sweep.png", "confirmation"
USUAL_TRIALS, MOST_TRIALS = 20, 100_000
MOST_TRIED = 256
"""Combinations of the ends of ranges that are checked where the trials are not known before."""


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
    epoch; both need Optuna, the extra `sweep`. After `budget`, `"1h"` say, no trial is begun.
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
    for name, value, least in (("jobs", jobs, 1), ("confirm", confirm, 0), ("trials", trials or 1, 1)):
        if not least <= value <= MOST_TRIALS:
            raise SettingError(name, f"must be from {least} to {MOST_TRIALS}", value)
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
    _check_validation(request.plan)
    axes = [settle(axis, _find_kinds(base, axis)) for axis in axes]
    sampler = sampler or ("grid" if trials is None and all(axis.values for axis in axes) else "random")
    if prune and sampler != "tpe":
        raise SettingError("prune", "it is optuna that ends trials early", prune, "Give sampler='tpe', too")
    points = _choose_points(axes, sampler, trials, sampler_seed)
    _check_points(base, points)
    choice = find_choice(request.plan)
    folder = _choose_folder(base, request, output)
    asked = {
        "vary": {axis.name: _say_axis(axis) for axis in axes},
        "sampler": sampler,
        "sampler_seed": sampler_seed if sampler != "grid" else None,
        "prune": prune,
        "run": base.describe({}),
        "plugins": name_plugins(request),
    }
    adviser = Adviser(
        folder=folder,
        axes=tuple(axes),
        trials=trials or USUAL_TRIALS,
        seed=sampler_seed,
        monitor=choice.monitor,
        higher=choice.higher_is_better,
        prune=prune,
    )
    if sampler == "tpe":
        find_optuna()
    begin(folder / SWEEP_FILE, asked, what="sweep")
    listed = [Trial(name=f"trial-{number:03}", point=point) for number, point in enumerate(points, 1)]

    def gather() -> Sweep:
        found = adviser.list_trials() if sampler == "tpe" else listed
        return rank_trials(folder, found, choice, adviser.trials if sampler == "tpe" else len(listed))

    def tell(name: str) -> None:
        if on_trial is not None:
            found = adviser.list_trials() if sampler == "tpe" else listed
            point = next(trial.point for trial in found if trial.name == name)
            on_trial(tell_trial(name, point, find_attempts(folder, [name]).get(name)))

    try:
        if sampler == "tpe":
            follow_advice(base, adviser, jobs=jobs, tell=tell, seconds=end - time.monotonic())
        else:
            do_all(base, listed, folder, jobs=jobs, tell=tell, seconds=end - time.monotonic())
        done = gather()
        _check_data(done)
        if done.best is None:
            _refuse_failure(done)
            return done
        return _finish(done, base, axes, jobs, confirm)
    except KeyboardInterrupt as error:
        done = gather()
        told = f"{done.count(FINISHED)} of {done.asked} trials are finished in {folder}; the same command goes on."
        error.__notes__ = [told]  # what a trial said of itself is for whoever trains it alone
        raise


def find_choice(plan: Plan) -> Choice:
    """Return what chooses by a score on the validation split; raise SettingError where a run has no such score."""
    return make_choice(plan.config, name_objective(plan.loss, plan.metrics), list_directions(plan.metrics))


def _check_validation(plan: Plan) -> None:
    samples = plan.dataset.spec.samples
    if not plan.config.validation and "train" in samples and "validation" not in samples:
        why = f"data set {plan.dataset.name} has none, and the test split must not choose"
        raise UsageError("a sweep chooses on a validation split", why, "Hold samples back with validation=0.1")


def _find_kinds(base: Base, axis: Axis) -> list[type]:
    """Return the types that the ends of a range have in a run; none where they are wrong, which is told later."""
    errors, kinds = ErrorCollector(), list[type]()
    for value in () if axis.values else axis.examples:
        with errors.catch():
            plan = base.ask({axis.name: value}).plan
            first, _, rest = axis.name.partition(".")
            tables = {"param": plan.params, "dataset_param": plan.dataset_params}
            table = tables.get(first) if rest else vars(plan.config)
            kinds.append(type((table or {}).get(rest or first)))
    return kinds


def _choose_points(axes: Sequence[Axis], sampler: str, trials: int | None, seed: int) -> list[Point]:
    if sampler == "tpe":  # what will be suggested is not known: the ends of ranges with each value
        ends = [Axis(name=axis.name, values=axis.examples) for axis in axes]
        return list(itertools.islice(draw_points(ends, seed), MOST_TRIED))
    if sampler == "grid":
        if trials is not None:
            raise SettingError("trials", "a grid tries every combination", trials, "Leave it out, or sampler='random'")
        return list_grid(axes)
    return list(itertools.islice(draw_points(axes, seed), trials or USUAL_TRIALS))


def _check_points(base: Base, points: Sequence[Point]) -> None:
    """Check each trial as `zoo.run` would before it loads anything; raise every problem at once, each with a trial."""
    problems: dict[str, ZooError] = {}
    for point in points:
        try:
            epochs = base.ask(point).plan.config.epochs
            if not epochs:
                raise SettingError("epochs", "must be at least 1: a trial is scored after its epochs", epochs)
        except ZooError as error:
            for problem in error.problems:
                if str(problem) not in problems:
                    problems[str(problem)] = problem
                    problem.what = f"trial {describe_point(point)}: {problem.what}"
    errors = ErrorCollector()
    errors.errors.extend(problems.values())
    errors.raise_any()


def _choose_folder(base: Base, request: Request, output: str | Path | None) -> Path:
    if output is not None:
        return Path(output).expanduser().absolute()
    names = (request.plan.model.short_name, request.plan.dataset.short_name)
    return base.places.runs_dir / "-".join(["sweep", *(name.replace("/", "-") for name in names)])


def _say_axis(axis: Axis) -> str:
    if axis.values:
        return ", ".join(map(show_value, axis.values))
    return f"{'log:' if axis.log else ''}{axis.low:g}..{axis.high:g}"


def _check_data(done: Sweep) -> None:
    """Raise DataError where trials were trained on data that differ: their scores cannot be compared."""
    digests, folder = dict[str, str](), done.folder
    for name, attempt in find_attempts(folder, [trial.name for trial in done.trials]).items():
        data = attempt.record.dataset
        if attempt.status == FINISHED and data is not None and data.digest:
            digests.setdefault(data.digest, name)
    if len(digests) > 1:
        first, other, *_ = digests.values()
        why = f"the data of {first} and {other} differ"
        raise DataError(f"the trials of {folder} cannot be compared", why, "Begin another sweep")


def _refuse_failure(done: Sweep) -> None:
    """Raise an error where trials were done, and none has a score."""
    failed = [trial for trial in done.trials if trial.why]
    if failed and len(failed) == len(done.trials):
        why = f"the first one: {failed[0].why}"
        raise ZooError(f"all {len(failed)} trials failed", why, f"Their records are in {done.folder}")


def _finish(done: Sweep, base: Base, axes: Sequence[Axis], jobs: int, confirm: int) -> Sweep:
    """Score the best trial on the test split, draw the scores, and confirm where that is asked for."""
    best = done.best
    if best is None or best.run is None:
        return done
    attempt = find_attempts(done.folder, [best.name])[best.name]
    plan = base.ask(best.point).plan
    scored = evaluate(
        best.run / WEIGHTS_FILE,
        metrics=list(plan.metrics),
        metric_params={name: params for name, params in plan.metric_params.items() if params},
        registry=base.places.registry,
        data_dir=base.places.data_dir,
        offline=base.places.offline,
        device=attempt.record.device,
        threads=attempt.record.threads,
    )
    return replace(
        done,
        metrics=scored.metrics,
        command=write_command(attempt.record),
        picture=_draw(done, axes),
        confirmation=confirm_best(base, best.name, best.point, done.folder / CONFIRMATION, jobs=jobs, seeds=confirm)
        if confirm
        else None,
    )


def _draw(done: Sweep, axes: Sequence[Axis]) -> Path | None:
    scored = [trial for trial in done.trials if trial.score is not None]
    path = done.folder / PICTURE_FILE
    title = f"{len(scored)} trials, validation {done.monitor}"
    columns = {axis.name: ([trial.point[axis.name] for trial in scored], axis.log) for axis in axes}
    best = next(number for number, trial in enumerate(scored) if trial is done.best)
    try:
        figure = plot_sweep(title, columns, [float(trial.score or 0) for trial in scored], best, done.monitor)
        save_figure(figure, path)
    except UsageError as error:  # matplotlib is not installed: the table says the same
        log.warning("no picture: %s", error)
        return None
    return path
