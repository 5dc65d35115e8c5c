"""Library: the calls of a recorded step as machine code, a shared library made ahead by torch's compiler.

It is called once a step, without autograd and without guards. It is kept in a folder under a name that follows from all
that it was made of, so that the next training of the same kind needs neither the compiler nor its import, which takes
seconds. A digest at its end tells that it is whole: part of a library, once it is loaded, would end the process.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import torch
from torch import Tensor

from zoo.errors import StorageError
from zoo.training.compiler import compiling
from zoo.training.graph import UnfitError
from zoo.training.trace import GIVEN, Trace, describe_batch

Library = Callable[..., Sequence[Tensor]]
"""Gives the loss of a batch `(inputs, targets, weight)`, and the gradients in the order of a graph's `ends`."""
OPTIONS = {
    "fallback_random": True,  # random numbers are drawn as an ordinary step draws them
    "aot_inductor.enable_line_tables": False,  # for debuggers, three quarters of the file
    "aot_inductor.precompile_headers": False,  # longer to make than to do without, for a step or two
}
DIGEST = 20
"""Bytes of a digest."""
ELSEWHERE = "Choose another folder for what is compiled with the variable TORCHINDUCTOR_CACHE_DIR"


def open_library(trace: Trace, batch: tuple[Any, ...], folder: Path) -> Library:
    """Return the machine code of a recorded step, made and kept in a folder where it is not there yet.

    Raises:
        UnfitError: it has no place in a library.
        StorageError: the folder cannot be written to.
        Exception: whatever the compiler raises.
    """
    graph = trace.graph
    known = {**trace.tensors, **graph.values, **dict(zip(GIVEN, batch, strict=True))}
    used = {name for _, uses, _ in graph.lines for name in uses}
    names = [name for name in known if name in used]
    path = folder / "steps" / f"{_find_key(trace, batch)}.so"
    code = _read(path)
    if code is None:
        check_folder(path.parent)
        replay = graph.bind({}, names, {}, [graph.result, *graph.ends])
        code = _compile(replay, [known[name] for name in names])
        _write(path, code)
    if not code:
        raise UnfitError("it calls what a library can only find through torch's dispatcher")
    # AOTInductor's own loader in Python imports the compiler.
    runner = torch._C._aoti.AOTIModelContainerRunnerCpu(str(path), 1)
    fixed = [known[name] for name in names if name not in GIVEN]
    places = [GIVEN.index(name) for name in names if name in GIVEN]

    def run(*batch: Any) -> Sequence[Tensor]:
        with torch._C._AutoDispatchBelowAutograd():
            found: Sequence[Tensor] = runner.run([*fixed, *(batch[place] for place in places)])
            return found

    return run


def _compile(replay: Callable[..., Any], tensors: Sequence[Tensor]) -> bytes:
    """Return the library of a function of tensors, nothing where it would call operations by name.

    Torch makes those calls through a reader of its own, which does not know all kinds of arguments.
    """
    with torch.no_grad(), TemporaryDirectory() as folder, compiling():
        from torch._inductor import aot_compile
        from torch.fx.experimental.proxy_tensor import make_fx

        graph = make_fx(replay, tracing_mode="fake")(*tensors)
        path = Path(folder, "step.so")
        aot_compile(graph, tuple(tensors), options={**OPTIONS, "aot_inductor.output_path": str(path)})
        return b"" if [*Path(folder).glob("*.wrapper.json")] else path.read_bytes()


def _read(path: Path) -> bytes | None:
    """Return a library that was kept, None where there is none, or not the whole of it."""
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    code = data[:-DIGEST]
    return code if data[-DIGEST:] == _digest(code) else None


def check_folder(folder: Path) -> None:
    """Prove that what is compiled can be kept in a folder, before it takes seconds; raise StorageError."""
    with _telling(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass


def _write(path: Path, code: bytes) -> None:
    """Keep a library, at once or not at all: another process may look for it."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with _telling(path.parent):
        try:
            with part.open("wb") as file:
                file.write(code + _digest(code))
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


@contextmanager
def _telling(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise StorageError(f"cannot write to {folder}", why, ELSEWHERE) from error


def _digest(data: bytes) -> bytes:
    return blake2b(data, digest_size=DIGEST).digest()


def _find_key(trace: Trace, batch: tuple[Any, ...]) -> str:
    """Return a name for all that machine code follows from: the calls, what they are made with, torch, the machine."""
    lay = {name: (each.shape, each.stride(), each.dtype, each.requires_grad) for name, each in trace.tensors.items()}
    types = [each.dtype for each in batch if isinstance(each, Tensor)]
    versions = torch.__version__, torch.version.git_version, sorted(OPTIONS.items())
    machine = platform.platform(), _read_processor(), torch.get_num_threads()
    text = repr([trace.graph.describe(), lay, describe_batch(*batch), types, versions, machine])
    return _digest(text.encode()).hex()


def _read_processor() -> str:
    """Return what tells which instructions the processor has: code for more of them would end the process."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")
