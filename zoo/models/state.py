"""State: what a model or a training is, as tensors and plain data by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


def as_state_dict(tensors: Mapping[str, Tensor], model: nn.Module) -> OrderedDict[str, Tensor]:
    """Return tensors as a state dict of the model's own version: layers whose form has changed ask for it."""
    state = OrderedDict(tensors)
    state._metadata = getattr(model.state_dict(), "_metadata", None)  # type: ignore[attr-defined]
    return state


def copy_state(state: Any, former: Any = None) -> Any:
    """Return a copy of plain data in which tensors may be, those on the CPU.

    `former` is a copy that is not needed any more: where its tensors fit they are used again, which is twice as fast as
    memory that the system has yet to give.
    """
    from torch import Tensor

    if isinstance(state, Tensor):
        known = former if isinstance(former, Tensor) and former.shape == state.shape else None
        if known is None or known.dtype != state.dtype:
            return state.detach().to("cpu", copy=True)
        return known.copy_(state.detach())
    if isinstance(state, Mapping):
        known_by_name = former if isinstance(former, Mapping) else {}
        return {name: copy_state(value, known_by_name.get(name)) for name, value in state.items()}
    if isinstance(state, list | tuple):
        parts = former if isinstance(former, list | tuple) and len(former) == len(state) else [None] * len(state)
        return type(state)(map(copy_state, state, parts))
    return state
