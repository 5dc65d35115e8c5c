"""Modes: what a model does otherwise in training than in evaluation, beside its dropout and its normalisation."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.checks.base import Fault
from zoo.checks.model.subject import TOLERANCE, ModelSubject, is_same, measure_difference
from zoo.checks.settings import read_generators
from zoo.checks.source import find_definition
from zoo.models.device import use_seed
from zoo.registry.source import FOREIGN

MODE_TOLERANCE = 1e-3
"""How far logits of the two modes may differ, as a share of the largest: layers that are merged for evaluation round
otherwise."""

functional = nn.functional


def check_modes(subject: ModelSubject) -> str:
    """Training and evaluation differ by dropout, noise and normalisation only.

    Training makes the logits of training right, and predictions are those of evaluation: a scale, a shift or another
    way through the layers that depends on `self.training` makes them wrong. Layers of torch, torchvision and timm, and
    functions such as dropout, are set to evaluation, and the model's own code to training. Whatever draws at random,
    changes buffers or computes over the batch there may differ; all else must agree within 1e-3 of the largest logit.
    """
    model, inputs = subject.perturbed, subject.inputs(subject.inference_samples)
    if all(_is_of_a_library(module) for module in model.modules()):
        return "all of its layers are those of libraries"
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    with torch.no_grad(), quieted(model):
        logits, draws = [], []
        for seed in (9, 10):
            with use_seed(seed):
                before = read_generators()
                logits.append(model(inputs).clone())
                draws.append(before != read_generators())
        beside_others = model(torch.cat([inputs[:1], 100 * inputs[1:]]))[:1]
    if any(draws) or not torch.equal(*logits):
        return "it draws at random in training, so the modes may differ"
    if any(not is_same(buffers.get(name), value) for name, value in model.named_buffers()):
        return "it changes buffers in training, so the modes may differ"
    if not measure_difference(beside_others, logits[0]) <= TOLERANCE:
        return "it computes over the batch in training, so the modes may differ"
    with torch.no_grad():
        difference = measure_difference(model.eval()(inputs), logits[0])
    if not difference <= MODE_TOLERANCE:
        seen = f"logits of evaluation differ by {difference:.2g} of the largest, without a layer that may do so"
        fix = "Compute the same in both modes: take out what depends on self.training"
        raise Fault(seen, fix, find_definition(type(model)))
    return "the logits of both modes agree"


@contextmanager
def quieted(model: nn.Module) -> Iterator[None]:
    """Train in the body without what libraries do at random or over the batch: only the model's own code trains."""
    model.train()
    for module in model.modules():
        if _is_of_a_library(module):
            module.training = False
    try:
        with _Quiet():
            yield
    finally:
        model.train()


def _is_of_a_library(module: nn.Module) -> bool:
    return str(getattr(type(module).forward, "__module__", "")).partition(".")[0] in FOREIGN


@cache
def _list_switched() -> dict[Any, tuple[str, Any]]:
    """Return functions that do otherwise in training, each with the argument that says so and its value for quiet."""
    names = "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout rrelu batch_norm"
    found: dict[Any, tuple[str, Any]] = {getattr(functional, name): ("training", False) for name in names.split()}
    found[functional.multi_head_attention_forward] = ("training", False)
    return found


class _Quiet(TorchFunctionMode):
    """Calls functions with a switch for training as in evaluation."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func in _list_switched():
            name, value = _list_switched()[func]
            bound = inspect.signature(func).bind(*args, **given)
            # Without running statistics a normalisation has only those of the batch.
            if func is not functional.batch_norm or isinstance(bound.arguments.get("running_mean"), Tensor):
                bound.arguments[name] = value
            return func(*bound.args, **bound.kwargs)
        if func is functional.scaled_dot_product_attention:
            args, given = args[:4], {**dict(zip(("dropout_p", "is_causal"), args[4:6], strict=False)), **given}
            return func(*args, **{**given, "dropout_p": 0.0})
        if func in (torch.dropout, torch.dropout_):
            return args[0] if args else given["input"]
        return func(*args, **given)
