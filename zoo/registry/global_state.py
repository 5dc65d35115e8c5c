"""Global state of the process, which plugins must leave as it is: read, compared and put back.

What is here changes the work of others: where files go, how numbers are made, what Ctrl-C does, who hears a warning.
Not here is what a library may well change for itself: filters of warnings, `sys.path`, variables that zoo and torch do
not read.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zoo.errors import one_line

log = logging.getLogger("zoo")

Part = tuple[Callable[[], Any], Callable[[Any], Any]]
"""The function that reads a part of the state, and the one that sets it."""

OWN = ("CUDA_MODULE_LOADING",)
"""Variables of those that torch sets itself, when it first uses a device."""
SHOWN = 60
"""Characters of a value that a message shows."""
PREFIXES = ("ZOO_", "OMP_", "MKL_", "GOMP_", "CUDA_", "CUBLAS_", "TORCH_", "PYTORCH_")
"""Variables that zoo and torch read begin like this."""
GIVEN = frozenset(os.environ)
"""Variables that the process was given. Others, but those above, a library may add for its own use."""
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _read_folder() -> str | None:
    with suppress(OSError):  # the folder may be gone
        return str(Path.cwd())
    return None


def _set_folder(path: str | None) -> None:
    if path is not None:
        os.chdir(path)


def _read_variables() -> dict[str, str]:
    variables = os.environ.items()
    return {key: value for key, value in variables if key in GIVEN or (key.startswith(PREFIXES) and key not in OWN)}


def _set_variables(values: Mapping[str, str]) -> None:
    for name in _read_variables().keys() - values.keys():
        del os.environ[name]
    os.environ.update(values)


def _set_handlers(handlers: Mapping[int, Any]) -> None:
    # Only the main thread may set handlers, and none that C code has set.
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)


def _read_log() -> tuple[Any, ...]:
    return log.disabled, log.level, log.propagate, tuple(log.handlers), logging.root.manager.disable


def _set_log(values: tuple[Any, ...]) -> None:
    log.disabled, log.propagate, log.handlers = values[0], values[2], list(values[3])
    log.setLevel(values[1])
    logging.disable(values[4])


def _set_streams(streams: tuple[Any, ...]) -> None:
    sys.stdout, sys.stderr, sys.excepthook = streams


PARTS: dict[str, Part] = {
    "current folder": (_read_folder, _set_folder),
    "environment": (_read_variables, _set_variables),
    "signal handlers": (lambda: {number: signal.getsignal(number) for number in SIGNALS}, _set_handlers),
    "log of zoo": (_read_log, _set_log),
    "standard streams": (lambda: (sys.stdout, sys.stderr, sys.excepthook), _set_streams),
    "recursion limit": (sys.getrecursionlimit, sys.setrecursionlimit),
}
"""What every process has."""


def _list_parts() -> dict[str, Part]:
    """Return the parts of the state that this process has, by name: those of libraries only once they are imported."""
    return {
        **PARTS,
        **(_list_locale() if "locale" in sys.modules else {}),
        **(_list_multiprocessing() if "multiprocessing" in sys.modules else {}),
        **(_list_torch() if hasattr(sys.modules.get("torch"), "use_deterministic_algorithms") else {}),
    }


def _list_locale() -> dict[str, Part]:
    import locale

    return {"locale": (lambda: locale.setlocale(locale.LC_ALL), lambda value: locale.setlocale(locale.LC_ALL, value))}


def _list_multiprocessing() -> dict[str, Part]:
    import multiprocessing

    def read() -> str:
        # Starting workers settles on the default for good, which changes nothing.
        return multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]

    return {"start method of processes": (read, lambda value: multiprocessing.set_start_method(value, force=True))}


def _list_torch() -> dict[str, Part]:
    import torch
    from torch.backends import cudnn

    def set_device(device: torch.device) -> None:
        # With None instead of cpu torch removes its device mode, through which every call would otherwise pass.
        torch.set_default_device(None if device.type == "cpu" else device)

    def set_deterministic(values: tuple[bool, bool]) -> None:
        torch.use_deterministic_algorithms(values[0], warn_only=values[1])

    def read_deterministic() -> tuple[bool, bool]:
        return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()

    def set_cudnn(values: tuple[bool, bool, bool]) -> None:
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic = values

    backends: Any = torch.backends

    def read_products() -> str:
        try:
            return torch.get_float32_matmul_precision()
        except RuntimeError:  # backends have been set one by one
            return f"{backends.cuda.matmul.fp32_precision} {backends.mkldnn.matmul.fp32_precision}"

    def set_products(value: str) -> None:
        if value in ("highest", "high", "medium"):
            torch.set_float32_matmul_precision(value)
        else:
            backends.cuda.matmul.fp32_precision, backends.mkldnn.matmul.fp32_precision = value.split()

    def set_autocast(values: Mapping[str, bool]) -> None:
        for device, value in values.items():
            torch.set_autocast_enabled(device, value)

    return {
        "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
        "default device": (torch.get_default_device, set_device),
        "thread count": (torch.get_num_threads, torch.set_num_threads),
        "gradient mode": (torch.is_grad_enabled, torch.set_grad_enabled),
        "anomaly mode": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
        "deterministic mode": (read_deterministic, set_deterministic),
        "matmul precision": (read_products, set_products),
        "cuDNN mode": (lambda: (cudnn.enabled, cudnn.benchmark, cudnn.deterministic), set_cudnn),
        "autocast": (lambda: {kind: torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")}, set_autocast),
        "seed of torch": (torch.initial_seed, torch.manual_seed),
    }


def _get_torch_defaults() -> dict[str, Any]:
    import torch

    return {
        "default dtype": torch.float32,
        "default device": torch.device("cpu"),
        "gradient mode": True,
        "anomaly mode": False,
        "deterministic mode": (False, False),
        "matmul precision": "highest",
        "cuDNN mode": (True, False, False),
        "autocast": {"cpu": False, "cuda": False},
    }


def read_state() -> dict[str, Any]:
    """Return the global state as it is, by part."""
    return {name: read() for name, (read, _) in _list_parts().items()}


def put_back(before: Mapping[str, Any]) -> dict[str, str]:
    """Put back the parts that are no longer as `read_state` found them; return each change in words.

    Those of torch, if it was imported since, become what they are at its import.
    """
    changed: dict[str, str] = {}
    if "default dtype" not in before and "torch" in sys.modules:
        before = {**_get_torch_defaults(), **before}
    for name, (read, write) in _list_parts().items():
        if name in before and (after := read()) != before[name]:
            changed[name] = _describe(name, before[name], after)
            with suppress(OSError):  # the folder may be gone
                write(before[name])
    return changed


def _describe(name: str, before: Any, after: Any) -> str:
    """Return a change in words."""
    if name == "environment":
        names = sorted(key for key in {**before, **after} if before.get(key) != after.get(key))
        return f"environment ({', '.join(map(one_line, names))[:SHOWN]})"
    if name == "signal handlers":
        numbers = [number for number in before if before[number] != after[number]]
        return f"signal handlers ({', '.join(signal.Signals(number).name for number in numbers)})"
    if name in ("log of zoo", "standard streams"):
        return name
    return f"{name} ({one_line(str(before))[:SHOWN]} to {one_line(str(after))[:SHOWN]})"


_keepers: list[dict[str, str]] = []


@contextmanager
def keep_state() -> Iterator[dict[str, str]]:
    """Put back what the body changes; afterwards the yielded dict describes each change, also those put back inside."""
    before, changed = read_state(), dict[str, str]()
    _keepers.append(changed)
    try:
        yield changed
    finally:
        _keepers.pop()
        changed.update(put_back(before))
        for outer in _keepers:
            outer.update(changed)


@contextmanager
def restore_after_errors() -> Iterator[None]:
    """Put back what the body has changed when it fails: its error ends the work before anybody looks at the state."""
    before = read_state()
    try:
        yield
    except BaseException:
        put_back(before)
        raise


@contextmanager
def guard_state(who: str, when: str, told: set[str]) -> Iterator[None]:
    """Put back what the body changes and warn of it; see `warn_of_changes`."""
    with keep_state() as changed:
        yield
    warn_of_changes(changed, who, when, told)


def warn_of_changes(changed: Mapping[str, str], who: str, when: str, told: set[str]) -> None:
    """Warn of what was put back; `told` keeps which parts this culprit was named for, so that it is once for each.

    In the body of `keep_state` nothing is said: whoever keeps the state is told there.
    """
    if (new := [name for name in changed if name not in told]) and not _keepers:
        told.update(new)
        log.warning("%s changed the %s %s; it is put back", who, ", the ".join(changed[name] for name in new), when)


@contextmanager
def keep_generators() -> Iterator[None]:
    """Put back the states of the random generators, those of the caller, that are there already."""
    torch, numpy, random = (sys.modules.get(name) for name in ("torch", "numpy", "random"))
    # A library that is being imported has no such functions yet.
    pairs = [
        (getattr(torch, "get_rng_state", None), getattr(torch, "set_rng_state", None)),
        (
            getattr(getattr(numpy, "random", None), "get_state", None),
            getattr(getattr(numpy, "random", None), "set_state", None),
        ),
        (getattr(random, "getstate", None), getattr(random, "setstate", None)),
    ]
    states = [(write, read()) for read, write in pairs if read and write]
    try:
        yield
    finally:
        for write, state in states:
            write(state)
