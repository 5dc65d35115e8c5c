"""Transfer: saved tensors taken over where they fit. It takes objects, not files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from zoo.errors import UsageError, WeightsError, quote
from zoo.models.state import as_state_dict
from zoo.models.weights import fit_tensor

SHOWN = 6
"""Names that one line lists."""


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What a model took over: `kept` names, `new` ones with the reason each is not the file's, `unused` ones."""

    kept: list[str]
    new: dict[str, str]
    unused: list[str]

    def describe(self, frozen: Sequence[str]) -> str:
        """Return it in one line."""
        parts = [f"kept {len(self.kept)} of {len(self.kept) + len(self.new)} tensors"]
        for what, names in (("new", list(self.new)), ("unused", self.unused), ("frozen", frozen)):
            if names:
                more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                parts.append(f"{what}: {', '.join(names[:SHOWN])}{more}")
        return "; ".join(parts)


def transfer_tensors(
    model: nn.Module,
    tensors: Mapping[str, Tensor],
    *,
    where: str | Path = "the file",
    refused: Mapping[str, str] | None = None,
    causes: Sequence[str] = (),
) -> Transfer:
    """Give a model every tensor that has the name and the shape of one of its own, in that one's dtype.

    `refused` names tensors that stay the model's all the same, and why. `causes` are known differences between the
    model that was saved and this one, for the error.

    Raises:
        UsageError: nothing fits, or what fits would overwrite itself; the model may have changed.
    """
    expected = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}
    kept: dict[str, Tensor] = {}
    new: dict[str, str] = {}
    for name, wanted in expected.items():
        if name not in tensors:
            new[name] = "missing in the file"
        elif tensors[name].shape != wanted.shape:
            new[name] = f"{tuple(tensors[name].shape)} in the file, {tuple(wanted.shape)} in the model"
        elif refused and name in refused:
            new[name] = refused[name]
        else:
            try:
                kept[name] = fit_tensor(Path(where), name, tensors[name], wanted)
            except WeightsError as error:
                new[name] = error.why
    _check_kept(model, kept, expected, tensors, where, causes)
    model.load_state_dict(as_state_dict(kept, model), strict=False)
    # A file may hold tied tensors under one of their names only. The other names share that memory, so they are kept
    # as well.
    places = {_find_place(expected[name]) for name in kept}
    tied = [name for name in new if name not in tensors and _find_place(expected[name]) in places]
    loaded = model.state_dict()
    for name, tensor in kept.items():
        if not bool((loaded[name].cpu() == tensor.cpu()).all()):
            why = "the model ties it to a tensor that has other values in the file"
            raise UsageError(f"{where}: tensor {quote(name)}", why)
    return Transfer(
        kept=[name for name in expected if name in kept or name in tied],
        new={name: why for name, why in new.items() if name not in tied},
        unused=[name for name in tensors if name not in expected],
    )


def _check_kept(
    model: nn.Module,
    kept: Iterable[str],
    expected: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    where: str | Path,
    causes: Sequence[str],
) -> None:
    # Biases and counters of an unrelated model may have fitting shapes; they mean nothing without their weights.
    weights = [name for name, tensor in expected.items() if tensor.ndim > 1] or list(expected)
    if set(weights) & set(kept):
        return
    shared = sum(name in tensors for name in expected)
    if causes:
        why, fix = "; ".join(causes), "Ask for what the file has, or start without it"
    elif shared:
        first = next((name for name in weights if name in tensors), next(name for name in expected if name in tensors))
        shapes = f"{tuple(tensors[first].shape)} in the file, {tuple(expected[first].shape)} in the model"
        why, fix = f"{shared} of {len(tensors)} tensors have names of the model, but {first} is {shapes}", ""
    else:
        why = f"none of its {len(tensors)} tensors has a name of the model, {type(model).__name__}"
        fix = "It is of another model: ask for that one"
    raise UsageError(f"no weights of {where} fit the model", why, fix)


def _find_place(tensor: Tensor) -> Any:
    return (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else id(tensor)
