"""The factories that registry.toml names: `auroc` of this module builds TorchMetrics' `MulticlassAUROC`."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature, signature
from typing import TYPE_CHECKING, Any, Literal, get_args

from torch import Tensor, device

from zoo import UsageError

if TYPE_CHECKING:
    from torchmetrics import Metric

# By the name of its function, less `multiclass_`: the class of a metric.
CLASSES = {
    "accuracy": "MulticlassAccuracy",
    "auroc": "MulticlassAUROC",
    "average_precision": "MulticlassAveragePrecision",
    "calibration_error": "MulticlassCalibrationError",
    "cohen_kappa": "MulticlassCohenKappa",
    "exact_match": "MulticlassExactMatch",
    "f1_score": "MulticlassF1Score",
    "fbeta_score": "MulticlassFBetaScore",
    "hamming_distance": "MulticlassHammingDistance",
    "hinge_loss": "MulticlassHingeLoss",
    "jaccard_index": "MulticlassJaccardIndex",
    "matthews_corrcoef": "MulticlassMatthewsCorrCoef",
    "negative_predictive_value": "MulticlassNegativePredictiveValue",
    "precision": "MulticlassPrecision",
    "recall": "MulticlassRecall",
    "specificity": "MulticlassSpecificity",
}
# TorchMetrics takes a batch for probabilities where all values happen to lie between 0 and 1, and for logits elsewhere.
OF_PROBABILITIES = ("auroc", "average_precision", "calibration_error", "hinge_loss")
# zoo decides these: it has one target a sample and one number a metric.
DECIDED = ("num_classes", "multidim_average", "multiclass_mode", "validate_args")


class TorchMetric:
    """A metric of TorchMetrics that is always given what it is made for, probabilities or logits, and can be merged."""

    def __init__(self, metric: Metric, *, of_probabilities: bool) -> None:
        self.metric, self.of_probabilities = metric, of_probabilities

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Take in one batch of logits `(N, num_classes)` and targets `(N,)`."""
        self.metric.update(logits.float().softmax(dim=1) if self.of_probabilities else logits, targets)

    def compute(self) -> Tensor:
        """Return the value over all batches since the last reset."""
        return self.metric.compute()

    def reset(self) -> None:
        """Forget all batches."""
        self.metric.reset()

    def merge(self, other: TorchMetric) -> None:
        """Add what another one of the same class and params has taken in."""
        self.metric.merge_state(other.metric)

    def to(self, place: device) -> None:
        """Move what is kept to a device."""
        self.metric.to(place)


def __getattr__(name: str) -> Callable[..., TorchMetric]:
    """Return the factory of a metric.

    Raises:
        UsageError: TorchMetrics is not installed, or the installed one has no such metric.
    """
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import torchmetrics
    except ModuleNotFoundError as error:
        if error.name != "torchmetrics":
            raise
        fix = "pip install 'zoo-torch[metrics]'"
        raise UsageError(f"metric {name!r} needs torchmetrics", "it is not installed", fix) from None
    made = getattr(torchmetrics.classification, CLASSES.get(name, ""), None)
    if made is None:
        raise UsageError(
            f"torchmetrics {torchmetrics.__version__} has no metric {name!r}",
            fix="Install one that has it, pip install -U torchmetrics, or choose another metric",
        )

    def build(*, num_classes: int, **params: Any) -> TorchMetric:
        top_k = params.get("top_k", 1)
        if not 1 <= top_k <= num_classes:  # TorchMetrics takes some of these and fails later
            raise ValueError(f"top_k: expected 1 to {num_classes}, the number of classes, got {top_k}")
        return TorchMetric(made(num_classes=num_classes, **params), of_probabilities=name in OF_PROBABILITIES)

    build.__name__ = name
    build.__signature__ = _narrow(signature(made))  # type: ignore[attr-defined]
    return build


def _narrow(wide: Signature) -> Signature:
    """Return a signature of the params that users may give, with the values of which one number comes.

    `average` cannot be none, which would give a number for each class. `thresholds` is how many there are, evenly from
    0 to 1, or None for all that make a difference, for which all probabilities are kept.
    """
    params = [Parameter("num_classes", Parameter.KEYWORD_ONLY, annotation=int)]
    for param in wide.parameters.values():
        if param.name in DECIDED or param.kind is Parameter.VAR_KEYWORD:
            continue
        given = param.replace(kind=Parameter.KEYWORD_ONLY)
        if param.name == "average":
            means = tuple(mean for mean in _find_choices(param.annotation) if mean != "none")
            given = given.replace(annotation=Literal[means])
        elif param.name == "thresholds":
            given = given.replace(annotation=int | None)
        params.append(given)
    return Signature(params)


def _find_choices(annotation: Any) -> tuple[str, ...]:
    """Return the texts of a Literal, or of the one within an Optional."""
    parts = get_args(annotation)
    return tuple(part for part in parts if isinstance(part, str)) or _find_choices(parts[0])
