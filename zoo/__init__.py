"""zoo: any registered model, data set and metric, one command, plain PyTorch.

Names are imported when first used, so that `import zoo` alone costs nothing and imports no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from zoo.adaptation import Adaptation as Adaptation
    from zoo.adaptation import adapt as adapt
    from zoo.certificates import Certificate as Certificate
    from zoo.checks.combination import Diagnosis as Diagnosis
    from zoo.checks.combination import check as check
    from zoo.checks.isolation import certify as certify
    from zoo.config import TrainConfig as TrainConfig
    from zoo.data import DataSplits as DataSplits
    from zoo.decorators import dataset as dataset
    from zoo.decorators import metric as metric
    from zoo.decorators import model as model
    from zoo.errors import AmbiguousNameError as AmbiguousNameError
    from zoo.errors import DataError as DataError
    from zoo.errors import DeviceError as DeviceError
    from zoo.errors import DivergedError as DivergedError
    from zoo.errors import DownloadError as DownloadError
    from zoo.errors import IncompatibleError as IncompatibleError
    from zoo.errors import ManifestError as ManifestError
    from zoo.errors import OutOfMemoryError as OutOfMemoryError
    from zoo.errors import PluginError as PluginError
    from zoo.errors import SettingError as SettingError
    from zoo.errors import StorageError as StorageError
    from zoo.errors import UnknownNameError as UnknownNameError
    from zoo.errors import UsageError as UsageError
    from zoo.errors import WeightsError as WeightsError
    from zoo.errors import WorkerError as WorkerError
    from zoo.errors import ZooError as ZooError
    from zoo.evaluation import Evaluation as Evaluation
    from zoo.evaluation import evaluate as evaluate
    from zoo.findings import Finding as Finding
    from zoo.hookspecs import hookimpl as hookimpl
    from zoo.pipeline import fetch as fetch
    from zoo.pipeline import run as run
    from zoo.predictor import Prediction as Prediction
    from zoo.predictor import Predictions as Predictions
    from zoo.predictor import Predictor as Predictor
    from zoo.predictor import load as load
    from zoo.predictor import load_model as load_model
    from zoo.predictor import verify as verify
    from zoo.preprocess import Preprocess as Preprocess
    from zoo.registry import Registry as Registry
    from zoo.registry import list_datasets as list_datasets
    from zoo.registry import list_metrics as list_metrics
    from zoo.registry import list_models as list_models
    from zoo.registry import list_weights as list_weights
    from zoo.runs import RunResult as RunResult
    from zoo.saving import save as save
    from zoo.specs import DatasetSpec as DatasetSpec
    from zoo.specs import FileSpec as FileSpec
    from zoo.specs import MetricSpec as MetricSpec
    from zoo.specs import ModelSpec as ModelSpec
    from zoo.specs import WeightsSpec as WeightsSpec

_NAMES = {
    "zoo.adaptation": ("Adaptation", "adapt"),
    "zoo.certificates": ("Certificate",),
    "zoo.checks.combination": ("Diagnosis", "check"),
    "zoo.checks.isolation": ("certify",),
    "zoo.config": ("TrainConfig",),
    "zoo.data": ("DataSplits",),
    "zoo.decorators": ("dataset", "metric", "model"),
    "zoo.errors": (
        "AmbiguousNameError",
        "DataError",
        "DeviceError",
        "DivergedError",
        "DownloadError",
        "IncompatibleError",
        "ManifestError",
        "OutOfMemoryError",
        "PluginError",
        "SettingError",
        "StorageError",
        "UnknownNameError",
        "UsageError",
        "WeightsError",
        "WorkerError",
        "ZooError",
    ),
    "zoo.evaluation": ("Evaluation", "evaluate"),
    "zoo.findings": ("Finding",),
    "zoo.hookspecs": ("hookimpl",),
    "zoo.pipeline": ("fetch", "run"),
    "zoo.preprocess": ("Preprocess",),
    "zoo.registry": ("Registry", "list_datasets", "list_metrics", "list_models", "list_weights"),
    "zoo.runs": ("RunResult",),
    "zoo.saving": ("save",),
    "zoo.specs": ("DatasetSpec", "FileSpec", "MetricSpec", "ModelSpec", "WeightsSpec"),
    "zoo.predictor": ("Prediction", "Predictions", "Predictor", "load", "load_model", "verify"),
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names}
__all__ = sorted(_HOMES)  # noqa: PLE0605 the names are those above


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'zoo' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
