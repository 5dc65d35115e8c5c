"""The CUDA graph: what a function launches on a device, recorded, and launched again by one call of the host."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Protocol

import torch

from zoo.training.graph import UnfitError


class Recorder(Protocol):
    """Records what a function launches on a device, without running it, and launches it again."""

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run the function where it is to be recorded."""

    def record(self, run: Callable[[], None]) -> None:
        """Record the function, which reads no value from the device."""

    def replay(self) -> None:
        """Launch what was recorded; random numbers go on from where they are."""


class CudaGraph:
    """A graph of a CUDA device, in memory of its own; the recording hears of no other thread.

    Raises:
        UnfitError: the memory that a step takes may not be there a second time.
    """

    def __init__(self, device: torch.device) -> None:
        if torch.cuda.max_memory_reserved(device) > torch.cuda.mem_get_info(device)[0]:
            raise UnfitError("the memory that a step takes may not be there a second time")
        self.graph, self.stream = torch.cuda.CUDAGraph(), _find_stream(device)

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run the function on the stream on which it is recorded; raise RuntimeError where the host has to wait.

        To wait while it is recorded would spoil more than the recording.
        """
        outside = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(outside)
        with torch.cuda.stream(self.stream), _forbid_waiting():
            run()
        outside.wait_stream(self.stream)

    def record(self, run: Callable[[], None]) -> None:
        """Record the function. Torch registers the generator of the device, so that each replay draws anew.

        A recording that fails leaves two things as they were within it: the current stream, and before torch 2.14 the
        generator, which would then refuse to draw. Both are put back.
        """
        generator = torch.cuda.default_generators[self.stream.device.index]
        drawing = generator.clone_state()
        with torch.cuda.stream(self.stream):  # leaves it also where the recording does not
            try:
                with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
                    run()
            except BaseException:
                generator.graphsafe_set_state(drawing)
                raise

    def replay(self) -> None:
        """Launch what was recorded on the current stream."""
        self.graph.replay()


@cache
def _find_stream(device: torch.device) -> torch.cuda.Stream:
    """Return the stream on which all graphs of a device are recorded; cuBLAS keeps memory for each that it sees."""
    return torch.cuda.Stream(device)


@contextmanager
def _forbid_waiting() -> Iterator[None]:
    """Let torch raise RuntimeError in the body where the host would wait for a device, as far as torch sees it."""
    before = torch.cuda.get_sync_debug_mode()
    with warnings.catch_warnings(action="ignore"):  # that torch does not see each of them
        torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode(before)
