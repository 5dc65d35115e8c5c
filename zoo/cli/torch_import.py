"""The import of torch: announced, and with what must be said of threads and memory before it."""

from __future__ import annotations

import gc
import os
import sys

from zoo.cli.output import show_status

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""What glibc calls, in its `mallopt`, how much it keeps, and from which size on it asks the system for each piece."""
KEPT = 256 << 20
"""Bytes for both: more than nearly all tensors of a step have."""
SPINS = 10_000
"""Looks of a waiting thread before it gives up its core, some half a millisecond: longer than threads of a step wait
for each other on an idle machine, and much shorter than the time slice of a busy neighbour (benchmarks/waiting.py)."""


def prepare_for_torch() -> None:
    """Say that torch, which takes seconds, is being imported, and let its waiting CPU threads give up their core soon.

    The OpenMP library of torch's Linux builds looks 300,000 times by itself, for its whole time slice where a neighbour
    is busy; two threads can then take many times as long as one. It reads this when torch is imported.
    """
    show_status("starting torch ...")
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    _keep_memory()


def _keep_memory() -> None:
    """Let the C library keep freed memory for the next tensor, where it is glibc and the environment does not say.

    It gives larger pieces back to the system, which makes each step get its memory anew, page by page: up to three
    quarters of the time of an operation as simple as relu (benchmarks/layout.py). The most memory that is ever held
    stays the same.
    """
    import ctypes

    if not sys.platform.startswith("linux") or any(name.startswith(("MALLOC_", "GLIBC_")) for name in os.environ):
        return
    if (tune := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        for parameter in (TRIM_THRESHOLD, MMAP_THRESHOLD):
            tune(parameter, KEPT)


def load_torch() -> None:
    """Import torch, for a command that is certain to need it.

    Nothing that is imported is garbage, so none is looked for meanwhile: that takes a seventh of the time.
    """
    prepare_for_torch()
    if "torch" in sys.modules or not gc.isenabled():
        return
    gc.disable()
    try:
        import torch  # noqa: F401
    finally:
        gc.enable()
