"""TF32: the floats of ten bits in which a CUDA device can multiply matrices and convolve, in float32 outside of it.

Unless it is told otherwise torch convolves in it, and multiplies matrices in float32. Here both are done in what is
asked for: a training in TF32 where its settings say so; any other, evaluation and prediction in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def use_tf32(wanted: bool) -> Iterator[None]:
    """Run the body with matrix products and convolutions of CUDA in TF32, or without that convolutions are; then
    restore what the caller had.

    torch has two ways to say it: the precision of all matrix products and a flag of cuDNN, and a precision for each
    operation of a backend. Who reads one after the other was set gets an error, `torch.backends.cudnn.flags` in the
    forward pass of a model say, so both are set, and both are restored. Products that the caller wants in TF32 stay so.
    """
    backends: Any = torch.backends
    products = (backends.cuda.matmul, backends.mkldnn.matmul) if wanted else ()
    operations = (*products, backends.cudnn.conv, backends.cudnn.rnn)
    before = [operation.fp32_precision for operation in operations]
    whole, flag = _read_whole(), _read_flag()
    if wanted:
        torch.set_float32_matmul_precision("high")
    backends.cudnn.allow_tf32 = wanted
    for operation in operations[len(products) :]:
        operation.fp32_precision = "tf32" if wanted else "ieee"
    try:
        yield
    finally:
        if wanted:
            torch.set_float32_matmul_precision(whole)
        backends.cudnn.allow_tf32 = flag
        for operation, precision in zip(operations, before, strict=True):
            operation.fp32_precision = precision


def _read_whole() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # a backend has one of its own, which is restored as well
        return "highest"


def _read_flag() -> bool:
    """Return the flag of cuDNN, which torch tells only while its operations have what it says; leave those in TF32."""
    cudnn: Any = torch.backends.cudnn
    cudnn.conv.fp32_precision = cudnn.rnn.fp32_precision = "tf32"
    try:
        return bool(cudnn.allow_tf32)
    except RuntimeError:
        return False
