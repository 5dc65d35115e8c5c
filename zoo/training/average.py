"""Average: an exponential moving average of the weights that a training goes through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim.swa_utils import AveragedModel

from zoo.models.state import as_state_dict


class Average:
    """A second model whose parameters are `decay` times what they were, plus the rest of those of the trained one.

    It takes the memory of the model once more, and a pass over the parameters at each update. The running mean and
    variance of normalisation are averaged alike: those of the trained weights do not fit averaged ones. All other
    buffers are copied, so that an index stays a whole number and a mask keeps its infinities.
    """

    def __init__(self, trained: nn.Module, decay: float) -> None:
        self.trained, self.decay = trained, decay
        self.averaged = AveragedModel(trained)
        norms = [module for module in self.module.modules() if isinstance(module, _NormBase)]
        found = [statistic for module in norms for statistic in (module.running_mean, module.running_var)]
        self.statistics = [statistic for statistic in found if statistic is not None]

    @property
    def module(self) -> nn.Module:
        """The averaged model; its state dict has the names of the trained one."""
        return self.averaged.module

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights as they are now; the first ones are the average as they are.

        Torch's own way to do it copies a number to the device in each step, and would wait for an accelerator.
        """
        averaged = [*self.module.parameters(), *self.module.buffers()]
        trained = [*self.trained.parameters(), *self.trained.buffers()]
        moving = {id(each) for each in (*self.module.parameters(), *self.statistics) if each.is_floating_point()}
        if not self.averaged.n_averaged:
            moving.clear()
        for moves in (True, False):
            pairs = [pair for pair in zip(averaged, trained, strict=True) if (id(pair[0]) in moving) is moves]
            means, news = [mean for mean, _ in pairs], [new for _, new in pairs]
            if moves and pairs:
                torch._foreach_lerp_(means, news, 1 - self.decay)
            elif pairs:
                torch._foreach_copy_(means, news)
        self.averaged.n_averaged += 1

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged state, and how many updates it has had."""
        return self.averaged.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over what `state_dict` returned."""
        self.averaged.load_state_dict(as_state_dict(state, self.averaged))
