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


def copy_state(state: Any) -> Any:
    """Return a copy of plain data in which tensors may be, those on the CPU."""
    from torch import Tensor

    if isinstance(state, Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, Mapping):
        return {name: copy_state(value) for name, value in state.items()}
    return type(state)(map(copy_state, state)) if isinstance(state, list | tuple) else state
