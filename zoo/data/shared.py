"""Shared memory: where worker processes leave their batches, and whether there is enough of it.

What does not fit there is lost in a thread of torch's: the worker goes on, and whoever waits for the batch waits for
ever. So each batch is measured before it is handed over, and the first one stands for all that may lie there at once.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from zoo.data.reader import Batch, BatchReader, Failure
from zoo.data.workers import count_cores
from zoo.errors import WorkerError, quote

FOLDER = Path("/dev/shm")
"""Where Linux has it; containers often have 64 MB of it."""
AHEAD = 2
"""Batches that torch lets each worker make ahead, and batches that the main process may hold at a time."""


class Shortage:
    """A batch for which there was too little shared memory, as a value; see `Failure`."""

    def __init__(self, needed: int, there: int) -> None:
        self.needed, self.there = needed, there

    def tell(self, dataset: str) -> WorkerError:
        """Return the error that it is to the user."""
        what = f"dataset {quote(dataset)}: its workers need {self.needed / 1e6:.1f} MB of shared memory"
        why = f"{FOLDER} has {self.there / 1e6:.1f} MB free"
        return WorkerError(what, why, "Use fewer workers=... (0 needs none) or a smaller batch_size=..., or enlarge it")


def find_free() -> int | None:
    """Return the bytes of shared memory that are free, None on systems that have no limit or tell none."""
    try:
        there = os.statvfs(FOLDER)
    except (OSError, AttributeError):
        return None
    return there.f_bavail * there.f_frsize


def choose_workers(size: int, ranks: int = 1) -> int:
    """Return how many processes are to read batches of so many bytes: one for each core, as far as memory is shared.

    One core reads for itself. So many `ranks` have the cores of this machine in common.
    """
    cores, free = count_cores() // ranks, find_free()
    if free is not None:
        cores = min(cores, free // max(1, size) // AHEAD - 2)
    return cores if cores > 1 else 0


class SharedReader(Dataset[Any]):
    """A reader whose batches go through shared memory where workers read them.

    `free` is what was free before there was any worker; whoever starts them sets it.
    """

    def __init__(self, reader: BatchReader) -> None:
        self.reader = reader
        self.free: int | None = None

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, indices: list[int]) -> Batch | Failure | Shortage:
        batch, worker = self.reader[indices], get_worker_info()
        if worker is None or self.free is None or isinstance(batch, Failure):
            return batch
        return measure_shortage(batch, worker.num_workers, self.free) or batch


def measure_shortage(batch: Batch, workers: int, free: int) -> Shortage | None:
    """Return what is lacking for so many workers to hand over batches such as this one, None where nothing is.

    `free` is what was free before there was any worker.
    """
    size = sum(map(_count_bytes, batch))
    if (needed := size * (AHEAD * workers + AHEAD)) > free:
        return Shortage(needed, free)
    # Others may have taken what was free.
    there = find_free()
    return None if there is None or size <= there else Shortage(size, there)


def _count_bytes(tensor: Tensor) -> int:
    """Return what a tensor takes there: whole pages."""
    page = 4096
    return -(-tensor.nbytes // page) * page
