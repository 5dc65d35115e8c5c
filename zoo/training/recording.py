"""Recording: the folder of a run in the making, its record, its weights and its predictions."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from functools import partial
from math import inf, nan
from pathlib import Path
from typing import Any

from zoo.data.splits import count_samples
from zoo.errors import DivergedError, PrunedError, StorageError, ZooError, describe
from zoo.models.saving import save_proven
from zoo.models.weights import save_weights
from zoo.records.header import read_header
from zoo.records.history import Epoch
from zoo.records.history_file import HistoryFile
from zoo.records.metadata import read_metadata
from zoo.records.repeat import go_on
from zoo.records.result import RunResult
from zoo.records.run_folder import (
    FINISHED,
    HEARTBEAT,
    LAST_FILE,
    PREDICTIONS_FILE,
    PRUNED,
    RECORD_FILE,
    WEIGHTS_FILE,
)
from zoo.records.runs import RunRecord, create_run, save_record, touch_record
from zoo.training.confusion import score_classes
from zoo.training.description import describe_progress
from zoo.training.pauses import Pauses
from zoo.training.predictions import OutcomeCollector, OutcomeOrigin, Outcomes, save_outcomes
from zoo.training.rehearsal import Rehearsal, describe_weights, make_samples
from zoo.training.request import Request
from zoo.training.rescue import Rescued, check_space, find_home, save_somewhere
from zoo.training.setup import Preparation
from zoo.training.signals import defer_signals
from zoo.training.trainer import Trainer
from zoo.training.trend import find_trend, is_comparable, measure_noise
from zoo.training.verdict import find_verdict

log = logging.getLogger("zoo")

MAX_LISTED = 1000
"""Classes whose confusion matrix is in the record of a run: of more it would be many megabytes of text, and the file of
the predictions says the same."""
RECORD_BYTES = 64 * 1024
"""What a record takes beside its confusion matrix and a history of some hundred epochs."""


class Recording:
    """Keeps what comes of a run: `folder` is its own, `record` what its `run.json` says, `weights` where they are."""

    def __init__(self, request: Request, ready: Preparation, rehearsal: Rehearsal, record: RunRecord) -> None:
        self.request, self.plan, self.ready = request, request.plan, ready
        self.rehearsal, self.record = rehearsal, record
        self.folder, self.home = request.places.runs_dir, find_home()
        self.weights: Path | None = None
        self.table = HistoryFile()
        self.tried, self.written, self.done = False, -inf, threading.Event()
        self.pauses: Pauses | None = None

    def open(self, folder: Path | None = None) -> None:
        """Make the folder and write the first record; raise StorageError, and leave nothing, when there is no room.

        With `folder` the run goes on in that one.
        """
        classes = len(self.ready.splits.class_names)
        listed = 4 * classes**2 if classes <= MAX_LISTED else 0
        check_space(self.folder, self.rehearsal.size + self.rehearsal.predictions + listed + RECORD_BYTES)
        with defer_signals():
            self.folder = folder or create_run(
                self.folder, self.plan.model.name, self.plan.dataset.name, self.request.name
            )
            try:
                self.write()
            except StorageError:
                if folder is None:
                    with suppress(OSError):
                        self.folder.rmdir()
                raise
            threading.Thread(target=_beat, args=(self.folder, self.done), daemon=True).start()

    def note(self, **parts: Any) -> None:
        """Change parts of the record; the file follows with the next `write`."""
        self.record = replace(self.record, **parts)

    def write(self, **parts: Any) -> None:
        """Change parts of the record and write it; raise StorageError, and leave the one before, when that fails."""
        record = replace(self.record, **parts)
        save_record(self.folder, record)
        self.record, self.written = record, time.monotonic()

    def follow(self, trainer: Trainer, *then: Callable[[Epoch], None] | None) -> Callable[[Epoch], None]:
        """Return what to do after each epoch: add a row to the table of the history, and write the record where it was
        last written a minute ago or earlier; `then` is called with the epoch.
        """

        def follow(epoch: Epoch) -> None:
            with defer_signals():
                self.table.write(self.folder, trainer.history)
            if time.monotonic() - self.written > HEARTBEAT:
                with defer_signals():
                    self.write_anyhow(history=list(trainer.history), **describe_progress(trainer))
            for call in filter(None, then):
                call(epoch)

        return follow

    @contextmanager
    def keeping(self, trainer: Trainer) -> Iterator[None]:
        """Keep what is finished when the body fails or is stopped; the error says what that is and goes on."""
        try:
            yield
        except BaseException as error:
            if self.written > -inf:
                # A process that is being stopped needs no second signal.
                with defer_signals(again=not isinstance(error, KeyboardInterrupt)):
                    tell(error, self.keep(trainer, error))
            raise
        finally:
            self.done.set()

    def keep(self, trainer: Trainer, error: BaseException) -> str:
        """Save the weights of the last finished epoch, unless that was done, and record how the run ended.

        Return where both are, in words.
        """
        finished, problem = len(trainer.history), ""
        self.note(history=list(trainer.history))
        self.note(**describe_progress(trainer))
        self.table.write(self.folder, trainer.history)
        if self.record.status != FINISHED:
            named = {KeyboardInterrupt: "interrupted", DivergedError: "diverged", PrunedError: PRUNED}
            status = next((name for kind, name in named.items() if isinstance(error, kind)), "failed")
            self.note(status=status, error=describe(error))
        if not self.tried:
            try:
                if trainer.restore():
                    self.save_weights()
            except Exception as problem_of_saving:  # noqa: BLE001 whatever it is, the error that came first is told
                problem = f": {problem_of_saving}" if self.weights is None else ""
        told = f"{finished} of {trainer.config.epochs} epochs are "
        place = self.write_anyhow()
        told += f"recorded in {place}; " if place else f"done, {self.folder / RECORD_FILE} cannot be written; "
        going_on = self._describe_checkpoint()
        if self.weights is None:
            return f"{told}no weights were saved{problem}{going_on}"
        kept = trainer.choice.epoch if trainer.choice is not None else finished
        epoch = f" of epoch {kept}" if kept else ""
        return f"{told}weights{epoch}: {self.weights}{going_on}"

    def _describe_checkpoint(self) -> str:
        """Return how a run goes on that has a checkpoint, in words."""
        if self.pauses is None or self.pauses.newest is None or self.record.status == FINISHED:
            return ""
        return f". It goes on from step {self.pauses.newest:,} with: {self.go_on()}"

    def go_on(self) -> str:
        """Return the command that goes on with the run, with what it was told and its record does not say."""
        return go_on(self.folder, self.record, self.request.places.own_data_dir, self.plan.logger_params)

    def write_anyhow(self, **parts: Any) -> Path | None:
        """Write the record into the run's folder or else beside the weights; return where, None for nowhere."""
        self.note(**parts)
        places = [self.folder, *([self.weights.parent] if self.weights else [])]
        for folder in dict.fromkeys(places):
            try:
                save_record(folder, self.record)
            except StorageError as problem:
                log.warning("%s", problem)
            else:
                self.written = time.monotonic()
                return folder
        return None

    def save(self, outcomes: OutcomeCollector) -> None:
        """Write the weights, the predictions and the record.

        Raises:
            StorageError: something cannot be written; `weights` is where the weights are.
        """
        with defer_signals():
            self.save_weights()
            if self.request.tested:
                self.note(**self.save_predictions(outcomes))
            self.write(status=FINISHED)

    def save_weights(self) -> None:
        """Write the weights of the model as it is now, with golden samples where it can be proved.

        Raises:
            StorageError: they are elsewhere, or nowhere; `weights` is where they are.
        """
        with defer_signals():
            self.tried = True
            try:
                epoch = self.record.best.get("epoch", len(self.record.history))
                self.weights = save_somewhere(self.folder, self.home, partial(self._write_weights, epoch=epoch))
            except Rescued as error:
                self.weights = error.path
                raise

    def save_last(self) -> None:
        """Write the weights of the last epoch beside those of the best, which are to follow; raise StorageError."""
        with defer_signals():
            self._write_weights(self.folder / LAST_FILE, epoch=len(self.record.history))

    def _write_weights(self, path: Path, *, epoch: int) -> None:
        entry, model, record = self.plan.model, self.ready.model, self.record
        if (first := self.plan.config.unfreeze_at) is not None and epoch >= first:
            record = replace(record, frozen=())  # these weights were all trained, and a next training trains them all
        golden, problem = None, ""
        if self.rehearsal.provable:
            try:
                golden, problem = make_samples(self.ready, self.rehearsal.facts)
            except (MemoryError, RuntimeError) as error:
                problem = describe(error)
        metadata = describe_weights(path, record, self.ready, self.rehearsal.facts, golden)
        if golden is not None:
            try:
                save_proven(path, model, entry, metadata)
                return
            except StorageError:
                raise
            except ZooError as error:
                problem = error.why
        save_weights(path, model, replace(metadata, golden=None))
        if problem:
            log.warning("model %s: %s. Its weights are saved without golden samples", entry.name, problem)

    def save_predictions(self, outcomes: OutcomeCollector) -> Mapping[str, Any]:
        """Write the predictions on the test split; return what the record says of them; raise StorageError."""
        names, record, weights = self.ready.splits.class_names, self.record, self.folder / WEIGHTS_FILE
        origin = OutcomeOrigin(
            model=str(record.model),
            dataset=record.dataset.name if record.dataset else "",
            split="test",
            digest=record.dataset.digest if record.dataset else None,
            weights=read_metadata(weights, read_header(weights).metadata).digests["tensors"],
        )
        collected = outcomes.collect(names, origin)
        save_outcomes(self.folder / PREDICTIONS_FILE, collected, fix="")
        return self.describe_predictions(collected)

    def describe_predictions(self, collected: Outcomes) -> Mapping[str, Any]:
        """Return what the record says of the predictions on the test split."""
        names, record = collected.class_names, self.record
        trained = bool(record.history) or record.init is not None
        verdict = find_verdict(collected, record.metrics.get("loss") or nan) if trained else ()
        told = {"verdict": verdict, "trend": self.find_trend(collected)}
        if len(names) > MAX_LISTED:
            return told
        scores = [asdict(score) for score in score_classes(collected.matrix, collected.class_names)]
        return {**told, "confusion": collected.matrix.tolist(), "per_class": scores}

    def find_trend(self, collected: Outcomes) -> tuple[str, ...]:
        """Return where the training was going, as its history and the scatter of the losses tell."""
        splits = self.ready.splits
        watched = splits.test if splits.validation is None else splits.validation
        noise = measure_noise(collected, count_samples(watched))
        return find_trend(self.record.history, noise, comparable=is_comparable(self.plan.config)) if noise else ()

    def result(self) -> RunResult:
        """Return what the run gave."""
        known = vars(self.record)
        told: dict[str, Any] = {part.name: known[part.name] for part in fields(RunResult) if part.name in known}
        told |= {"run": self.folder, "weights": self.weights}
        return RunResult(**{**told, "dataset": self.plan.dataset.name, "dataset_params": self.plan.dataset_params})


def tell(error: BaseException, what: str) -> None:
    """Let an error say something more: one of zoo's in its own line, any other in a note."""
    if isinstance(error, ZooError):
        error.fix = " ".join(filter(None, [error.fix and f"{error.fix.rstrip('.')}.", f"{what[:1].upper()}{what[1:]}"]))
    else:
        error.add_note(what)


def _beat(folder: Path, done: threading.Event) -> None:
    """Touch the record of a run until it is done, so that a reader elsewhere knows that it goes on."""
    while not done.wait(HEARTBEAT):
        touch_record(folder)
