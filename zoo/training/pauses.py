"""Pauses: what happens between two steps of a training: a checkpoint that is due, a signal, the end of the time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import ZooError, describe
from zoo.records.history import Epoch
from zoo.training.checkpoint import Checkpoint, list_checkpoints, save_checkpoint
from zoo.training.interval import Pace
from zoo.training.signals import TimeIsUp, note_stops, on_request
from zoo.training.state import pack, read_state
from zoo.training.trainer import Trainer

if TYPE_CHECKING:
    from zoo.training.begun import Begun
    from zoo.training.recording import Recording

log = logging.getLogger("zoo")

USUAL = 60.0
"""Seconds between checkpoints where nothing is asked for, at least."""
SHARE = 100
"""Then also at least so many times the seconds that the last one took: it costs a run a hundredth at most."""


class Pauses:
    """Called after each step: it saves a checkpoint where one is due, and ends the training where that is asked for.

    The state is copied while the training waits, or before its next update, and written by a thread while it goes on. A
    checkpoint that falls due while another is written comes after it: the training waits for that only where steps or
    epochs were asked for.
    """

    def __init__(self, trainer: Trainer, recording: Recording, pace: Pace) -> None:
        self.trainer, self.recording, self.every = trainer, recording, pace.every
        recording.pauses = self
        self.started, self.earlier = time.monotonic(), 0.0
        self.leads = trainer.group is None or trainer.group.ranks.is_first
        """Whether this process looks at the clock, and writes; others do what all agree on."""
        self.end = self.started + pace.limit.count if pace.limit and self.leads else inf
        self.newest: int | None = None
        """The step of the newest checkpoint that is on the disk, None for none."""
        self.stopping: int | None = None
        self.obeying = False
        self.saved, self.asked, self.began = 0, False, 0.0
        self.state: dict[str, Any] | None = None
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing: Future[Path] | None = None
        every = pace.every
        self.wait = (
            inf if not self.leads else USUAL if every is None else every.count if every.unit == "seconds" else inf
        )
        self.due = self.started + self.wait

    def go_on(self, begun: Begun) -> None:
        """Count what the run had done and taken before it was resumed; a new run has no checkpoint yet."""
        self.earlier = begun.checkpoint.seconds
        if begun.folder is not None:
            self.saved = self.newest = begun.checkpoint.step

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Let signals be noted while the body runs, so that they end it between two steps."""
        self.trainer.after = self.look
        try:
            with note_stops(self._note, lambda: self.obeying, self.describe_newest), on_request(self._request):
                yield
                self.finish()
        finally:
            self.trainer.after = None
            self.settle()
            self.pool.shutdown()

    def look(self) -> None:
        """Do what is due."""
        now, group = time.monotonic(), self.trainer.group
        stops, is_late, saves = self.stopping is not None, now >= self.end, self.asked or now >= self.due
        if group is not None:
            saves = saves and not self.is_writing
            stops, is_late, saves = group.agree([stops, is_late, saves], act=self.trainer.is_between_steps)
        if not (stops or is_late or saves or self._counts()) or not self.trainer.is_between_steps:
            return
        if stops or is_late:
            self.stop(KeyboardInterrupt() if stops else TimeIsUp("the run has had its time"))
        self.save()

    def finish_epoch(self, epoch: Epoch) -> None:
        """Save a checkpoint where one is due after so many epochs."""
        every = self.every
        if every is not None and every.unit == "epochs" and epoch["epoch"] % every.count == 0:
            self.save()

    def save(self, *, wait: bool = False) -> None:
        """Begin to write a checkpoint; with `wait`, return when it is written. One that fails is warned of."""
        timed = self.every is None or self.every.unit == "seconds"
        if timed and not wait and self.is_writing and self.trainer.group is None:
            return  # it is still due
        self.settle()
        self.asked, self.began, self.saved = False, time.monotonic(), self.count_steps()
        checkpoint = self.make(later=not wait and self.trainer.group is None)
        if not self.leads:
            return
        step = self.trainer.step
        self.writing = self.pool.submit(self._write, checkpoint, None if step is None else step.copying)
        self.due = self.began + self.wait
        if wait:
            self.settle()
        else:
            self.writing.add_done_callback(lambda _: self._space(time.monotonic() - self.began))

    def make(self, *, later: bool = False) -> Checkpoint:
        """Return the training as it is now, in the memory of the checkpoint before; see `read_state` for `later`."""
        self.state = read_state(self.trainer, self.state, self.pool if later else None)
        if self.trainer.group is not None:
            self.state["others"] = self.trainer.group.collect(pack(self.state["generators"]))[1:]
        return Checkpoint(
            step=self.count_steps(),
            state=self.state,
            record=replace(self.recording.record, history=(), metrics={}, validation={}, best={}),
            course_style=self.recording.plan.course_style,
            seconds=self.seconds,
        )

    @property
    def is_writing(self) -> bool:
        """Whether a checkpoint is being written."""
        return self.writing is not None and not self.writing.done()

    @property
    def seconds(self) -> float:
        """How long the run has taken, before it was resumed too."""
        return self.earlier + time.monotonic() - self.started

    def count_steps(self) -> int:
        """Return how many batches the model has been trained on."""
        return len(self.trainer.history) * self.trainer.batches + self.trainer.losses.batches

    def settle(self) -> None:
        """Wait for the checkpoint that is being written; warn where it could not be."""
        writing, self.writing = self.writing, None
        if writing is None:
            return
        try:
            writing.result()
            self.newest = self.saved
        except (ZooError, OSError, MemoryError) as error:
            log.warning("no checkpoint at step %d: %s", self.saved, describe(error))

    def stop(self, error: BaseException) -> None:
        """Save a checkpoint and raise the error; a signal that came is sent again when nobody notes it any more."""
        self.obeying = True
        self.save(wait=True)
        raise error

    def finish(self) -> None:
        """Save the end of a training that has checkpoints, so that it can go on for further epochs."""
        group = self.trainer.group
        wanted = self.every is not None or self.newest is not None or self.writing is not None
        if wanted if group is None else group.collect(wanted)[0]:
            self.save(wait=True)

    def _write(self, checkpoint: Checkpoint, copying: Future[None] | None) -> Path:
        if copying is not None:
            copying.result()
        return save_checkpoint(self.recording.folder, checkpoint)

    def _counts(self) -> bool:
        every = self.every
        if every is None or every.unit != "steps":
            return False
        step = self.count_steps()
        return step != self.saved and step % every.count == 0

    def _note(self, number: int) -> None:
        self.stopping = number

    def describe_newest(self) -> str:
        """Return how a run goes on whose process ends at once, in the middle of a checkpoint perhaps."""
        recording = self.recording
        if not list_checkpoints(recording.folder):
            return "There is no checkpoint to go on from"
        return f"The newest checkpoint is whole: {recording.go_on()}"

    def _request(self) -> None:
        self.asked = True

    def _space(self, took: float) -> None:
        """Let the next checkpoint wait until this one is a hundredth of the run, where nothing else is asked for."""
        if self.every is None:
            self.wait = max(USUAL, SHARE * took)
            self.due = max(self.due, self.began + self.wait)
