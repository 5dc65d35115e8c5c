"""Settings of the process that a plugin must leave alone: the checks find out whether it does.

A run puts them back and warns (see `zoo.registry.global_state`); in the checks it is a fault.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy
import torch

from zoo.checks.base import Fault
from zoo.models.device import use_seed
from zoo.registry.global_state import keep_state as keep_settings
from zoo.registry.global_state import read_state as read_settings

__all__ = ["FIX", "check_use", "keep_settings", "read_generators", "read_settings"]

FIX = "Leave settings of the process to whoever runs it"


def read_generators() -> dict[str, Any]:
    """Return the states of the global random generators."""
    numpy_state: Any = numpy.random.get_state()
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (numpy_state[1].tobytes(), numpy_state[2]),
        "Python": random.getstate(),
    }


def check_use(use: Callable[[], object], fix: str) -> None:
    """Check that `use`, which runs twice, changes no setting and seeds no generator of the process.

    Raises:
        Fault: it does; `fix` is the advice about seeds.
    """
    states = []
    with keep_settings() as changed:
        for seed in (4, 5):
            with use_seed(seed):
                use()
                states.append(read_generators())
    if changed:
        raise Fault(f"it changes the {', '.join(changed.values())}", FIX)
    # Two runs start from different seeds, so only code that seeds a generator can make their states equal.
    if seeded := [name for name, state in states[0].items() if state == states[1][name]]:
        raise Fault(f"it seeds {', '.join(seeded)} for the whole process", fix)
