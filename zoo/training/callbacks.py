"""Callbacks: objects that are told what happens in a run. What one raises costs a line of text, never a training."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from zoo.errors import SettingError, describe, quote
from zoo.records.history import Epoch
from zoo.records.runs import RunRecord
from zoo.registry.factories import LOGGER_METHODS, build_logger, refuse_params
from zoo.registry.global_state import guard_state, keep_generators
from zoo.training.plan import Plan
from zoo.training.recording import Recording

log = logging.getLogger("zoo")


@dataclass(frozen=True, kw_only=True)
class RunState:
    """A run as it starts, or as it has ended.

    Fields:
        folder: Its folder.
        record: What its `run.json` says: `status`, `model`, `params`, `train_config`, `metrics`, `history`, `error` ...
        weights: The file of its weights; None where there is none, as at the start.
    """

    folder: Path
    record: RunRecord
    weights: Path | None = None


class Callback(Protocol):
    """What is told of a run: derive from it and write the methods that you need, or write an object with any of them.

    A callback watches: what it is given is a copy, the state of the random generators stays as it was, and an error
    that it raises is reported in one line while the training goes on. Ctrl-C in a callback stops the run as elsewhere.
    """

    def run_started(self, run: RunState) -> None:
        """Hear of a run whose folder is there, before its first step; its status is `running`."""

    def epoch_finished(self, epoch: Epoch) -> None:
        """Hear of an epoch: its number from 1 on, the scores of each split, and seconds."""

    def run_finished(self, run: RunState) -> None:
        """Hear of a run that has ended, also by an error or Ctrl-C: `finished`, `diverged`, `interrupted`, `failed`."""


@dataclass
class Heard:
    """A callback of a run, and what messages call it; `told` are the errors and changes that were reported already."""

    name: str
    callback: object
    told: set[str] = field(default_factory=set)

    def call(self, method: str, argument: Any) -> None:
        """Call a method that the callback may have; report what it raises, once for each method."""
        who = f"{self.name}, {method}"
        try:
            with keep_generators(), guard_state(self.name, f"in {method}", self.told):
                function = getattr(self.callback, method, None)
                if function is not None:
                    function(deepcopy(argument))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 whatever it is, even SystemExit, it is no error of the training
            if who not in self.told:
                log.warning("%s failed, and the run goes on without it: %s", who, describe(error))
            self.told.add(who)


class Callbacks:
    """The callbacks of one run: those of the caller, and the loggers that it asked for."""

    def __init__(self, given: Sequence[object] = ()) -> None:
        self.heard = [Heard(f"callback {type(callback).__name__}", callback) for callback in given]
        self.started = False

    def start(self, plan: Plan, recording: Recording) -> None:
        """Build the loggers, whose folder is there now, and tell all that the run starts.

        Raises:
            UsageError, PluginError: a logger refuses its params or cannot be built.
        """
        for name, entry in plan.loggers.items():
            with refuse_params(bool(plan.logger_params[name])), keep_generators():
                logger = build_logger(entry, run_dir=recording.folder, params=plan.logger_params[name])
            of = "" if entry.is_first_party else f" of plugin {quote(entry.plugin.label)}"
            self.heard.append(Heard(f"logger {quote(entry.name)}{of}", logger))
        self.started = True
        self._tell("run_started", recording)

    def finish_epoch(self, epoch: Epoch) -> None:
        """Tell all of an epoch."""
        for heard in self.heard:
            heard.call("epoch_finished", epoch)

    @contextmanager
    def hearing(self, recording: Recording) -> Iterator[None]:
        """Tell all that the run has ended when the body has, however that was, if they know that it started."""
        try:
            yield
        finally:
            if self.started:
                self._tell("run_finished", recording)

    def _tell(self, method: str, recording: Recording) -> None:
        if self.heard:
            state = RunState(folder=recording.folder, record=recording.record, weights=recording.weights)
            for heard in self.heard:
                heard.call(method, state)


def check_callbacks(callbacks: Sequence[object]) -> None:
    """Refuse what is no callback; raise SettingError."""
    for callback in callbacks:
        if isinstance(callback, type):
            raise SettingError("callbacks", "expected objects, not classes", callback, f"Give {callback.__name__}()")
        if not any(callable(getattr(callback, method, None)) for method in LOGGER_METHODS):
            raise SettingError("callbacks", f"expected objects with any of {', '.join(LOGGER_METHODS)}", callback)
