"""A device that is not there: its tensors lie in the memory of the machine, and whoever waits for it is found.

Torch takes it for an accelerator called "far". Tensors of both devices in one call are an error, as they are on a GPU;
and while a watch is kept, so is every call after which the host would have to wait: a value that is read, a shape that
follows from values, a copy between host and device that does not go on in the background. What else makes a GPU wait,
in kernels of its own, cannot be seen so.
"""

from __future__ import annotations

import torch
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from zoo.training.graph import PlainMode

READING = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
COPYING = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
FAR = "far"


class Waits(Exception):
    """The host would wait for the device."""


class Far(torch.Tensor):
    """A tensor of the device, with the one that holds its values as `near`."""

    @staticmethod
    def __new__(cls, near):
        form = {"strides": near.stride(), "storage_offset": near.storage_offset(), "dtype": near.dtype}
        with torch.inference_mode(mode=False):
            made = torch.Tensor._make_wrapper_subclass(cls, near.shape, **form, device=torch.device(FAR, 0))
        made.near = near
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return call(func, args, kwargs or {})

    def tolist(self):
        return self.cpu().tolist()


class Device(PlainMode):
    """Makes tensors on the device in its body, and keeps a watch while `watching`."""

    watching = False
    calls, moved = 0, 0
    """Calls that were made under a watch, and the bytes that they copied between host and device."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return call(func, args, kwargs or {})


def call(func, args, kwargs):
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, torch.Tensor)]
    far = [each for each in given if isinstance(each, Far)]
    place = kwargs.get("device")
    target = bool(far) if place is None else torch.device(place).type == FAR
    crossing = func in COPYING and (target != bool(far) or 0 < len(far) < len(given))
    # A single number of the host may stand beside tensors of the device.
    if far and not crossing and any(each.ndim for each in given if not isinstance(each, Far)):
        raise RuntimeError(f"{func}: tensors of two devices")
    if Device.watching:
        Device.calls += 1
        picks = func._schema.name.startswith("aten::index")
        # What is picked by numbers has a known shape, by a mask it has not; torch marks both alike.
        reads = any(each.dtype == torch.bool for each in given[1:]) if picks else READING & set(func.tags)
        moves = crossing and not (kwargs.get("non_blocking") or True in args[2:3])
        Device.moved += given[-1].nbytes if crossing else 0
        if (far and reads) or moves:
            raise Waits(str(func))
    known = {id(each.near): each for each in far}
    results = func(*tree_map(to_near, args), **tree_map(to_near, kwargs))

    def to_far(value):
        return value if not isinstance(value, torch.Tensor) else known[id(value)] if id(value) in known else Far(value)

    return tree_map(to_far, results) if target else results


def to_near(value):
    if isinstance(value, Far):
        return value.near
    return torch.device("cpu") if isinstance(value, torch.device) else value


def set_up():
    """Let torch know the device, for the rest of the process, before the first backward pass."""
    _setup_privateuseone_for_python_backend(FAR)
    del torch.nn.Module.far  # or no layer would be as torch made it, and no step captured
    torch.__future__.set_swap_module_params_on_conversion(True)
    return torch.device(FAR, 0)
