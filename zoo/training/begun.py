"""Begun: a training that has a checkpoint, what must be as it was for it to go on, and what it asks for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from zoo.data.workers import count_cores
from zoo.errors import DataError, PluginError, SettingError, UsageError, quote, show
from zoo.models.provider import advise_plugin
from zoo.records.plain import to_json_data
from zoo.records.runs import RunRecord
from zoo.registry.entries import Registry
from zoo.registry.settings import complete
from zoo.training.checkpoint import Checkpoint
from zoo.training.plan import Wanted
from zoo.training.trainer import Trainer

log = logging.getLogger("zoo")

FORK = "Start a new run from its state with fork=True"
ELSEWHERE = {"device", "threads", "workers", "processes", "capture", "compile"}
"""Settings of the place where a training is, not of what it does."""
GROWS = ("constant", "step", "exponential", "plateau")
"""Schedules in which no rate depends on the number of the epochs."""


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A training that was begun: its checkpoint, and the folder of its run; None for a new run from its state."""

    checkpoint: Checkpoint
    folder: Path | None
    origin: Path

    def check(self, record: RunRecord) -> RunRecord:
        """Compare what is about to be trained with what was begun; return the record that the run goes on with.

        Another environment is warned of.

        Raises:
            DataError: the data set has changed.
            UsageError: something else has: names it.
        """
        began = self.checkpoint.record
        if self.folder is not None:
            _refuse_changes(began, record)
        told = [f"{name} {was} -> {now}" for name, was, now in list_surroundings(began, record) if was != now]
        if told:
            log.warning("resumed elsewhere (%s): the results will differ in the last bits", ", ".join(told))
        at = datetime.now().astimezone().isoformat(timespec="milliseconds")
        entry = {"step": self.checkpoint.step, "at": at, "changed": told}
        if self.folder is None:
            return replace(record, recipe=began.recipe, resumed=({**entry, "of": str(self.origin.absolute())},))
        now = {name: record.train_config[name] for name in ("epochs", "processes")}
        config = {**began.train_config, **now}  # as it was asked for
        record = replace(record, train_config=config, recipe=began.recipe, started=began.started)
        return replace(record, resumed=(*began.resumed, entry))

    def load(self, trainer: Trainer) -> None:
        """Let a trainer become what the training was; raise UsageError where the model or the optimizer has changed.

        A new run may have other settings: it goes on with those.
        """
        was = complete(self.checkpoint.record.train_config)
        now = to_json_data(asdict(trainer.config))
        changed = {name for name, value in now.items() if to_json_data(was.get(name)) != value} - ELSEWHERE
        if "optimizer" in changed:
            what = (
                f"the state of step {self.checkpoint.step} is of optimizer {was['optimizer']}, not {now['optimizer']}"
            )
            raise UsageError(what, fix="Start from the weights alone: zoo.run(init=RUN)")
        try:
            trainer.load_state(self.checkpoint.state, refit=self.folder is None and bool(changed))
        except (RuntimeError, KeyError, ValueError) as error:
            what = f"the state of step {self.checkpoint.step} does not fit"
            raise UsageError(what, f"the model or its settings have changed: {error}") from error
        done, total = self.checkpoint.step, trainer.batches * trainer.config.epochs
        log.info("resumed at step %s of %s", f"{done:,}", f"{total:,}")


def want_again(
    checkpoint: Checkpoint,
    record: RunRecord,
    epochs: int | None = None,
    processes: int | None = None,
    *,
    fork: bool = False,
) -> Wanted:
    """Return what a run is asked for by its record, for more epochs and by other processes where that is said.

    `fork` asks for a new run.

    Raises:
        UsageError: the record does not say enough; the number of epochs is no greater or would change a rate.
    """
    wanted = ask_again(record, course_style=checkpoint.course_style)
    settings = {
        **wanted.settings,
        **find_threads(record),
        "epochs": wanted.settings["epochs"] if epochs is None else epochs,
    }
    settings["processes"] = processes
    _check_growth(checkpoint, settings["epochs"], fork=fork)
    return replace(wanted, settings=settings)


def check_plugins(record: RunRecord, registry: Registry) -> None:
    """Raise PluginError where a plugin that a run was made with is not here: says how it is given."""
    known = {plugin.name for plugin in registry.plugins}
    data, metrics = record.dataset, record.metric_plugins.items()
    used = [
        (f"model {quote(record.model or '')}", record.plugin),
        *([(f"dataset {quote(data.name)}", data.plugin)] if data else []),
        *((f"metric {quote(name)}", plugin) for name, plugin in metrics),
        ("loss", record.loss_plugin),
    ]
    for what, plugin in used:
        if plugin is not None and plugin.name and plugin.name not in known:
            advice = advise_plugin(plugin.name, plugin.source)
            raise PluginError(plugin.name, plugin.version, f"the run needs its {what}", "no such plugin here", advice)


