"""Rebuilding: what torch does differently while a model is built whose tensors all come from a file."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from zoo.errors import WeightsError

init = nn.init
FILLERS = {
    *(Tensor.uniform_, Tensor.normal_, init.uniform_, init.normal_, init.trunc_normal_),
    *(init.kaiming_uniform_, init.kaiming_normal_, init.xavier_uniform_, init.xavier_normal_),
}
"""What fills a tensor with random numbers."""
MAKERS = {
    *(torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.randint, torch.randperm),
    *(torch.arange, torch.linspace, torch.logspace, torch.eye, torch.empty_strided, torch.hann_window),
}
"""What makes a tensor out of nothing but sizes."""


class Rebuilding(TorchFunctionMode):
    """Skips filling parameters with random numbers, and bounds what a model may ask memory for.

    All parameters are in the file and will be overwritten; a buffer may be missing there, so it is filled. A file of a
    few bytes can name params that make a model of any size: each size is found out before there is such a tensor.

    Args:
        where: What errors call the file.
        most: Bytes that the tensors made may have together.

    Raises:
        WeightsError: from within the model's factory, where it asks for more.
    """

    def __init__(self, where: object, most: int) -> None:
        super().__init__()
        self.where, self.most, self.asked = where, most, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do what torch would do, or less."""
        given = kwargs or {}
        if func in FILLERS:
            filled = args[0] if args else given.get("tensor")
            if isinstance(filled, nn.Parameter):
                return filled
        elif func in MAKERS:
            self._count(func, args, given)
        return func(*args, **given)

    def _count(self, func: Any, args: Any, given: dict[str, Any]) -> None:
        try:
            # A tensor without memory, on torch's device of that name, says how large the real one will be.
            made = func(
                *args, **{key: value for key, value in given.items() if key != "generator"} | {"device": "meta"}
            )
        except Exception:  # noqa: BLE001 the real one will raise the same, or has a form that this device does not know
            return
        self.asked += made.nbytes
        if self.asked > self.most:
            why = (
                f"its model asks for {self.asked / 1e6:,.1f} MB of memory, at most {self.most / 1e6:,.1f} MB are right"
            )
            raise WeightsError(f"{self.where} does not fit its model", f"{why} for the tensors in the file")
