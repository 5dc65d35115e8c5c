"""Weights files changed by hand, and how reading one must refuse it."""

from __future__ import annotations

import json

import pytest
import safetensors.torch
import torch

from zoo.errors import WeightsError
from zoo.records.header import read_header

# What safetensors has a name for.
DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.uint16,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.complex64,
]


def refuse(read, *arguments):
    with pytest.raises(WeightsError) as caught:
        read(*arguments)
    assert caught.value.exit_code == 4
    assert str(caught.value).isprintable(), "one line without control characters"
    return str(caught.value)


def rewrite(path, change_tensors=lambda tensors: None, change_metadata=lambda metadata: None):
    """Change a weights file and write it anew with plain safetensors."""
    metadata = read_header(path).metadata
    tensors = dict(safetensors.torch.load_file(path, backend="pread"))
    change_tensors(tensors)
    change_metadata(metadata)
    safetensors.torch.save_file(tensors, path, metadata={"zoo": json.dumps(metadata)})
