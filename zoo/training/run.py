"""Run: from names and settings to a trained, evaluated and saved model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from zoo.errors import UsageError
from zoo.models.device import use_seed, use_threads
from zoo.models.memory import forget_peak, read_peak
from zoo.records.config import read_config
from zoo.records.history import Epoch
from zoo.records.result import RunResult
from zoo.registry.arguments import checked
from zoo.registry.entries import Registry
from zoo.registry.global_state import restore_after_errors
from zoo.registry.keywords import Settings
from zoo.registry.places import open_places
from zoo.storage.files import check_writable
from zoo.storage.folders import zoo_home
from zoo.training.begun import Begun
from zoo.training.blame import OnEpoch, blame_plugin, name_device, note_errors, watching
from zoo.training.bystander import make_recording
from zoo.training.callbacks import Callbacks, check_callbacks
from zoo.training.compiled import use_compiler
from zoo.training.description import describe_progress, describe_run
from zoo.training.distributed import settle, share_model, together
from zoo.training.group import Group
from zoo.training.inputs import warn_of_overlaps
from zoo.training.interval import Pace, read_pace
from zoo.training.objective import name_objective
from zoo.training.pauses import Pauses
from zoo.training.plan import Wanted
from zoo.training.predictions import OutcomeCollector
from zoo.training.progress import Progress, bar, no_progress
from zoo.training.recipes import check_expected, compare_expected
from zoo.training.rehearsal import rehearse
from zoo.training.request import Request, make_request
from zoo.training.setup import Preparation, prepare
from zoo.training.signals import on_request, stop_once
from zoo.training.sources import gather
from zoo.training.trainer import Trainer, evaluate
from zoo.training.trend import tell_trend
from zoo.training.verdict import tell_verdict

log = logging.getLogger("zoo")


@checked
def run(
    model: str | None = None,
    dataset: str | None = None,
    *,
    config: str | Path | None = None,
    recipe: str | None = None,
    expect: bool = False,
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
    course_style: bool = False,
    progress: bool = False,
    on_epoch: Callable[[Epoch], None] | None = None,
    callbacks: Sequence[object] = (),
    log: str | Sequence[str] | None = None,
    log_params: Mapping[str, Mapping[str, Any]] | None = None,
    checkpoint_every: str | float | None = None,
    max_time: str | float | None = None,
    rank_timeout: str | float | None = None,
    **settings: Unpack[Settings],
) -> RunResult:
    """Train a registered model on a registered data set, evaluate it after each epoch and save its weights.

    Without names these are `baseline` and `shapes`, or with `init`, a reference to weights as `load` takes it, the
    model and the data set of that file with their params. The model then starts from the file's tensors as far as
    they fit; what depends on the classes is new for other classes. Parameters whose names match a shell pattern of
    `freeze` are not trained; by default those that the file says.

    `settings` are the fields of `TrainConfig`: epochs, batch_size, lr, optimizer, momentum, weight_decay, input_size,
    seed, device, threads, workers. What is not given comes from `config`, a file as docs/reference/config.md describes
    it, then from `recipe`, from the model's recommendation, and from the defaults. With `expect` the result has the
    scores that the recipe expects beside its own; what would make them others is refused.
    The thread count and the random state of the caller stay as they are.

    `on_epoch` is called after each epoch with what the history says of it; an error that it raises stops the run, which
    keeps what is finished. `callbacks` are objects with any of the methods of `Callback`, which only watch. `log` names
    loggers, which are callbacks that plugins provide, and `log_params` has params of them by name.

    A checkpoint of the training is saved every so often, so that `zoo.resume` goes on with the same bits: as
    `checkpoint_every` says, `"10m"`, `"500 steps"` or `"2 epochs"`, by default once a minute or less often, so that it
    costs a hundredth of the run at most. A signal, or the end of `max_time`, `"1h"` say, ends the training by
    KeyboardInterrupt, between two steps and after a checkpoint. Processes that torchrun has started call this alike and
    train one model together, each on its part of every batch. One that does not answer for `rank_timeout`, by default
    ten minutes, ends them all.

    With `course_style` the scores have `course.loss` and `course.accuracy` too: the means over batches that the course
    prints, the accuracy in percent.

    Raises:
        ZooError: see `zoo.errors`; all problems with names, params and settings are found before anything is loaded.
    """
    pace = read_pace(checkpoint_every, max_time, rank_timeout)
    places = open_places(registry, plugins, data_dir=data_dir, runs_dir=runs_dir, offline=offline).settle()
    given = Wanted(
        model=model,
        dataset=dataset,
        init=init,
        freeze=[freeze] if isinstance(freeze, str) else freeze,
        metrics=metrics,
        params=params,
        dataset_params=dataset_params,
        metric_params=metric_params,
        settings=settings,
        course_style=course_style,
        log=log,
        log_params=log_params,
    )
    wanted, places = gather(given, places, config, recipe)
    if config is not None and settings.get("seed") is None and (count := read_config(config).seeds):
        raise UsageError(f"config {config}: seeds: asks for {count} runs, and this is one", fix="Use zoo.run_seeds")
    check_callbacks(callbacks)
    request = make_request(wanted, places)
    if expect:
        check_expected(request.plan)
    check_writable(places.runs_dir, fix="Choose another folder with runs_dir=...")
    result = carry_out(request, pace=pace, progress=progress, on_epoch=on_epoch, callbacks=callbacks)
    return replace(result, expected=compare_expected(request.plan, result.metrics)) if expect else result


def carry_out(
    request: Request,
    begun: Begun | None = None,
    *,
    pace: Pace,
    progress: bool = False,
    on_epoch: OnEpoch | None = None,
    callbacks: Sequence[object] = (),
) -> RunResult:
    """Train what was asked for, or go on with what was begun, with the random state and the threads that it is to have.

    Errors are told as those of whom they are.
    """
    request = replace(request, plan=settle(request.plan))
    settled, callers, speaks = request.plan.config, list[BaseException](), request.plan.ranks.is_first
    with (
        restore_after_errors(),
        use_seed(settled.seed),
        use_threads(settled.threads),
        use_compiler(zoo_home() / "cache" / "compiled" if settled.compile else None),
        on_request(lambda: None),
        together(request.plan, pace.patience) as group,
        name_device(request.plan),
        blame_plugin(request.plan.model, request.plan.dataset.name, callers),
    ):
        show = watching(bar if progress and speaks else no_progress, request.plan)
        heard: dict[str, Any] = {"on_epoch": note_errors(on_epoch, callers), "callbacks": callbacks} if speaks else {}
        return train(request, begun, group, pace=pace, show=show, callers=callers, **heard)


def train(
    request: Request,
    begun: Begun | None = None,
    group: Group | None = None,
    *,
    pace: Pace,
    show: Progress,
    on_epoch: OnEpoch | None = None,
    callers: Sequence[BaseException] = (),
    callbacks: Sequence[object] = (),
) -> RunResult:
    """Load and build what was asked for, rehearse and train it, and keep what comes of it in a folder of its own.

    Of a `group` of ranks only the first one rehearses and writes; the folder and all else that is returned are the same
    for all. `begun` is a training that goes on, in its own folder unless it is a new run. `callers` is where errors of
    `on_epoch` are noted: they are the caller's, not those of a plugin.
    """
    forget_peak(request.plan.device)
    plan, ready = request.plan, prepare(request)
    if ready.validation is None and not request.tested:
        what = f"data set {plan.dataset.name} has no validation split, and without one only the test split could choose"
        raise UsageError(what, fix="Hold samples back with validation=0.1")
    record, outcomes = describe_run(request, ready), OutcomeCollector()
    record = record if begun is None else begun.check(record)
    log.debug("rehearsing %s", plan.model.name)
    rehearsal = rehearse(plan, ready, record) if plan.ranks.is_first else None
    ready = replace(ready, model=share_model(ready.model, plan, group))
    parts: dict[str, Any] = {"head": ready.head, "later": ready.later, "choice": ready.choice, "group": group}
    parts |= {"objective": name_objective(plan.loss, plan.metrics), "show": show, "outcomes": outcomes}
    parts["capture"] = False if plan.config.sync_batchnorm else plan.model.spec.capture
    trainer = Trainer(ready.model, plan.config, plan.device, ready.metrics, ready.objective, **parts)
    ready = replace(ready, model=trainer.evaluated)
    recording = make_recording(request, ready, rehearsal, record)
    pauses = Pauses(trainer, recording, pace)
    if begun is not None:
        pauses.go_on(begun)
    heard = Callbacks(callbacks)
    trainer.on_epoch = recording.follow(trainer, heard.finish_epoch, on_epoch, pauses.finish_epoch)
    with stop_once(), heard.hearing(recording), recording.keeping(trainer), name_device(plan):
        recording.open(None if begun is None else begun.folder)
        if group is not None:
            recording.folder = group.begin(trainer, recording.folder)
        heard.start(plan, recording)
        with blame_plugin(plan.model, plan.dataset.name, callers):
            if begun is not None:
                begun.load(trainer)
            with pauses.listening():
                fit(trainer, ready)
            recording.note(history=trainer.history, **describe_progress(trainer))
            if trainer.history and ready.choice is not None:
                recording.save_last()
                trainer.restore()
                recording.save_weights()  # nothing that comes now can cost them
            scores = score(trainer, ready) if request.tested else {}
        recording.note(metrics=scores, seconds=pauses.seconds, peak_memory=read_peak(plan.device))
        recording.save(outcomes)
        if group is not None:
            group.meet()
    warn_of_overlaps(plan, ready.splits, ready.batches, group)
    tell_verdict(plan.model.name, recording.record.verdict)
    tell_trend(plan.model.name, recording.record.trend)
    return recording.result()


def fit(trainer: Trainer, ready: Preparation) -> None:
    """Train; each epoch is evaluated on the validation split, or without one on the test split."""
    judged = ready.test if ready.validation is None else ready.validation
    trainer.fit(ready.train, judged, ready.choice)
    if not trainer.history:
        log.info("0 epochs: the model is evaluated %s", "as it starts" if ready.transfer else "untrained")


def score(trainer: Trainer, ready: Preparation) -> dict[str, float]:
    """Return the scores on the test split: those after the last epoch, or of a model that was chosen, read once."""
    known = trainer.history[-1]["test"] if trainer.history and ready.choice is None else None
    # Also for the predictions alone, where a training ends earlier than it was to when its last epoch was evaluated.
    if known is None or not trainer.outcomes:
        told: dict[str, Any] = {"show": trainer.show, "outcomes": trainer.outcomes, "group": trainer.group}
        scores = evaluate(ready.model, ready.test, ready.metrics, **told)
    return dict(scores if known is None else known)
