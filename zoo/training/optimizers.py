"""Optimizers: the ones that the settings can name, their own params, and the groups of parameters that they get."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from inspect import unwrap
from types import UnionType
from typing import Any, Union, get_args, get_origin

import torch
from torch import Tensor, nn

from zoo.errors import ErrorCollector, SettingError
from zoo.registry.params import Expected, find_expected, read_values
from zoo.registry.settings import TrainConfig

COMPILER_FREE = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")
"""Methods of an optimizer that torch keeps from its compiler, beside `step`."""


def spare_compiler(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """Return a class of torch as it is, but for what torch wraps around its methods.

    That tells `torch.compile` what not to compile, for which the first call imports the whole compiler, and it calls
    hooks and the profiler, which nobody here asks for. Importing takes longer than a short training, and the calls a
    twentieth of a small model's step. A method that is not wrapped stays as it is.
    """
    step = torch.no_grad()(unwrap(kind.step))
    step.hooked = True  # or the first optimizer that is built would wrap it again
    methods: dict[str, Any] = {name: unwrap(getattr(kind, name)) for name in COMPILER_FREE}
    return type(kind.__name__, (kind,), {**methods, "step": step, "__doc__": kind.__doc__})


class SGD(torch.optim.SGD):
    """SGD whose fused form takes parameters that had no gradient yet beside others, which torch's refuses.

    Their momentum begins at zero, so it must not be damped.
    """

    def _init_group(self, group: Any, params: Any, grads: Any, momentum_buffer_list: Any) -> Any:
        found = super()._init_group(group, params, grads, momentum_buffer_list)  # type: ignore[no-untyped-call]
        if group["fused"]:
            pairs = zip(momentum_buffer_list, params, strict=False)
            momentum_buffer_list[:] = [torch.zeros_like(each) if buffer is None else buffer for buffer, each in pairs]
        return found


OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    kind.__name__.lower(): spare_compiler(kind)
    for kind in (
        *(SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adamax, torch.optim.NAdam),
        *(torch.optim.RAdam, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adadelta),
        *(torch.optim.Adafactor, torch.optim.ASGD, torch.optim.Rprop),
    )
}
FUSED = ("sgd", "adam", "adamw")
FUSED_ON = {"cuda", "mps", "xpu"}
"""Optimizers and devices with an update of all parameters in one kernel. On an accelerator it has other bits than any
other form, and it is the one that a CUDA graph can hold, so it is taken with a graph and without."""
OURS = ("foreach", "fused", "capturable", "differentiable", "maximize")
"""Arguments of torch's optimizers that a run decides itself."""
CYCLED = ("betas", "momentum")
"""Those that a one-cycle schedule changes from step to step."""


def check_optimizer(config: TrainConfig) -> TrainConfig:
    """Return the settings with the params of the optimizer in the types that it takes.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors: the optimizer has no such param or refuses a value, a setting
            says the same already, or there is no decay to be for all parameters.
    """
    errors = ErrorCollector()
    if config.decay_all and not config.weight_decay:
        errors.errors.append(SettingError("decay_all", "needs a weight decay", True, "Add weight_decay=0.01"))
    if config.optimizer_params:
        with errors.catch():
            params = read_params(config)
            try:
                OPTIMIZERS[config.optimizer]([torch.zeros(1, requires_grad=True)], **_list_arguments(config))
            except ValueError as error:
                raise SettingError(f"optimizer {config.optimizer}", str(error)) from error
            config = replace(config, optimizer_params={name: _to_plain(value) for name, value in params.items()})
    errors.raise_any()
    return config


def read_params(config: TrainConfig) -> dict[str, Any]:
    """Return the params of the optimizer that the settings give, converted as its signature says.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors: every problem at once.
    """
    given = dict(config.optimizer_params or {})
    if not given:
        return {}
    errors, settings = ErrorCollector(), {"lr", "weight_decay", *(["momentum"] if config.optimizer == "sgd" else [])}
    for name in sorted(given.keys() & {*settings, *OURS, *(CYCLED if config.schedule == "one-cycle" else ())}):
        why, fix = "is what a run decides itself", "Leave it out"
        if name in settings:
            why, fix = "is a setting of its own", f"Give it as {name}=..."
        elif name in CYCLED:
            why = "is what a one-cycle schedule sets in each step"
        errors.errors.append(SettingError(f"optimizer_params.{name}", why, given.pop(name), fix))
    expected, _ = find_expected(OPTIMIZERS[config.optimizer])
    known = {
        name: Expected(annotation=_without_tensors(each.annotation), default=each.default)
        for name, each in expected.items()
        if name not in {"params", *settings, *OURS}
    }
    with errors.catch():
        read = read_values(known, given, where=f"optimizer {config.optimizer!r}")
    errors.raise_any()
    return {name: read[name] for name in given}


def build_optimizer(
    model: nn.Module, config: TrainConfig, *, head: Collection[str] = (), later: Collection[str] = ()
) -> torch.optim.Optimizer:
    """Build the optimizer that the settings name, over all parameters that want a gradient.

    Those named in `later` are in it too: until they want a gradient, it passes over them. Those named in `head` have
    the rate `head_lr` where there is one. Parameters of one axis, biases and those of normalisation, are not decayed
    unless the settings say `decay_all`. Only what differs in one of these makes groups of its own.
    """
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad or name in later}
    arguments = {**_list_arguments(config), **choose_form(config, list(parameters.values()))}
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        in_head = config.head_lr is not None and name in head
        spared = bool(config.weight_decay) and not config.decay_all and parameter.ndim <= 1
        groups.setdefault((in_head, spared), []).append(parameter)
    if len(groups) <= 1 and not any(map(any, groups)):
        return OPTIMIZERS[config.optimizer](list(parameters.values()), **arguments)
    made = [
        {
            "params": members,
            **({"lr": config.head_lr} if in_head else {}),
            **({"weight_decay": 0.0} if spared else {}),
        }
        for (in_head, spared), members in sorted(groups.items(), key=lambda group: group[0])
    ]
    return OPTIMIZERS[config.optimizer](made, **arguments)


def choose_form(config: TrainConfig, parameters: Sequence[nn.Parameter]) -> dict[str, bool]:
    """Return the arguments that say in how many kernels all parameters are updated.

    Not fused is what fp16 trains: a step that it leaves out would change the momentum.
    """
    devices = {parameter.device.type for parameter in parameters}
    plain = config.precision != "fp16" and not (config.optimizer_params or {}).get("dampening")
    floats = all(parameter.is_floating_point() for parameter in parameters)
    if config.optimizer in FUSED and plain and floats and len(devices) == 1 and devices <= FUSED_ON:
        return {"fused": True}
    # torch would decide the same, but anew at every step, which costs small models a noticeable time.
    return {"foreach": False} if devices <= {"cpu"} else {}


def _list_arguments(config: TrainConfig) -> dict[str, Any]:
    arguments: dict[str, Any] = {"lr": config.lr, **read_params(config)}
    if config.optimizer != "rprop":
        arguments["weight_decay"] = config.weight_decay
    if config.optimizer == "sgd":
        arguments["momentum"] = config.momentum
    return arguments


def _without_tensors(annotation: Any) -> Any:
    """Return a type without the tensors that torch takes in the place of numbers."""
    origin, options = get_origin(annotation), get_args(annotation)
    kept = tuple(_without_tensors(each) for each in options if each is not Tensor)
    if origin in (Union, UnionType):
        return Union.__getitem__(kept)
    return origin[kept] if origin is tuple else annotation


def _to_plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
