"""Logits: whether something stands between a model's last layer and its logits that keeps them from being free."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checks.source import find_creation, is_own

FACTORS = (1000.0, -1000.0)
"""What the last layer's parameters are multiplied by: free logits follow in both directions, without end."""

FLOOR = 0.05
"""Cross-entropy in nats that bounded logits may cost at best. A cosine head scaled by 16 costs 1e-6, tanh 0.80, softmax
1.46 (ten classes)."""

FREE = 20.0
"""How far logits must go in a direction to count as free. One-sided activations stay above -2 on the other side."""

DEAD_SHARE = 0.2
"""Share of logits on one exact value from which an activation is said to kill. An untrained ReLU head has half."""

PASSED = re.compile(r"(View|Reshape|Squeeze|Unsqueeze|Clone|ToCopy|Transpose|T|Permute|Mean|Alias|Expand|Slice)\d*$")
LAYERS = re.compile(r"(Addmm|Mm|Bmm|Mv|Addmv|.*Conv.*|.*Linear)$")
KNOWN = {
    "Relu": "ReLU",
    "Softmax": "softmax",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Hardtanh": "hardtanh (ReLU6)",
    "Clamp": "clamp",
    "ClampMin": "clamp",
    "Elu": "ELU",
    "Gelu": "GELU",
    "Silu": "SiLU",
    "Softplus": "softplus",
    "Mish": "Mish",
    "Hardswish": "hardswish",
    "Hardsigmoid": "hardsigmoid",
    "Exp": "exp",
    "Abs": "abs",
    "Where": "torch.where",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Pow": "power",
    "Threshold": "threshold",
}


@dataclass(frozen=True, kw_only=True)
class Clamp:
    """What holds the logits: its `name`, the layer's `place` in the model, the source line, and how it shows.

    `lower` and `upper` are the range that logits never left; `floor` is the cross-entropy that is left at best; `dead`
    are the classes whose logit had one and the same value for every sample, `share` how many of all logits that is.
    """

    name: str
    place: str
    where: str
    module: nn.Module | None
    lower: float
    upper: float
    floor: float
    share: float
    dead: tuple[int, ...]


def perturb(model: nn.Module) -> None:
    """Add a little noise to all parameters: layers that start at zero would hide what comes before them."""
    generator = torch.Generator().manual_seed(20011)  # no seed of the inputs: noise that is like them fits them
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(noise * (0.02 + 0.02 * parameter.abs().mean()))


def find_clamp(model: nn.Module, inputs: Tensor, *, training: bool = False) -> Clamp | None:
    """Return what keeps the logits `(N, C)` of `inputs` from being free, in training or evaluation mode, or None.

    The parameters of the last layer are scaled up and down: free logits follow. Parameters are as before afterwards.
    """
    model.train(training)
    head, leaves, start = _find_last(model, inputs)
    gathered = [start]
    for factor in FACTORS:
        with _scaled(head, factor) as scaled:
            gathered.append(_compute(model, inputs))
            if any(not torch.equal(parameter, value) for parameter, value in scaled):
                return None  # the model sets them itself, so nothing can be told
    logits = torch.cat(gathered).double()
    logits = logits[torch.isfinite(logits).all(dim=1)]
    if not len(logits):
        return None
    if training and int((start == 0).sum()) > 1 and (start != 0).any():
        dropped = _find_dropout(model, inputs, start, leaves)
        if dropped is not None:
            return dropped
    lower, upper, classes = float(logits.min()) + 0.0, float(logits.max()) + 0.0, logits.shape[1]
    floor = math.log1p((classes - 1) * math.exp(min(lower - upper, 0.0)))
    edge = _find_edge(start)
    share = 0.0 if edge is None else float((start == edge).float().mean())
    one_sided = lower > -2 and upper > FREE
    if not (floor > FLOOR or one_sided or share >= DEAD_SHARE) or upper == lower:
        return None
    dead = tuple((start == start[:1]).all(dim=0).nonzero().flatten().tolist()) if len(start) > 1 else ()
    name, place, where, module = _name(model, inputs, leaves, logits)
    return Clamp(
        name=name,
        place=place,
        where=where,
        module=module,
        lower=lower,
        upper=upper,
        floor=floor,
        share=share,
        dead=dead,
    )


def _find_dropout(model: nn.Module, inputs: Tensor, start: Tensor, leaves: list[nn.Module]) -> Clamp | None:
    """Return the dropout that sets logits to 0 in training which are not 0 in evaluation."""
    calm = _compute(model.eval(), inputs)
    model.train()
    zeros = (start == 0) & (calm != 0)
    if (
        int(zeros.sum()) < 2
        or bool((start == 0).all(dim=0).any())
        or float(start.min()) >= 0
        or float(start.max()) <= 0
    ):
        return None
    last = leaves[-1] if leaves and "dropout" in type(leaves[-1]).__name__.lower() else None
    names = {found: path for path, found in model.named_modules()}
    share, lower, upper = float(zeros.float().mean()), float(start.min()), float(start.max())
    return Clamp(
        name="dropout",
        place=f"{names[last]} ({type(last).__name__})" if last is not None else "",
        where=(find_creation(last) if last is not None else "") or _find_operation(model, inputs)[1],
        module=last,
        lower=lower,
        upper=upper,
        floor=0.0,
        share=share,
        dead=(),
    )


