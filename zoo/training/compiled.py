"""Compiled: forward, loss and backward of a training step as machine code, made by torch's compiler.

The compiler fuses operations and adds in another order, so the bits are not those of an ordinary step. They are the
same each time on one machine, and random numbers are those that an ordinary step draws.

A step that can be recorded, as a captured one is, becomes a library of its own; any other is given to `torch.compile`.
"""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import SettingError, StorageError, describe, quote
from zoo.registry.settings import TrainConfig
from zoo.training.compiler import compiling
from zoo.training.graph import UnfitError
from zoo.training.library import Library, check_folder, open_library
from zoo.training.trace import DETAIL, describe_batch, describe_model, trace_step

log = logging.getLogger("zoo")

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""The variable that says where the compiler keeps what it made."""
RECURSION = 2000
"""How deep calls may go: the compiler sets this limit itself where it is lower, and leaves it so."""
PROGRAMS = {"darwin": "clang++", "win32": "cl"}
"""The C++ compiler that torch uses where the variable CXX names none, and elsewhere g++."""


def check_compiler(config: TrainConfig, device: torch.device) -> None:
    """Refuse to compile where that cannot be done; raise SettingError."""
    if not config.compile:
        return
    if config.precision == "fp16":
        raise SettingError("compile", "the scale of fp16 changes from step to step", fix="Use precision='bf16'")
    if device.type != "cpu":
        return
    named = os.environ.get("CXX", PROGRAMS.get(sys.platform, "g++"))
    question = "/help" if sys.platform == "win32" else "-dumpversion"
    try:
        subprocess.run([*shlex.split(named), question], capture_output=True, check=True)
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        there = "there is none" if isinstance(error, FileNotFoundError) else f"{quote(named)} does not run"
        fix = "Install g++ or clang++, or name one in the variable CXX, or leave it out"
        raise SettingError("compile", f"needs a C++ compiler, and {there}", fix=fix) from error


@contextmanager
def use_compiler(folder: Path | None) -> Iterator[None]:
    """Run the body with what torch's compiler needs for a compiled step, then restore what the caller had.

    What it makes is kept in a folder, unless a variable names a place; None does nothing. Torch's warnings, of machines
    without CUDA and of operations that have no place in a library, are kept back.
    """
    if folder is None:
        yield
        return
    given, limit = os.environ.get(FOLDER), sys.getrecursionlimit()
    logger = logging.getLogger("torch")
    level = logger.level
    os.environ[FOLDER] = given or str(folder)
    sys.setrecursionlimit(max(limit, RECURSION))
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        sys.setrecursionlimit(limit)
        if given is None:
            del os.environ[FOLDER]


class Compiled:
    """Differentiates full batches by machine code, and others, as the last one of an epoch, in the ordinary way.

    `run` adds the gradients of a batch to those of a model's parameters and gives its mean loss. `measure` gives the
    mean loss of a batch, and what is differentiated. `declared` is what the spec of the model says: True vouches for it
    where the step is recorded, False forbids that, None leaves it to the code. The first full batch waits for the
    compiler, within `use_compiler`.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_function: Any,
        run: Callable[..., Tensor],
        measure: Callable[..., tuple[Tensor, Tensor]],
        batch_size: int,
        declared: bool | None,
    ) -> None:
        self.model, self.loss_function, self.run, self.measure = model, loss_function, run, measure
        self.batch_size, self.declared = batch_size, declared
        self.trained: Sequence[Tensor] = []
        """The parameters whose gradients the code gives, in its order."""
        self.code: Library | None = None
        self.form: Any = None
        """That of batches which the code is for; `state` is that of the model."""
        self.state = list[Any]()
        self.whole: Library | None = None
        """What `torch.compile` makes, once there was no library."""

    def start(self, epoch: int, left: int, steps: int) -> None:
        """Begin an epoch, in which other parameters may want a gradient, and the model may do another thing."""
        self.code = None

    def __call__(self, inputs: Tensor, targets: Tensor, weight: Any = 1) -> Tensor:
        """Add the gradients of a batch to those of the parameters; return its mean loss.

        Raises:
            SettingError: the step cannot be compiled.
            StorageError: what is compiled cannot be kept.
        """
        full = len(inputs) == self.batch_size
        if full and self.code is None:
            self.form, self.state = describe_batch(inputs, targets, weight), describe_model(self.model)
            self.code = self._find_code(inputs, targets, weight)
        if not full or self.code is None or describe_batch(inputs, targets, weight) != self.form:
            loss = self.run(self.model, inputs, targets, weight)
            if describe_model(self.model) != self.state:
                self.code = None  # what another kind of batch has changed shows in the steps after it
            return loss
        loss, *gradients = self.code(inputs, targets, weight)
        for parameter, gradient in zip(self.trained, gradients, strict=True):
            if parameter.grad is None:
                parameter.grad = gradient
            elif gradient is not None:
                parameter.grad += gradient
        return loss

    def _find_code(self, *batch: Any) -> Library:
        """Return the machine code of a step: it is recorded anew, and code made where there is none of these calls."""
        if self.whole is None:
            try:
                if self.declared is False or batch[0].device.type != "cpu":
                    raise UnfitError("its author forbids it, or it does not run on a CPU")
                trace = trace_step(self.model, self.loss_function, self.run, batch, declared=self.declared)
                code = open_library(trace, batch, Path(os.environ[FOLDER]))
                self.trained = [trace.tensors[name] for name in trace.graph.ends.values()]
                return code
            except StorageError:
                raise
            except Exception as reason:  # noqa: BLE001 torch.compile does it, or tells why it cannot be done
                log.log(DETAIL, "the compiled step is left to torch.compile: %s", describe(reason))
        trained = [each for each in self.model.parameters() if each.requires_grad]
        if self.whole is None or list(map(id, trained)) != list(map(id, self.trained)):
            self.trained, self.whole = trained, self._compile(trained)
        return self.whole

    def _compile(self, trained: Sequence[Tensor]) -> Library:
        """Return what compiles itself when it is first called, and again where the model has changed."""
        check_folder(Path(os.environ[FOLDER]))
        import torch._dynamo
        from torch._dynamo.exc import TorchDynamoException

        measure = self.measure

        def differentiate(inputs: Tensor, targets: Tensor, weight: Any) -> Sequence[Tensor | None]:
            loss, weighted = measure(inputs, targets, weight)
            return loss.detach(), *torch.autograd.grad(weighted, trained, allow_unused=True)

        # Random numbers are drawn as an ordinary step draws them.
        compiled = torch.compile(differentiate, fullgraph=True, dynamic=False, options={"fallback_random": True})

        is_new = True

        def run(*batch: Any) -> Any:
            nonlocal is_new
            try:
                # Else the backward pass is left to autograd.
                with torch._dynamo.config.patch(trace_autograd_ops=True), compiling() if is_new else nullcontext():
                    found = compiled(*batch)
                    is_new = False
                    return found
            except TorchDynamoException as error:
                told = describe(error).partition(" Set TORCHDYNAMO_VERBOSE")[0]
                why = f"the step of this model cannot be compiled: {told}"
                raise SettingError("compile", why, fix="Leave it out") from error

        return run
