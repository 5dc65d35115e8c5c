"""Average: an exponential moving average of the weights that a training goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from zoo.models.state import as_state_dict


class Average:
    """A second model whose parameters are `decay` times what they were, plus the rest of those of the trained one.

    It takes the memory of the model once more, and a pass over the parameters at each update. The running mean and
    variance of normalisation are averaged alike: those of the trained weights do not fit averaged ones. All other
    buffers are copied, so that an index stays a whole number and a mask keeps its infinities.
    """

    def __init__(self, trained: nn.Module, decay: float) -> None:
        self.trained, self.decay = trained, decay
        self.averaged = AveragedModel(trained, multi_avg_fn=get_ema_multi_avg_fn(decay))
        norms = [module for module in self.module.modules() if isinstance(module, _NormBase)]
        found = [statistic for module in norms for statistic in (module.running_mean, module.running_var)]
        self.statistics = [statistic for statistic in found if statistic is not None]

    @property
    def module(self) -> nn.Module:
        """The averaged model; its state dict has the names of the trained one."""
        return self.averaged.module

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now; the first ones are the average as they are."""
        before: list[Tensor] = []
        if self.statistics and self.averaged.n_averaged:
            before = [statistic.clone() for statistic in self.statistics]
        self.averaged.update_parameters(self.trained)
        if before:
            torch._foreach_lerp_(before, self.statistics, 1 - self.decay)
            torch._foreach_copy_(self.statistics, before)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged state, and how many updates it has had."""
        return self.averaged.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.averaged.load_state_dict(as_state_dict(state, self.averaged))
