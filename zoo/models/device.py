"""Device and threads: choose them by a stated rule, never replace what was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from zoo.data.workers import count_cores
from zoo.errors import DeviceError
from zoo.models.flop import Work

THREAD_FLOP = 2e8
"""Forward floating-point operations of a batch from which more than one CPU thread is used. With free cores threads pay
from a tenth of that, at best by two fifths; but each of a step's many small operations waits for the last thread, and
where a neighbour is busy that makes a small step take several times as long. See benchmarks/threads.py."""
CONVOLVED_FLOP = 5e7
"""The same for convolutional models, whose operations take longer each: their activations are larger than the products
that count."""


def resolve_device(wish: str) -> torch.device:
    """Return the device asked for, for `auto` an accelerator if there is one; raise DeviceError, never replace it."""
    found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if wish == "auto":
        return found or torch.device("cpu")
    match = re.fullmatch(r"([a-z]+)(?::(0|[1-9][0-9]{0,3}))?", wish)
    kind, index = match.groups() if match else ("", None)
    if kind == "gpu":
        raise DeviceError(wish, "torch has no device of that name", "Use device='cuda' or 'auto'.")
    if kind == "cpu":
        if index not in (None, "0"):
            raise DeviceError(wish, "there is one cpu device", "Use device='cpu'; see threads=...")
        return torch.device("cpu")
    if kind not in ("cuda", "mps", "xpu"):
        raise DeviceError(wish, "zoo knows auto, cpu, cuda, mps and xpu")
    if found is None or found.type != kind:
        raise DeviceError(wish, f"this build of torch sees no {kind.upper()} device")
    count = torch.accelerator.device_count()
    if index is not None and int(index) >= count:
        last = f"{kind}:{count - 1}"
        raise DeviceError(wish, f"the last one here is {last}", f"Use device={last!r} or {kind!r}.")
    return torch.device(wish)


def describe_device(device: torch.device) -> str:
    """Return a name of the device for records: the model of an accelerator, else its kind."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def choose_threads(work: Work, samples: int, wish: int | None = None, ranks: int = 1) -> int:
    """Return the number of CPU threads for batches of samples: `wish`, else all, or one where the work is small.

    All are as many as torch has, and no more than the cores that this process may use; `ranks` have them in common.
    """
    if wish is not None:
        return wish
    least = CONVOLVED_FLOP if work.is_convolutional else THREAD_FLOP
    return 1 if work.flop * samples < least else max(1, min(torch.get_num_threads(), count_cores() // ranks))


@contextmanager
def use_threads(threads: int | None) -> Iterator[None]:
    """Run the body with this many CPU threads, then restore the caller's number; None leaves the body to choose."""
    before = torch.get_num_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def use_seed(seed: int) -> Iterator[None]:
    """Run the body with all global generators seeded, then restore the caller's random state.

    Those are torch's on the CPU and on every accelerator, Python's, and numpy's, which plugins may use.
    """
    import random

    import numpy

    state = read_generators()
    try:
        torch.manual_seed(seed)
        random.seed(seed)
        numpy.random.seed(seed % 2**32)
        yield
    finally:
        set_generators(state)


def read_generators() -> dict[str, Any]:
    """Return the states of all global random generators as tensors and plain data."""
    import random

    import numpy

    name, keys, *rest = numpy.random.get_state()
    states: dict[str, Any] = {"python": random.getstate(), "numpy": (name, numpy.asarray(keys).tolist(), *rest)}
    states |= {"torch": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all()}
    if torch.backends.mps.is_available():
        states["mps"] = torch.mps.get_rng_state()
    return states


def set_generators(states: Mapping[str, Any]) -> None:
    """Set all global random generators to states that `read_generators` returned, also on a machine with fewer."""
    import random

    import numpy

    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    numpy.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    for index, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, index)
    if "mps" in states and torch.backends.mps.is_available():
        torch.mps.set_rng_state(states["mps"])
