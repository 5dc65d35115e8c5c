"""Metrics: updated batch by batch, their results turned into plain floats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from zoo.errors import ZooError, is_out_of_memory, quote
from zoo.registry.metric import Metric
from zoo.registry.source import describe_fault

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class MetricError(ZooError):
    """A metric does not keep the contract (exit 5)."""

    exit_code = 5


@contextmanager
def _named(name: str, problem: str) -> Iterator[None]:
    """Tell any error of the body, even SystemExit, as one of the metric; Ctrl-C and lack of memory go through."""
    try:
        yield
    except (ZooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise
        raise MetricError(f"metric {quote(name)}: {problem}", describe_fault(error)) from error


def check_metrics(metrics: Mapping[str, Metric], num_classes: int, device: torch.device) -> dict[str, float]:
    """Give each metric one right prediction of each class: what breaks it now would break it after an epoch.

    Return the values.

    Raises:
        MetricError: a metric fails or gives something that is no number.
    """
    import warnings

    import torch

    logits, targets = torch.eye(num_classes, device=device), torch.arange(num_classes, device=device)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # metrics warn about few samples
        reset_metrics(metrics)
        update_metrics(metrics, logits, targets)
        values = compute_metrics(metrics)
        reset_metrics(metrics)
    return values


def move_metrics(metrics: Mapping[str, Metric], device: torch.device) -> None:
    """Move metrics that keep their state in tensors of their own, as those of TorchMetrics do, to an accelerator."""
    for name, metric in metrics.items():
        with _named(name, f"it cannot be moved to {device}"):
            move = getattr(metric, "to", None)
            if device.type != "cpu" and move is not None:
                move(device)


def share_counts(metrics: Mapping[str, Metric]) -> None:
    """Let metrics that count the same read the counts of the first of them, so that each batch is counted once.

    Raises:
        MetricError: a metric fails.
    """
    first: list[Metric] = []
    for name, metric in metrics.items():
        with _named(name, "share_counts() failed"):
            share = getattr(metric, "share_counts", None)
            if share is None or not any(share(other) for other in first):
                first.append(metric)


def reset_metrics(metrics: Mapping[str, Metric]) -> None:
    """Make each metric forget all batches; raise MetricError when one fails."""
    for name, metric in metrics.items():
        with _named(name, "reset() failed"):
            metric.reset()


def update_metrics(metrics: Mapping[str, Metric], logits: Tensor, targets: Tensor) -> None:
    """Give each metric one batch; raise MetricError when one fails."""
    for name, metric in metrics.items():
        with _named(name, "update() failed"):
            metric.update(logits, targets)


def compute_metrics(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """Return the value of each metric by name; those of a metric that gives a dict are called `metric.key`.

    Raises:
        MetricError: a metric fails or gives something that is no number.
    """
    values: dict[str, float] = {}
    for name, metric in metrics.items():
        with _named(name, "compute() gave no number"):
            result = metric.compute()
            items = result.items() if isinstance(result, Mapping) else [(None, result)]
            values.update({name if key is None else f"{name}.{key}": float(value) for key, value in items})
    return values
