"""The CUDA graph: what a function launches on a device, recorded, and launched again by one call of the host."""

from __future__ import annotations

from collections.abc import Callable
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
        with torch.cuda.device(device):
            self.graph, self.stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run the function on the stream on which it is recorded."""
        outside = torch.cuda.current_stream(self.stream.device)
        self.stream.wait_stream(outside)
        with torch.cuda.stream(self.stream):
            run()
        outside.wait_stream(self.stream)

    def record(self, run: Callable[[], None]) -> None:
        """Record the function. Torch registers the generator of the device, so that each replay draws anew."""
        with torch.cuda.graph(self.graph, stream=self.stream, capture_error_mode="thread_local"):
            run()

    def replay(self) -> None:
        """Launch what was recorded on the current stream."""
        self.graph.replay()
