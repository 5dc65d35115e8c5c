"""Ties: tensors of a model that lie in the same memory under several names, so that training changes all of them."""

from __future__ import annotations

from torch import Tensor, nn

from zoo.checks.base import Fault
from zoo.checks.source import find_definition

Ties = frozenset[tuple[str, str]]
"""Pairs of names, each a parameter that is trained and a tensor that shares memory with it."""


def list_ties(model: nn.Module) -> Ties:
    """Return which parameters that are trained share memory with other parameters or buffers."""
    trained = {name: value for name, value in model.named_parameters(remove_duplicate=False) if value.requires_grad}
    every = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    spans = sorted((*_find_span(value), name) for name, value in every.items() if value.numel() and not value.is_meta)
    found, open_spans = set(), list[tuple[int, str]]()
    for start, end, name in spans:
        open_spans = [(other_end, other) for other_end, other in open_spans if other_end > start]
        found |= {tuple(sorted((name, other))) for _, other in open_spans if name in trained or other in trained}
        open_spans.append((end, name))
    return frozenset((one, other) for one, other in found)


def _find_span(tensor: Tensor) -> tuple[int, int]:
    """Return the addresses between which the values of a tensor lie."""
    start = tensor.data_ptr()
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return start, start + (last + 1) * tensor.element_size()


def require_ties(before: Ties, model: nn.Module, what: str) -> None:
    """Raise Fault when other tensors share memory than before; `what` says what was done in between."""
    after = list_ties(model)
    if after == before:
        return
    names = " and ".join(sorted(before ^ after)[0])
    when = "no longer" if before - after else "only"
    seen = f"{names} share memory {when} {what}: training would change them otherwise"
    fix = "Tie parameters in the factory by giving one nn.Parameter two names; compute views of it in forward()"
    raise Fault(seen, fix, find_definition(type(model)))
