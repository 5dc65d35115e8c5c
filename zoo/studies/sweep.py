"""Sweep: settings searched on the validation split, and the best of them confirmed on the test split.

Each trial is a run as `zoo.run` does it, but scored on the validation split alone. What was tried, and what it came to,
is in the run folders; the same call goes on where it was stopped.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import inf
from pathlib import Path
from typing import Any, Literal, Unpack

from zoo.display import align, make_table, say
from zoo.errors import DataError, ErrorCollector, SettingError, UsageError, ZooError
from zoo.records.plain import to_json_data
from zoo.records.repeat import write_command
from zoo.records.run_folder import FAILED, FINISHED, WEIGHTS_FILE
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.keywords import Settings
from zoo.registry.places import open_places
from zoo.results.comparison import compare
from zoo.results.conclusions import describe_group, describe_models
from zoo.results.plots.style import save_figure
from zoo.results.plots.sweep import plot_sweep
from zoo.studies.advice import Adviser, find_optuna, follow_advice
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
from zoo.studies.trials import SETTLED, WAITING, Attempt, Trial, do_all, find_attempts
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
SHOWN = 10
"""Trials in a table for people."""


@dataclass(frozen=True, kw_only=True)
class SweepTrial:
    """A trial of a sweep.

    Fields:
        name: Of the trial, `trial-003`.
        point: What was varied, by name.
        status: What became of it: `finished`, or another word of `RunRecord`; `waiting` where it was not begun.
        score: The best score on the validation split; None where there is none.
        epoch: The epoch of that score, from 1 on.
        seconds: How long it took.
        run: The folder of its newest run.
        why: What ended it, in words, where it did not finish.
    """

    name: str
    point: Mapping[str, Any]
    status: str
    score: float | None = None
    epoch: int | None = None
    seconds: float | None = None
    run: Path | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Confirmation:
    """Several seeds of the best trial and of the settings without what was varied, scored on the test split.

    Fields:
        best, default: the run folders of both.
        groups: the accuracy of each in words, the better one first.
        verdict: whether one is better, in the sentences of `zoo.compare`.
    """

    best: tuple[Path, ...]
    default: tuple[Path, ...]
    groups: Mapping[str, str]
    verdict: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, repr=False)
class Sweep:
    """What a sweep came to.

    Fields:
        folder: Its folder, a folder of runs: `zoo.runs(runs_dir=folder)` lists the trials.
        monitor, higher_is_better: The score on the validation split that chooses, and whether more of it is better.
        asked: How many trials were asked for.
        trials: All of them in their order; of suggested ones those that were begun.
        best: The one with the best score; of equal ones the first. None where no trial has one yet.
        metrics: Its scores on the test split.
        command: The `zoo run` that trains it again; None where no command line spells it.
        picture: The scores over what was varied; None where matplotlib is not installed.
        confirmation: Where it was asked for.
    """

    folder: Path
    asked: int
    monitor: str
    higher_is_better: bool
    trials: tuple[SweepTrial, ...]
    best: SweepTrial | None = None
    metrics: Mapping[str, float]
    command: str | None = None
    picture: Path | None = None
    confirmation: Confirmation | None = None

    @property
    def ranked(self) -> list[SweepTrial]:
        """The trials, the best first; those without a score come last."""
        sign = -1 if self.higher_is_better else 1
        return sorted(self.trials, key=lambda trial: inf if trial.score is None else sign * trial.score)

    @property
    def left(self) -> int:
        """How many trials are still to be done."""
        return max(0, self.asked - self.count(*SETTLED, FAILED))

    def count(self, *statuses: str) -> int:
        """Return how many trials came to one of these."""
        return sum(trial.status in statuses for trial in self.trials)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        plain: dict[str, Any] = to_json_data(_name_paths(asdict(self)))
        return plain

    def make_rows(self, most: int = SHOWN) -> list[list[str]]:
        """Return the best trials as rows of a table, the heading first."""
        names = list(self.trials[0].point) if self.trials else []
        rows = [["trial", *names, f"validation {self.monitor}", "epoch", "status"]]
        for trial in self.ranked[:most]:
            score = "-" if trial.score is None else f"{trial.score:.4f}"
            epoch = "-" if trial.epoch is None else str(trial.epoch)
            rows.append([trial.name, *map(show_value, trial.point.values()), score, epoch, trial.status])
        return rows

    def __repr__(self) -> str:
        told = f"{self.count(FINISHED)} of {len(self.trials)} trials finished"
        best = self.best and f"best {self.best.name}, validation {self.monitor} {self.best.score:.4f}"
        return f"{say('Sweep', told, best, folder=self.folder)}\n{align(self.make_rows())}"

    def _repr_html_(self) -> str:
        heading, *rows = self.make_rows(len(self.trials))
        return make_table(rows, heading, caption=f"{len(self.trials)} trials in {self.folder}")


def _name_paths(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _name_paths(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_name_paths(each) for each in value]
    return str(value) if isinstance(value, Path) else value


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
        return _gather(folder, found, choice, adviser.trials if sampler == "tpe" else len(listed))

    def tell(name: str) -> None:
        if on_trial is not None:
            found = adviser.list_trials() if sampler == "tpe" else listed
            point = next(trial.point for trial in found if trial.name == name)
            on_trial(_tell_trial(name, point, find_attempts(folder, [name]).get(name)))

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


def _tell_trial(name: str, point: Point, attempt: Attempt | None) -> SweepTrial:
    if attempt is None:
        return SweepTrial(name=name, point=point, status=WAITING)
    record, best = attempt.record, attempt.record.best
    score = best.get("value") if attempt.status == FINISHED else None
    return SweepTrial(
        name=name,
        point=point,
        status=attempt.status,
        score=score,
        epoch=best.get("epoch"),
        seconds=record.seconds,
        run=attempt.folder,
        why=attempt.why,
    )


def _gather(folder: Path, trials: Sequence[Trial], choice: Choice, asked: int) -> Sweep:
    attempts = find_attempts(folder, [trial.name for trial in trials])
    found = [_tell_trial(trial.name, trial.point, attempts.get(trial.name)) for trial in trials]
    sign = -1 if choice.higher_is_better else 1
    scored = [trial for trial in found if trial.score is not None]
    return Sweep(
        folder=folder,
        asked=asked,
        monitor=choice.monitor,
        higher_is_better=choice.higher_is_better,
        trials=tuple(found),
        best=min(scored, key=lambda trial: sign * float(trial.score or 0.0), default=None),
        metrics={},
    )


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
        confirmation=_confirm(done, best, base, jobs, confirm) if confirm else None,
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


def _confirm(done: Sweep, best: SweepTrial, base: Base, jobs: int, seeds: int) -> Confirmation:
    """Train and compare further seeds of the best trial and of the settings without what was varied."""
    folder, seed = done.folder / CONFIRMATION, base.ask({}).plan.config.seed
    numbers = range(seed + 1, seed + 1 + seeds)
    found = [
        Trial(name=f"{best.name}-seed{number}", point={**best.point, "seed": number}, tested=True) for number in numbers
    ]
    usual = [Trial(name=f"default-seed{number}", point={"seed": number}, tested=True) for number in numbers]
    if base.describe({**best.point, "seed": seed}) == base.describe({}):
        return Confirmation(best=(), default=(), groups={}, verdict=("the best trial has the default settings",))
    do_all(base, [*found, *usual], folder, jobs=jobs, tell=lambda _: None)
    attempts = find_attempts(folder, [trial.name for trial in (*found, *usual)])
    kept = {name: each.folder for name, each in attempts.items() if each.status == FINISHED}
    places = base.places
    comparison = compare(
        list(kept.values()), registry=places.registry, data_dir=places.data_dir, offline=places.offline
    )
    split = comparison.splits[0]
    return Confirmation(
        best=tuple(kept[trial.name] for trial in found if trial.name in kept),
        default=tuple(kept[trial.name] for trial in usual if trial.name in kept),
        groups={group.name: describe_group(group) for group in split.groups},
        verdict=tuple(describe_models(split)),
    )
