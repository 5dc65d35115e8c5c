"""Freezing: parameters excluded from training by their names, and let in again. It takes objects, not files."""

from __future__ import annotations

import difflib
import logging
from collections.abc import Collection, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from zoo.errors import SettingError, UsageError, quote

log = logging.getLogger("zoo")


def check_patterns(patterns: Iterable[str], names: Iterable[str]) -> None:
    """Check that each shell pattern matches a name; raise UsageError with the closest names for one that does not."""
    names = list(names)
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise SettingError("freeze", "expected shell patterns as text", pattern)
        if not any(fnmatchcase(name, pattern) for name in names):
            # Groups are suggested as well as names, so that `feature.*` leads to `features.*`.
            parts = [name.split(".") for name in names]
            groups = [f"{'.'.join(part[:depth])}.*" for part in parts for depth in range(1, len(part))]
            near = difflib.get_close_matches(pattern, dict.fromkeys([*groups, *names]), n=3, cutoff=0.5)
            found = near or list(dict.fromkeys(groups or names))[:3]
            fix = f"{'Closest' if near else 'There are'}: {', '.join(map(quote, found))}"
            raise UsageError(f"freeze {quote(pattern)}", "no parameter has such a name", fix)


def freeze(model: nn.Module, patterns: Sequence[str], *, new: Collection[str] = ()) -> list[str]:
    """Exclude the parameters whose names match a shell pattern from training; return their names.

    Normalisation layers that are frozen whole keep their running statistics too. `new` ones among them are warned of.

    Raises:
        UsageError: a pattern matches nothing, or nothing is left to train.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    check_patterns(patterns, parameters)
    chosen = {id(parameter) for name, parameter in parameters.items() if _matches(name, patterns)}
    if chosen and not any(p.requires_grad and id(p) not in chosen for p in parameters.values()):
        what = f"freeze {', '.join(map(quote, patterns))}"
        raise UsageError(what, f"all {len(parameters)} parameters would be frozen", "Leave some to train")
    for parameter in parameters.values():
        if id(parameter) in chosen:
            parameter.requires_grad_(False)
    for name, module in model.named_modules():
        if getattr(module, "running_mean", None) is not None:
            own = [id(parameter) for parameter in module.parameters(recurse=False)]
            # A layer without parameters is matched by its own name.
            if chosen.issuperset(own) if own else _matches(f"{name}.running_mean", patterns):
                # The trainer calls train() on the whole model before each epoch, which would thaw the statistics. A
                # hook undoes that before each forward pass and, unlike an overridden train(), is copied with it.
                module.register_forward_pre_hook(_leave_training)
    frozen = [name for name, parameter in parameters.items() if id(parameter) in chosen]
    if untrained := [name for name in frozen if name in new]:
        log.warning("frozen as they are, though new and so never trained: %s", ", ".join(untrained))
    return frozen


def unfreeze(model: nn.Module, names: Collection[str]) -> None:
    """Let parameters of these names be trained again, and the statistics of all normalisation layers follow the data.

    It takes effect with the next `train()` of the model.
    """
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if name in names:
            parameter.requires_grad_(True)
    for module in model.modules():
        hooks = module._forward_pre_hooks
        for key in [key for key, hook in hooks.items() if hook is _leave_training]:
            del hooks[key]


def _leave_training(module: nn.Module, inputs: Any) -> None:
    """Use the running statistics and leave them as they are."""
    module.training = False


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)
