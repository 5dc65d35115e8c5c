"""A guard against reading values back from a device, which an accelerator would make the program wait for."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class NoReading(TorchDispatchMode):
    """Fails when a value is read back, for which an accelerator would have to be waited for."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function is not torch.ops.aten._local_scalar_dense.default, "a value was read"
        return function(*args, **(kwargs or {}))
