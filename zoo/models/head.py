"""Head: the last layer of a model, which its classes depend on."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn

from zoo.errors import SettingError
from zoo.models.layers import hooked


def find_head(model: nn.Module, inputs: Tensor, *, new: Collection[str] = (), later: Collection[str] = ()) -> list[str]:
    """Return the names of the parameters of a model's head.

    They are the `new` ones where some, not all, are new beside those of a file; else those of the last layer that runs
    on `inputs` `(N, *input_shape)`. Those of `later` are frozen at first only.

    Raises:
        SettingError: there is none, or nothing of it is to be trained.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    chosen = {id(parameter) for name, parameter in parameters.items() if name in new}
    if not chosen or len(chosen) == len({*map(id, parameters.values())}):
        ran: list[nn.Module] = []
        mode = [(part, part.training) for part in model.modules()]
        with torch.no_grad(), hooked(model.modules(), lambda module, *_: ran.append(module)):
            model.eval()(inputs)
        for part, training in mode:
            part.training = training
        layer = choose_head(ran)
        chosen = {id(parameter) for parameter in layer.parameters(recurse=False)} if layer is not None else set()
    if not chosen:
        raise SettingError("head_lr", "no layer of the model is its last one with parameters", fix="Leave it out")
    names = [name for name, parameter in parameters.items() if id(parameter) in chosen]
    if not any(parameters[name].requires_grad or name in later for name in names):
        raise SettingError("head_lr", f"the head is frozen ({', '.join(names[:3])})", fix="Leave it out")
    return names


def choose_head(ran: Iterable[nn.Module]) -> nn.Module | None:
    """Return the last of the modules, in the order they ran, that has parameters of its own."""
    with_own = [module for module in ran if next(module.parameters(recurse=False), None) is not None]
    # A whole model may have parameters of its own, such as a class token, so layers are preferred.
    heads = [module for module in with_own if not any(module.children())] or with_own
    return heads[-1] if heads else None
