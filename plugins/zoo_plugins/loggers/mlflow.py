"""MLflow: a run of a tracking store, which is a file among the runs unless another place is given."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock

from zoo.errors import UsageError
from zoo_plugins.loggers.values import list_scalars, list_settings

if TYPE_CHECKING:
    from zoo import Epoch, RunState

# MLflow reports its use to its makers unless it is told not to before it is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
try:
    import alembic  # noqa: F401  MLflow's file store needs both, and its small package brings neither
    import mlflow
    import sqlalchemy  # noqa: F401
    from mlflow.entities import Metric, Param, RunTag
except ModuleNotFoundError as error:
    if error.name not in ("mlflow", "sqlalchemy", "alembic"):
        raise
    fix = "pip install 'zoo-torch[mlflow]'"
    raise UsageError("logger 'mlflow' needs mlflow", f"{error.name} is not installed", fix) from None

STATUS = {"finished": "FINISHED", "interrupted": "KILLED"}
"""What MLflow calls the ends of a run; all others are `FAILED`."""
LONGEST = 6000
"""Characters of a param that MLflow takes."""


class MLflow:
    """Tells MLflow of a run: its settings as params, the scores of each epoch as metrics, and how it ended.

    Without a `tracking_uri` the store is the file `.mlflow/store.db` in the folder of the runs, made where it is
    missing, and nothing is sent anywhere: `mlflow ui --backend-store-uri sqlite:///runs/.mlflow/store.db` shows it.
    Metrics are `train/loss`, `test/accuracy` and so on, by epoch; `final/accuracy` is a score on the test split at the
    end.
    """

    def __init__(self, *, run_dir: Path, tracking_uri: str = "", experiment: str = "zoo") -> None:
        folder = run_dir.resolve().parent / ".mlflow"  # hidden, so that `zoo compare runs/*` finds only runs
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # of a new store it names each table
        logging.getLogger("alembic").setLevel(logging.WARNING)
        if tracking_uri:
            self.client = mlflow.MlflowClient(tracking_uri=tracking_uri)
            place = self._find_experiment(experiment, None)
        else:
            folder.mkdir(exist_ok=True)
            with FileLock(folder / "lock"):  # two runs that begin together would both make the tables
                self.client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{(folder / 'store.db').as_posix()}")
                place = self._find_experiment(experiment, (folder / "artifacts").as_uri())
        self.run_id = self.client.create_run(place, run_name=run_dir.name).info.run_id

    def _find_experiment(self, name: str, artifacts: str | None) -> str:
        known = self.client.get_experiment_by_name(name)
        return str(known.experiment_id if known else self.client.create_experiment(name, artifacts))

    def run_started(self, run: RunState) -> None:
        """Log the settings as params."""
        params = [Param(name, str(value)[:LONGEST]) for name, value in list_settings(run).items()]
        tags = [RunTag("zoo.run", str(run.folder))]
        self.client.log_batch(self.run_id, params=params, tags=tags)

    def epoch_finished(self, epoch: Epoch) -> None:
        """Log the scores of an epoch, at its number."""
        self._log(list_scalars(epoch), epoch["epoch"])

    def run_finished(self, run: RunState) -> None:
        """Log the final scores, and how the run ended."""
        scores = {f"final/{name}": value for name, value in run.record.metrics.items() if value is not None}
        self._log(scores, len(run.record.history))
        if run.record.error:
            self.client.set_tag(self.run_id, "zoo.error", run.record.error)
        self.client.set_terminated(self.run_id, STATUS.get(str(run.record.status), "FAILED"))

    def _log(self, scores: dict[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        self.client.log_batch(self.run_id, metrics=[Metric(name, value, now, step) for name, value in scores.items()])
