"""Snapshot: a model as it was after its last finished epoch, for a training that ends in the middle of another."""

from __future__ import annotations

import logging
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import is_out_of_memory
from zoo.models.state import as_state_dict

log = logging.getLogger("zoo")


class Snapshot:
    """A copy of a model's state dict in the memory of the machine.

    It takes the model's size once, and a copy's time after each epoch but the last.
    """

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def take(self, model: nn.Module) -> None:
        """Copy the model's state; where memory is short, hold none and warn."""
        try:
            state = model.state_dict()
            with torch.no_grad():
                for name, value in state.items():
                    state[name] = self._copy(name, value)
            self.state = state
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            self.state = {}
            log.warning("no memory for a copy of the model: a run that is stopped will leave no weights")

    def restore(self, model: nn.Module) -> bool:
        """Give the model the state that it had; return whether there is one."""
        if self.state:
            model.load_state_dict(as_state_dict(self.state, model))
        return bool(self.state)

    def _copy(self, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return deepcopy(value)
        known = self.state.get(name)
        if known is None or known.shape != value.shape or known.dtype != value.dtype:
            return value.detach().to("cpu", copy=True)
        return known.copy_(value)