def ask_again(record: RunRecord, *, course_style: bool) -> Wanted:
    """Return what a run was asked for, as its record says it; raise UsageError where that does not say enough."""
    if not record.model or not record.plugin or not record.dataset or not record.train_config:
        raise UsageError("it does not say what was trained")
    return Wanted(
        model=record.plugin.qualify(record.model),
        dataset=record.dataset.qualified_name,
        init=record.init.path if record.init else None,
        freeze=list(record.frozen) if record.init or record.frozen else None,
        metrics=list(record.metric_plugins),
        params=record.params,
        dataset_params=record.dataset.params,
        metric_params=record.metric_params,
        settings={name: value for name, value in complete(record.train_config).items() if value is not None},
        course_style=course_style,
    )


def find_threads(record: RunRecord) -> dict[str, int]:
    """Return the setting for the CPU threads that a run had, none where it does not say, or fewer cores are here."""
    had = record.threads or 0
    return {"threads": had} if 0 < had <= count_cores() else {}


def _check_growth(checkpoint: Checkpoint, epochs: int, *, fork: bool) -> None:
    settings, state = checkpoint.record.train_config, checkpoint.state
    done, begun = len(state["history"]), state["losses"] is not None
    schedule, planned = settings.get("schedule", "constant"), settings.get("epochs", 0)
    if epochs < done + begun:
        what = f"the {done} that are done{' and the one that was begun' * begun}"
        raise SettingError("epochs", f"must be at least {what}", epochs)
    if epochs != planned and schedule not in GROWS and not fork:
        why = f"the rates of a {schedule} schedule belong to {planned} epochs"
        raise UsageError(f"the run cannot go on for {epochs} epochs", why, FORK)


def refuse_edits(began: RunRecord, now: RunRecord) -> None:
    """Raise UsageError where what the record of a run asks for was changed by hand since the run began."""
    for name in ("model", "params", "train_config", "metric_params", "frozen", "seed"):
        was, found = (to_json_data(getattr(record, name)) for record in (began, now))
        if isinstance(was, dict) and isinstance(found, dict):
            changed = [key for key in {**was, **found} if was.get(key) != found.get(key)]
            changed = [key for key in changed if key not in ("epochs", "processes")]
            for key in changed:
                raise UsageError(f"{key} differs ({show(was.get(key))} -> {show(found.get(key))})", fix=FORK)
        elif was != found:
            raise UsageError(f"{name} differs ({show(was)} -> {show(found)})", fix=FORK)


def _refuse_changes(began: RunRecord, record: RunRecord) -> None:
    old, new = began.dataset, record.dataset
    if old and new and (old.digest != new.digest or old.samples != new.samples):
        what = f"dataset {quote(new.name)} has changed since the run began"
        why = f"its digest was {_shorten(old.digest)}, and is {_shorten(new.digest)}"
        raise DataError(what, why if old.digest != new.digest else f"samples {old.samples} -> {new.samples}", FORK)
    for what, was, now in list_parts(began, record):
        if was != now:
            raise UsageError(f"{what} differs ({was} -> {now})", fix=FORK)


def list_parts(began: RunRecord, record: RunRecord) -> Iterator[tuple[str, Any, Any]]:
    """Yield what must be as it was: a name, what it was and what it is."""
    plugins = [("model", began.plugin, record.plugin), ("loss", began.loss_plugin, record.loss_plugin)]
    if began.dataset and record.dataset:
        plugins.append(("dataset", began.dataset.plugin, record.dataset.plugin))
    plugins += [(name, began.metric_plugins.get(name), plugin) for name, plugin in record.metric_plugins.items()]
    for what, was, now in plugins:
        yield f"the version of the plugin of {what}", was and was.version, now and now.version
    yield "the number of parameters", began.parameters, record.parameters
    yield "the number of steps in an epoch", began.steps, record.steps
    yield (
        "the digest of the weights that it started from",
        began.init and began.init.digest,
        (record.init and record.init.digest),
    )


def list_surroundings(began: RunRecord, record: RunRecord) -> Iterator[tuple[str, Any, Any]]:
    """Yield what results depend on in the last bits: a name, what it was and what it is."""
    for name in ("torch", "python", "zoo"):
        yield name, began.versions.get(name), record.versions.get(name)
    for name in ("threads", "device", "device_name"):
        yield name.replace("_", " "), getattr(began, name), getattr(record, name)
    yield "processes", count_processes(began), count_processes(record)


def count_processes(record: RunRecord) -> int:
    """Return how many processes trained a run together."""
    return record.train_config.get("processes") or 1


def _shorten(digest: str | None) -> str:
    return "not known" if digest is None else digest[:12]
