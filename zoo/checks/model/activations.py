"""Activations on the logits: whether a function after a model's last layer limits the values that logits can take."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checks.model.layers import describe_layer, find_creation
from zoo.models.head import choose_head
from zoo.models.layers import hooked
from zoo.registry.source import is_plugin_file

FACTORS = (1000.0, -1000.0)
"""Factors for the last layer's parameters: free logits grow with them in both directions."""

FLOOR = 0.05
"""Least cross-entropy in nats that bounded logits may leave. With ten classes a cosine head scaled by 16 leaves 1e-6,
tanh 0.80, softmax 1.46."""

FREE = 20.0
"""Value from which on logits count as free in one direction. One-sided activations stay above -2 in the other."""

DEAD_SHARE = 0.2
"""Share of logits with one exact value from which on an activation is reported. An untrained ReLU head has half."""

# Names of operations in autograd's graph.
TRANSPARENT = re.compile(
    r"(View|Reshape|Squeeze|Unsqueeze|Clone|ToCopy|Transpose|T|Permute|Mean|Alias|Expand|Slice)\d*$"
)
LAYERS = re.compile(r"(Addmm|Mm|Bmm|Mv|Addmv|.*Conv.*|.*Linear)$")
LOWER_CASED = "Softmax Sigmoid Tanh Clamp Softplus Hardswish Hardsigmoid Exp Abs Maximum Minimum Threshold"
KNOWN = {
    **{name: name.lower() for name in LOWER_CASED.split()},
    "Relu": "ReLU",
    "Hardtanh": "hardtanh (ReLU6)",
    "ClampMin": "clamp",
    "Elu": "ELU",
    "Gelu": "GELU",
    "Silu": "SiLU",
    "Mish": "Mish",
    "Where": "torch.where",
    "Pow": "power",
}
"""How findings call the activations."""


@dataclass(frozen=True)
class OutputActivation:
    """An activation on the logits: its `name`, its `place` (the layer in the model), its source line, and its effect.

    `lower` and `upper` are the smallest and largest logit that were seen; `floor` is the least cross-entropy in nats
    that this range allows. `share` is the share of logits that all have the value of one edge; `dead` are the classes
    whose logit had the same value for every sample.
    """

    name: str
    place: str
    where: str
    lower: float
    upper: float
    share: float
    floor: float = 0.0
    dead: tuple[int, ...] = ()


def find_output_activation(
    model: nn.Module, inputs: Tensor, *, training: bool = False, auxiliary: bool = False
) -> OutputActivation | None:
    """Return what limits the logits `(N, C)` of `inputs`, in training or evaluation mode, or None.

    The parameters of the last layer are scaled up and down, which free logits follow, and put back afterwards. A model
    with `auxiliary` logits in training may run their layers last, so the last layer is that of evaluation.
    """
    model.train(training)
    head, later_layers, initial = _find_head(model, inputs)
    if training and auxiliary:
        head, later_layers, _ = _find_head(model.eval(), inputs)
        model.train()
    tried = [initial]
    for factor in FACTORS:
        with _scaled(head, factor) as scaled:
            tried.append(_compute(model, inputs))
            if any(not torch.equal(parameter, value) for parameter, value in scaled):
                return None  # the model sets these parameters itself, so scaling them proves nothing
    logits = torch.cat(tried).double()
    logits = logits[torch.isfinite(logits).all(dim=1)]
    if not len(logits):
        return None
    if training and bool((initial == 0).any()):
        dropout = _find_dropout(model, inputs, initial, later_layers)
        if dropout is not None:
            return dropout
    lower, upper, classes = float(logits.min()) + 0.0, float(logits.max()) + 0.0, logits.shape[1]
    floor = math.log1p((classes - 1) * math.exp(min(lower - upper, 0.0)))
    # Logits at exactly the smallest value, or where only one is there, at the largest.
    counts = [int((initial == edge).sum()) for edge in (initial.min(), initial.max())]
    share = next((count for count in counts if count > 1), 0) / initial.numel()
    one_sided = lower > -2 and upper > FREE
    if not (floor > FLOOR or one_sided or share >= DEAD_SHARE) or upper == lower:
        return None
    dead = tuple((initial == initial[:1]).all(dim=0).nonzero().flatten().tolist()) if len(initial) > 1 else ()
    name, place, where = _name(model, inputs, later_layers, logits)
    return OutputActivation(name, place, where, lower, upper, share, floor, dead)


