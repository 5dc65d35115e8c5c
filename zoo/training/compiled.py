"""Compiled: forward, loss and backward of a training step as machine code, made by torch's compiler.

The compiler fuses operations and adds in another order, so the bits are not those of an ordinary step. They are the
same each time on one machine, and random numbers are those that an ordinary step draws.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import SettingError, describe
from zoo.registry.settings import TrainConfig

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""The variable that says where the compiler keeps what it made."""
RECURSION = 2000
"""How deep calls may go: the compiler sets this limit itself where it is lower, and leaves it so."""


def check_compiler(config: TrainConfig, device: torch.device) -> None:
    """Refuse to compile where that cannot be done; raise SettingError."""
    if not config.compile:
        return
    if config.precision == "fp16":
        raise SettingError("compile", "the scale of fp16 changes from step to step", fix="Use precision='bf16'")
    if device.type != "cpu":
        return
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except (InvalidCxxCompiler, OSError) as error:
        fix = "Install g++ or clang++, or name one in the variable CXX, or leave it out"
        raise SettingError("compile", "needs a C++ compiler, and there is none", fix=fix) from error


@contextmanager
def use_compiler(folder: Path | None) -> Iterator[None]:
    """Run the body with torch's compiler as a compiled step needs it, then restore what the caller had.

    What it makes is kept in a folder, unless a variable names a place; None does nothing.
    """
    if folder is None:
        yield
        return
    import torch._dynamo

    given, limit = os.environ.get(FOLDER), sys.getrecursionlimit()
    os.environ[FOLDER] = given or str(folder)
    sys.setrecursionlimit(max(limit, RECURSION))
    try:
        with torch._dynamo.config.patch(trace_autograd_ops=True):  # else the backward pass is left to autograd
            yield
    finally:
        sys.setrecursionlimit(limit)
        if given is None:
            del os.environ[FOLDER]


class Compiled:
    """Differentiates full batches by machine code, and others, as the last one of an epoch, in the ordinary way.

    `run` adds the gradients of a batch to those of the parameters and gives its mean loss. `measure` gives the mean
    loss of a batch, and what is differentiated. The first full batch waits for the compiler, within `use_compiler`.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        measure: Callable[..., tuple[Tensor, Tensor]],
        run: Callable[..., Tensor],
        batch_size: int,
    ) -> None:
        from torch._dynamo.exc import TorchDynamoException

        self.errors = TorchDynamoException
        self.parameters, self.measure, self.run, self.batch_size = parameters, measure, run, batch_size
        self.trained: list[nn.Parameter] = []
        self.code: Callable[..., tuple[Tensor, Sequence[Tensor | None]]] | None = None

    def start(self, epoch: int, left: int, steps: int) -> None:
        """Begin an epoch, in which other parameters may want a gradient than before."""
        trained = [parameter for parameter in self.parameters if parameter.requires_grad]
        if self.code is None or list(map(id, trained)) != list(map(id, self.trained)):
            self.trained = trained
            self.code = self._compile(trained)

    def __call__(self, inputs: Tensor, targets: Tensor, weight: Any = 1) -> Tensor:
        """Add the gradients of a batch to those of the parameters; return its mean loss.

        Raises:
            SettingError: the step cannot be compiled.
        """
        if len(inputs) != self.batch_size or self.code is None:
            return self.run(inputs, targets, weight)
        try:
            loss, gradients = self.code(inputs, targets, weight)
        except self.errors as error:
            why = f"the step of this model cannot be compiled: {describe(error)}"
            raise SettingError("compile", why, fix="Leave it out") from error
        for parameter, gradient in zip(self.trained, gradients, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient
            elif gradient is not None:
                parameter.grad += gradient
        return loss

    def _compile(self, trained: Sequence[nn.Parameter]) -> Any:
        """Return what compiles itself when it is first called, and again where the model has changed."""
        measure = self.measure

        def differentiate(inputs: Tensor, targets: Tensor, weight: Any) -> tuple[Tensor, Sequence[Tensor | None]]:
            loss, weighted = measure(inputs, targets, weight)
            return loss.detach(), torch.autograd.grad(weighted, trained, allow_unused=True)

        # Random numbers are drawn as an ordinary step draws them.
        return torch.compile(differentiate, fullgraph=True, dynamic=False, options={"fallback_random": True})
