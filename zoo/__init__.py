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
    from zoo.comparison import Comparison as Comparison
    from zoo.comparison import compare as compare
    from zoo.config import TrainConfig as TrainConfig
    from zoo.confusion import ClassScore as ClassScore
    from zoo.data import DataSplits as DataSplits
    from zoo.decorators import dataset as dataset
    from zoo.decorators import metric as metric
    from zoo.decorators import model as model
    from zoo.diagrams import plot_confusion as plot_confusion
    from zoo.diagrams import plot_curves as plot_curves
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
    from zoo.figures import save_figure as save_figure
    from zoo.findings import Finding as Finding
    from zoo.gallery import find_wrong as find_wrong
    from zoo.gallery import plot_predictions as plot_predictions
    from zoo.gallery import plot_samples as plot_samples
    from zoo.gallery import plot_wrong as plot_wrong
    from zoo.hookspecs import hookimpl as hookimpl
    from zoo.inspection import DatasetDescription as DatasetDescription
    from zoo.inspection import describe_dataset as describe_dataset
    from zoo.outcomes import Outcomes as Outcomes
    from zoo.pictures import plot as plot
    from zoo.pipeline import fetch as fetch
    from zoo.pipeline import run as run
    from zoo.predictor import Prediction as Prediction
    from zoo.predictor import Predictions as Predictions
    from zoo.predictor import Predictor as Predictor
    from zoo.predictor import load as load
    from zoo.predictor import load_model as load_model
    from zoo.predictor import verify as verify
    from zoo.preprocess import Preprocess as Preprocess
    from zoo.ranking import plot_comparison as plot_comparison
    from zoo.registry import Registry as Registry
    from zoo.registry import list_datasets as list_datasets
    from zoo.registry import list_metrics as list_metrics
    from zoo.registry import list_models as list_models
    from zoo.registry import list_weights as list_weights
    from zoo.reports import report as report
    from zoo.results import Result as Result
    from zoo.results import read_results as read_results
    from zoo.results import read_samples as read_samples
    from zoo.runs import RunResult as RunResult
    from zoo.samples import Samples as Samples
    from zoo.samples import load_samples as load_samples
    from zoo.saving import save as save
    from zoo.seeds import run_seeds as run_seeds
    from zoo.seeds import summarise_runs as summarise_runs
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
    "zoo.comparison": ("Comparison", "compare"),
    "zoo.config": ("TrainConfig",),
    "zoo.confusion": ("ClassScore",),
    "zoo.data": ("DataSplits",),
    "zoo.decorators": ("dataset", "metric", "model"),
    "zoo.diagrams": ("plot_confusion", "plot_curves"),
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
    "zoo.figures": ("save_figure",),
    "zoo.gallery": ("find_wrong", "plot_predictions", "plot_samples", "plot_wrong"),
    "zoo.hookspecs": ("hookimpl",),
    "zoo.inspection": ("DatasetDescription", "describe_dataset"),
    "zoo.outcomes": ("Outcomes",),
    "zoo.pictures": ("plot",),
    "zoo.pipeline": ("fetch", "run"),
    "zoo.preprocess": ("Preprocess",),
    "zoo.ranking": ("plot_comparison",),
    "zoo.registry": ("Registry", "list_datasets", "list_metrics", "list_models", "list_weights"),
    "zoo.reports": ("report",),
    "zoo.results": ("Result", "read_results", "read_samples"),
    "zoo.runs": ("RunResult",),
    "zoo.samples": ("Samples", "load_samples"),
    "zoo.saving": ("save",),
    "zoo.seeds": ("run_seeds", "summarise_runs"),
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
