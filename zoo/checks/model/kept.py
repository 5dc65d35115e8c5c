"""Kept: what the classes of a model and the files that define them hold, which all models of a process share."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor, nn

from zoo.registry.source import FOREIGN

KINDS = (type(None), bool, int, float, Tensor, dict, list)
"""Types of values that a call may leave in a class or a file."""


class Kept:
    """What the classes of a model and the files that define them held when this was made."""

    def __init__(self, model: nn.Module) -> None:
        classes = {base for module in model.modules() for base in type(module).__mro__}
        own = [base for base in classes if base.__module__.partition(".")[0] not in (*FOREIGN, "builtins")]
        files = filter(None, (sys.modules.get(base.__module__) for base in own))
        self.values = {holder: _read(holder) for holder in (*own, *files)}

    def put_back(self) -> None:
        """Put back what was set, changed or added since."""
        for holder, values in self.values.items():
            for name in _read(holder).keys() - values.keys():
                delattr(holder, name)
            for name, (value, content) in values.items():
                if vars(holder).get(name) is not value:
                    setattr(holder, name, value)
                if isinstance(value, dict):
                    value.clear()
                    value.update(content)
                elif isinstance(value, list):
                    value[:] = content


def _read(holder: Any) -> dict[str, tuple[Any, Any]]:
    """Return the values of an object by name, each with a copy of what it contains."""
    values = {name: value for name, value in vars(holder).items() if type(value) in KINDS and name[:2] != "__"}
    return {name: (value, value.copy() if isinstance(value, dict | list) else None) for name, value in values.items()}