def _find_dropout(
    model: nn.Module, inputs: Tensor, logits: Tensor, later_layers: list[nn.Module]
) -> OutputActivation | None:
    """Return the dropout that sets logits to 0 in training which are not 0 in evaluation."""
    evaluated = _compute(model.eval(), inputs)
    model.train()
    zeros = (logits == 0) & (evaluated != 0)
    lower, upper = float(logits.min()), float(logits.max())
    if int(zeros.sum()) < 2 or bool((logits == 0).all(dim=0).any()) or lower >= 0 or upper <= 0:
        return None  # a ReLU sets logits to 0 as well, but leaves one sign only, or whole classes at 0
    last = later_layers[-1] if later_layers and "dropout" in type(later_layers[-1]).__name__.lower() else None
    place = describe_layer(model, last) if last is not None else ""
    where = find_creation(last) or _find_operation(model, inputs)[1]
    return OutputActivation("dropout", place, where, lower, upper, share=float(zeros.float().mean()))


def is_pooled(model: nn.Module, inputs: Tensor) -> bool:
    """Tell whether logits are means over places of a map, where an activation may limit some places and not others."""
    for name, _ in _walk(model.eval()(inputs)):
        if "Mean" in name or "Pool" in name:
            return True
        if LAYERS.match(name):
            break
    return False


def _compute(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(inputs.clone())
    return logits.float().clone()  # logits may be a view of a parameter, which is scaled next


def _find_head(model: nn.Module, inputs: Tensor) -> tuple[nn.Module | None, list[nn.Module], Tensor]:
    """Return the last layer with parameters of its own that ran, the layers that ran after it, and the logits."""
    ran: list[nn.Module] = []
    with hooked(model.modules(), lambda module, *_: ran.append(module)):
        logits = _compute(model, inputs)
    leaves = [module for module in ran if not any(module.children())]
    head = choose_head(ran)
    if head is None:
        return None, leaves, logits
    last = max((index for index, leaf in enumerate(leaves) if leaf is head), default=-1)
    return head, leaves[last + 1 :], logits


@contextmanager
def _scaled(head: nn.Module | None, factor: float) -> Iterator[list[tuple[nn.Parameter, Tensor]]]:
    """Scale the parameters of a layer in the body; yield each with the values that it should have there."""
    parameters = list(head.parameters(recurse=False)) if head is not None else []
    originals = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter in parameters:
            parameter.mul_(factor)
    try:
        yield [(parameter, value * factor) for parameter, value in zip(parameters, originals, strict=True)]
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, originals, strict=True):
                parameter.copy_(value)


def _walk(logits: Tensor) -> Iterator[tuple[str, Any]]:
    """Yield name and node of the operations that made the logits, the last first, along their first inputs."""
    node: Any = logits.grad_fn
    while node is not None:
        yield re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2]), node
        node = next((before for before, _ in node.next_functions if before is not None), None)


def _name(model: nn.Module, inputs: Tensor, later_layers: list[nn.Module], logits: Tensor) -> tuple[str, str, str]:
    """Return the activation's name, by autograd or guessed from the range of the logits, its place and source line."""
    name, line = _find_operation(model, inputs)
    words = tuple(re.findall(r"\w+", name.lower()))
    likely = [layer for layer in later_layers if layer is not model and type(layer).__name__.lower().startswith(words)]
    if likely:
        return name, describe_layer(model, likely[-1]), find_creation(likely[-1]) or line
    if not name and float(logits.min()) >= 0:
        sums = logits.sum(dim=1)
        sums_to_one = bool(torch.isclose(sums, torch.ones_like(sums), atol=1e-3).all())
        name = "softmax" if sums_to_one else "sigmoid" if float(logits.max()) <= 1 else "ReLU"
    return name or "a bound", "", line


def _find_operation(model: nn.Module, inputs: Tensor) -> tuple[str, str]:
    """Return the activation among the last operations, "" for none known, and the plugin's line that called it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anomaly mode warns that it is slow
        with torch.enable_grad(), torch.autograd.set_detect_anomaly(True, check_nan=False):
            logits = model(inputs.clone())
    last = ""
    for name, node in _walk(logits):
        line = _read_line(node.metadata.get("traceback_", ()))
        if name in KNOWN:
            return KNOWN[name], line
        if LAYERS.match(name):
            break
        if not TRANSPARENT.match(name):
            last = last or line
            if name not in ("Mul", "Div", "Add", "Sub"):
                break
    return "", last


def _read_line(frames: Any) -> str:
    """Return the innermost line of the plugin among the frames that anomaly mode keeps."""
    lines = [re.match(r'\s*File "(.+)", line (\d+)', line) for frame in frames for line in str(frame).splitlines()]
    own = [f"{match[1]}:{match[2]}" for match in lines if match and is_plugin_file(match[1])]
    return own[-1] if own else ""
