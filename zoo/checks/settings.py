"""Settings of the process that a plugin must leave alone: watched, told, and put back."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from zoo.checks.base import Fault
from zoo.checks.source import is_own

FIX = "Leave settings of the process to whoever runs it"
VARIABLES = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG")


def _set_default_device(device: torch.device) -> None:
    # None, not cpu: that would leave a mode behind, through which every call has to go.
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
"""How each setting is read and put back."""


def read_settings() -> dict[str, Any]:
    """Return the settings as they are."""
    return {name: read() for name, (read, _) in SETTINGS.items()}


def restore_settings(before: Mapping[str, Any]) -> dict[str, str]:
    """Put settings back; return in words those that were not as before."""
    after = read_settings()
    changed = {name: f"{name} ({value} to {after[name]})" for name, value in before.items() if value != after[name]}
    for name in changed:
        SETTINGS[name][1](before[name])
    return changed


@contextmanager
def watch_settings(where: str) -> Iterator[None]:
    """Raise a fault when the body changes a setting of the process, and put it back.

    Raises:
        Fault: names the settings.
    """
    before = read_settings()
    try:
        yield
    finally:
        changed = restore_settings(before)
    if changed:
        raise Fault(f"it changes the {', '.join(changed.values())}", FIX, where)


def read_generators() -> dict[str, Any]:
    """Return the states of the generators of numpy and Python, which have no seed that could be read."""
    import numpy

    state: Any = numpy.random.get_state()
    return {"numpy": (state[1].tobytes(), state[2]), "Python": random.getstate()}


def find_setter(run: Callable[[], Any], *, names: Collection[str] = SETTINGS.keys()) -> str:
    """Run something once more; return `file:line` of the plugin's last line that changes a setting, "" for none."""
    before, found, last = read_settings(), "", ""
    now = {name: before[name] for name in names}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal found, last, now
        if not is_own(frame.f_code.co_filename):
            return None
        read = {name: SETTINGS[name][0]() for name in names}
        if read != now:
            # What changes before the first line of the plugin is the doing of whoever runs it.
            found, now = last or found, read
        last = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        return trace

    tracing = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(Exception):
            run()
    finally:
        sys.settrace(tracing)
        restore_settings(before)
    return found
