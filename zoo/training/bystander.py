"""Bystander: the recording of a rank that is not the first, which writes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from zoo.records.history import Epoch
from zoo.records.run_folder import FINISHED, WEIGHTS_FILE
from zoo.records.runs import RunRecord
from zoo.training.group import LostError
from zoo.training.pauses import Pauses
from zoo.training.predictions import OutcomeCollector, OutcomeOrigin
from zoo.training.recording import Recording, tell
from zoo.training.rehearsal import Rehearsal
from zoo.training.request import Request
from zoo.training.setup import Preparation
from zoo.training.trainer import Trainer


class Bystander(Recording):
    """Knows of a run what its first rank writes: the result is the same for all."""

    def __init__(self, request: Request, ready: Preparation, record: RunRecord) -> None:
        self.request, self.plan, self.ready, self.record = request, request.plan, ready, record
        self.folder = request.places.runs_dir
        self.weights: Path | None = None
        self.pauses: Pauses | None = None

    def open(self, folder: Path | None = None) -> None:
        """Leave it to the first rank to make the folder."""

    def follow(self, trainer: Trainer, *then: Callable[[Epoch], None] | None) -> Callable[[Epoch], None]:
        """Return what to do after each epoch: to call `then`."""

        def follow(epoch: Epoch) -> None:
            for call in filter(None, then):
                call(epoch)

        return follow

    @contextmanager
    def keeping(self, trainer: Trainer) -> Iterator[None]:
        """Leave it to the first rank to keep what is finished; it may be the one that was killed."""
        try:
            yield
        except LostError as error:
            if self.pauses is not None:
                tell(error, self.pauses.describe_newest())
            raise

    def save_weights(self) -> None:
        """Know where the weights are."""
        self.weights = self.folder / WEIGHTS_FILE

    def save_last(self) -> None:
        """Leave the weights of the last epoch to the first rank."""

    def save(self, outcomes: OutcomeCollector) -> None:
        """Know where the weights are, and what is said of the predictions, if there are any."""
        self.save_weights()
        if self.request.tested:
            origin = OutcomeOrigin(model=self.plan.model.name, dataset=self.plan.dataset.name, split="test")
            self.note(**self.describe_predictions(outcomes.collect(self.ready.splits.class_names, origin)))
        self.note(status=FINISHED)


def make_recording(request: Request, ready: Preparation, rehearsal: Rehearsal | None, record: RunRecord) -> Recording:
    """Return the recording of a run; without a rehearsal that of a rank which is not the first."""
    if rehearsal is None:
        return Bystander(request, ready, record)
    return Recording(request, ready, rehearsal, record)
