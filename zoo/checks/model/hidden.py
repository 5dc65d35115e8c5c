"""Hidden parameters: tensors that get a gradient and are no parameters of the model."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from zoo.checks.base import Fault
from zoo.checks.model.layers import find_creation
from zoo.checks.source import find_definition


def raise_hidden(model: nn.Module, logits: Tensor) -> None:
    """Raise Fault when tensors behind the logits get a gradient and are no parameters of the model."""
    known = {id(parameter) for parameter in model.parameters()}
    hidden = [tensor for tensor in _list_leaves(logits) if id(tensor) not in known]
    if not hidden:
        return
    tensor, where = hidden[0], find_definition(type(model))
    owner = _find_owner(tensor)
    attributes = list(_list_attributes(model))
    names = [name for name, attribute in attributes if attribute is tensor]
    computed = [name for name, attribute in attributes if attribute.grad_fn is not None]
    if not names and computed:
        when = "once, when the model was built"
        seen = f"{computed[0]} was computed from a parameter, {when}: that parameter is not trained"
        raise Fault(seen, "Keep the nn.Parameter itself, and compute with it in forward()", where)
    unnamed = f"a tensor of {tuple(tensor.shape)}" + (f" of {type(owner).__name__}" if owner else "")
    what = names[0] if names else unnamed
    seen = f"{what} gets a gradient, but is no parameter of the model: no optimizer trains it, no file keeps it"
    fix = "Make layers attributes of the model, many of them in nn.ModuleList or nn.ModuleDict, not in a list or dict"
    raise Fault(seen, fix, find_creation(owner) or where)


def _list_leaves(logits: Tensor) -> list[Tensor]:
    """Return the tensors that a backward pass from the logits gives a gradient."""
    nodes: dict[Any, None] = {}
    waiting: list[Any] = [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in nodes:
            nodes[node] = None
            waiting += [before for before, _ in node.next_functions]
    variables = [getattr(node, "variable", None) for node in nodes]
    return [variable for variable in variables if variable is not None and variable.is_leaf]


def _find_owner(parameter: Tensor) -> nn.Module | None:
    """Return the module that a parameter belongs to, even when no model contains that module."""
    # isinstance() would ask proxies, which may raise.
    modules = (module for module in gc.get_objects() if issubclass(type(module), nn.Module))
    for module in modules:
        if any(value is parameter for value in (vars(module).get("_parameters") or {}).values()):
            return module  # type: ignore[no-any-return]
    return None


def _list_attributes(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield names and tensors of plain attributes of the model, of its classes, and of the files that define those."""
    for path, module in model.named_modules():
        prefix = f"{path}." if path else ""
        for key, value in vars(module).items():
            if not key.startswith("_"):
                yield from _list_tensors(value, f"{prefix}{key}")
    for base in type(model).__mro__:
        if not base.__module__.startswith("torch."):
            for key, value in vars(base).items():
                yield from _list_tensors(value, f"{base.__name__}.{key}")
            for key, value in vars(sys.modules.get(base.__module__, object)).items():
                yield from _list_tensors(value, key)


def _list_tensors(value: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, nn.Module):
        yield from ((f"{name}.{path}", parameter) for path, parameter in value.named_parameters())
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            yield from _list_tensors(item, f"{name}[{index}]")
    elif type(value) is dict:
        for key, item in value.items():
            if not str(key).startswith("__"):
                yield from _list_tensors(item, f"{name}[{key!r}]")
