"""TensorBoard: the scalars of each epoch, the settings and the final scores, in an event file of the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError
from zoo_plugins.loggers.values import list_scalars, list_settings

if TYPE_CHECKING:
    from zoo import Epoch, RunState

try:
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams
except ModuleNotFoundError as error:
    if error.name != "tensorboard":
        raise
    fix = "pip install 'zoo-torch[tensorboard]'"
    raise UsageError("logger 'tensorboard' needs tensorboard", "it is not installed", fix) from None


class TensorBoard:
    """Writes an event file into the folder of a run: `tensorboard --logdir runs` shows all of them.

    Tags are `train/loss`, `test/loss`, `test/accuracy` and so on, by epoch; `final/accuracy` is a score on the test
    split at the end. The settings are its hparams.
    """

    def __init__(self, *, run_dir: Path) -> None:
        self.writer = SummaryWriter(str(run_dir))
        self.settings: Mapping[str, Any] = {}

    def run_started(self, run: RunState) -> None:
        """Keep the settings for the end, when their scores are known."""
        self.settings = list_settings(run)

    def epoch_finished(self, epoch: Epoch) -> None:
        """Write the scalars, so that a TensorBoard that watches shows them now."""
        for name, value in list_scalars(epoch).items():
            self.writer.add_scalar(name, value, epoch["epoch"])
        self.writer.flush()

    def run_finished(self, run: RunState) -> None:
        """Write settings, final scores and how the run ended, and close the file."""
        final = {f"final/{name}": value for name, value in run.record.metrics.items() if value is not None}
        for name, value in final.items():
            self.writer.add_scalar(name, value, len(run.record.history))
        # SummaryWriter.add_hparams would put them into a folder of their own, as if they were another run.
        plain = {key: value if isinstance(value, int | float) else str(value) for key, value in self.settings.items()}
        for summary in hparams(plain, final):
            self.writer.file_writer.add_summary(summary)
        self.writer.add_text("status", ": ".join(filter(None, [run.record.status, run.record.error])))
        self.writer.close()
