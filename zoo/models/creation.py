"""Creation: a registered model as a plain module, built as a run builds it, for a loop written by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from zoo.errors import SettingError
from zoo.models.device import use_seed
from zoo.models.probe import check_model
from zoo.registry.arguments import checked
from zoo.registry.compatibility import check_input_shape
from zoo.registry.entries import Registry, choose_registry
from zoo.registry.factories import build_model, load_factory, refuse_params
from zoo.registry.params import resolve_params
from zoo.registry.settings import resolve_config


@checked
def create_model(
    model: str,
    *,
    input_shape: Sequence[int],
    num_classes: int,
    params: Mapping[str, Any] | None = None,
    seed: int | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
) -> nn.Module:
    """Build a registered model: a plain `nn.Module` in training mode, on the CPU, with new weights.

    It takes inputs `(N, *input_shape)` and gives logits `(N, num_classes)`. With `seed` its weights are those that
    `zoo.run` starts from with that seed, and those of the same layers written by hand after `torch.manual_seed(seed)`;
    the random state of the caller stays as it is. Without one they are drawn from that state, as torch itself does.

    Raises:
        UnknownNameError, UsageError: no such model, a param that it cannot have, or a shape it does not take.
        PluginError, DryRunError: the model cannot be built, or does not give such logits.
    """
    entry = choose_registry(registry, plugins).get("model", model)
    check_input_shape(entry.spec, input_shape)
    if num_classes < 1:
        raise SettingError("num_classes", "must be at least 1", num_classes)
    values = resolve_params(entry.spec, load_factory(entry), params or {})
    shape = tuple(map(int, input_shape))
    seeded = nullcontext() if seed is None else use_seed(resolve_config({}, {"seed": seed}).seed)
    with seeded, refuse_params(bool(params)):
        built = build_model(entry, input_shape=shape, num_classes=num_classes, params=values)
    with entry.blamed("failed"):
        check_model(built, torch.zeros(2, *shape), name=entry.name, dataset="input_shape", num_classes=num_classes)
    return built
