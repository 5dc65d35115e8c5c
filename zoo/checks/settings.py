"""Settings of the process that a plugin must leave alone: the checks read them, compare them and put them back."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import torch

from zoo.checks.base import Fault
from zoo.models.device import use_seed

FIX = "Leave settings of the process to whoever runs it"
VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG")


def _set_default_device(device: torch.device) -> None:
    # With None instead of cpu torch removes its device mode, through which every call would otherwise pass.
    torch.set_default_device(None if device.type == "cpu" else device)


def _set_variables(values: Mapping[str, str]) -> None:
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(values)


SETTINGS: Mapping[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "default device": (torch.get_default_device, _set_default_device),
    "thread count": (torch.get_num_threads, torch.set_num_threads),
    "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "anomaly mode": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "deterministic mode": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    "seed of torch": (torch.initial_seed, torch.manual_seed),
    "current folder": (Path.cwd, os.chdir),
    "environment": (lambda: {name: os.environ[name] for name in VARIABLES if name in os.environ}, _set_variables),
}
"""For each setting the function that reads it and the function that sets it."""


def read_settings() -> dict[str, Any]:
    """Return the settings as they are."""
    return {name: read() for name, (read, _) in SETTINGS.items()}


@contextmanager
def keep_settings() -> Iterator[dict[str, str]]:
    """Put back the settings that the body changes; afterwards the yielded dict describes each change in words."""
    before = read_settings()
    changed: dict[str, str] = {}
    try:
        yield changed
    finally:
        after = read_settings()
        for name, value in before.items():
            if value != after[name]:
                changed[name] = f"{name} ({value} to {after[name]})"
                SETTINGS[name][1](value)


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
