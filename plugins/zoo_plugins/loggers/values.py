"""Values: a run and its epochs as flat names with plain values, which is what trackers take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo import Epoch, RunState


def list_scalars(epoch: Epoch) -> dict[str, float]:
    """Return the numbers of an epoch by names like `train/loss`, `test/accuracy`, `lr` and `seconds/train`."""
    scalars: dict[str, float] = {}
    for name, value in epoch.items():
        if isinstance(value, dict):
            scalars |= {f"{name}/{key}": float(number) for key, number in value.items() if number is not None}
        elif name != "epoch" and isinstance(value, int | float):
            scalars[name] = float(value)
    return scalars


def list_settings(run: RunState) -> dict[str, Any]:
    """Return what a run was asked for: `model`, `dataset`, the settings, and params as `param/hidden_units`."""
    record = run.record
    found = {"model": record.model, "dataset": record.dataset.name if record.dataset else None}
    found |= {"device": record.device, "threads": record.threads, **record.train_config}
    found |= {f"param/{key}": value for key, value in record.params.items()}
    if record.dataset is not None:
        found |= {f"dataset-param/{key}": value for key, value in (record.dataset.params or {}).items()}
    return {key: value for key, value in found.items() if value is not None}