def is_pooled(model: nn.Module, inputs: Tensor) -> bool:
    """Tell whether logits are means over places of a map, of which some may be free where others are not."""
    for name, _ in _walk(model.eval()(inputs)):
        if "Mean" in name or "Pool" in name:
            return True
        if LAYERS.match(name):
            break
    return False


def _compute(model: nn.Module, inputs: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model(inputs.clone())
    return logits.float().clone()  # also where it is a view of a parameter, which is scaled next


def _find_edge(logits: Tensor) -> float | None:
    """Return the smallest or largest value when several logits have exactly it."""
    for edge in (logits.min(), logits.max()):
        if int((logits == edge).sum()) > 1:
            return float(edge)
    return None


def _find_last(model: nn.Module, inputs: Tensor) -> tuple[nn.Module | None, list[nn.Module], Tensor]:
    """Return the last layer with parameters of its own that ran, the layers after it in their order, and the logits."""
    ran: list[nn.Module] = []
    hooks = [module.register_forward_hook(lambda module, *_: ran.append(module)) for module in model.modules()]
    try:
        logits = _compute(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    leaves = [module for module in ran if not any(module.children())]
    with_own = [module for module in ran if next(module.parameters(recurse=False), None) is not None]
    # A whole model may have parameters of its own, such as a class token; its layers come first.
    heads = [module for module in with_own if module in leaves] or with_own
    if not heads:
        return None, leaves, logits
    last = max((index for index, leaf in enumerate(leaves) if leaf is heads[-1]), default=-1)
    return heads[-1], leaves[last + 1 :], logits


@contextmanager
def _scaled(head: nn.Module | None, factor: float) -> Iterator[list[tuple[nn.Parameter, Tensor]]]:
    parameters = list(head.parameters(recurse=False)) if head is not None else []
    kept = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():
        for parameter in parameters:
            parameter.mul_(factor)
    try:
        yield [(parameter, value * factor) for parameter, value in zip(parameters, kept, strict=True)]
    finally:
        with torch.no_grad():
            for parameter, value in zip(parameters, kept, strict=True):
                parameter.copy_(value)


def _walk(logits: Tensor) -> Iterator[tuple[str, Any]]:
    """Yield name and node of the operations that made the logits, the last first, along their first inputs."""
    node: Any = logits.grad_fn
    while node is not None:
        yield re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2]), node
        node = next((before for before, _ in node.next_functions if before is not None), None)


def _name(
    model: nn.Module, inputs: Tensor, leaves: list[nn.Module], logits: Tensor
) -> tuple[str, str, str, nn.Module | None]:
    """Name the activation: by the last operation that autograd knows, else by the range it keeps."""
    name, line = _find_operation(model, inputs)
    names = {found: path for path, found in model.named_modules()}
    likely = [leaf for leaf in leaves if names[leaf] and _is_called(type(leaf).__name__, name)]
    if likely:
        place = f"{names[likely[-1]]} ({type(likely[-1]).__name__})"
        return name, place, find_creation(likely[-1]) or line, likely[-1]
    rows = logits.sum(dim=1)
    if not name and float(logits.min()) >= 0:
        sums_to_one = bool(torch.isclose(rows, torch.ones_like(rows), atol=1e-3).all())
        name = "softmax" if sums_to_one else "sigmoid" if float(logits.max()) <= 1 else "ReLU"
    return name or "a bound", "", line, None


def _is_called(layer: str, operation: str) -> bool:
    words = re.findall(r"\w+", operation.lower())
    return any(layer.lower().startswith(word) for word in words)


def _find_operation(model: nn.Module, inputs: Tensor) -> tuple[str, str]:
    """Return the activation among the last operations and the plugin's line that called it."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # anomaly mode says that it is slow
        with torch.enable_grad(), torch.autograd.set_detect_anomaly(True, check_nan=False):
            logits = model(inputs.clone())
    last = ""
    for name, node in _walk(logits):
        line = _read_line(node.metadata.get("traceback_", ()))
        if name in KNOWN:
            return KNOWN[name], line
        if LAYERS.match(name):
            break
        if not PASSED.match(name):
            last = last or line
            if name not in ("Mul", "Div", "Add", "Sub"):
                break
    return "", last


def _read_line(frames: Any) -> str:
    """Return the innermost line of the plugin among the frames that anomaly mode keeps."""
    lines = [re.match(r'\s*File "(.+)", line (\d+)', line) for frame in frames for line in str(frame).splitlines()]
    own = [f"{match[1]}:{match[2]}" for match in lines if match and is_own(match[1])]
    return own[-1] if own else ""
