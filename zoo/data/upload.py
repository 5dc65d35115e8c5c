"""Upload: tensors brought from the machine's memory to a device while the program goes on."""

from __future__ import annotations

import torch
from torch import Tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device. CUDA copies only pinned memory in the background, so it goes by way of that."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()  # torch keeps it until the copy is made
    return tensor.to(device, non_blocking=True)
