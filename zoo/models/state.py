"""State: what a model or a training is, as tensors and plain data by name."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

MANY = 1 << 24
"""Bytes from which on several threads copy."""
PIECE = 1 << 22
"""Bytes of a tensor that one thread copies."""
PLAIN = {int, float, str, bool, type(None)}

if TYPE_CHECKING:
    from torch import Tensor, nn

    Pair = tuple[Tensor, Tensor]
    """The copy and its source."""


def as_state_dict(tensors: Mapping[str, Tensor], model: nn.Module) -> OrderedDict[str, Tensor]:
    """Return tensors as a state dict of the model's own version: layers whose form has changed ask for it."""
    state = OrderedDict(tensors)
    state._metadata = getattr(model.state_dict(), "_metadata", None)  # type: ignore[attr-defined]
    return state


def copy_state(state: Any, former: Any = None) -> Any:
    """Return a copy of plain data in which tensors may be, those on the CPU.

    `former` is a copy that is not needed any more: where its tensors fit they are used again, which is twice as fast as
    memory that the system has yet to give. Many bytes are copied by all cores: one alone cannot keep the memory busy.
    """
    pairs: list[Pair] = []
    copied = copy_form(state, former, pairs)
    copy_tensors(pairs)
    return copied


def copy_tensors(pairs: Sequence[Pair]) -> None:
    """Give copies the values of their sources."""
    from zoo.data.workers import count_cores

    size = sum(source.nbytes for _, source in pairs)
    if size < MANY or any(source.device.type != "cpu" for _, source in pairs):
        _copy(pairs)
        return
    pieces = iter([piece for pair in pairs for piece in _cut(*pair)])
    with ThreadPoolExecutor(count_cores()) as pool:
        helpers = [pool.submit(_copy, pieces) for _ in range(count_cores() - 1)]
        _copy(pieces)  # where another core is busy, this thread does not wait for it
        for helper in helpers:
            helper.result()


def _copy(pairs: Iterable[Pair]) -> None:
    import torch

    with torch.no_grad():  # a thread begins with gradients
        for target, source in pairs:
            target.copy_(source)


def copy_form(state: Any, former: Any, pairs: list[Pair]) -> Any:
    """Return plain data like `state`; `pairs` gets its tensors, whose values are still to be copied, and what of."""
    import torch
    from torch import Tensor

    if isinstance(state, Tensor):
        source, known = state.detach(), former
        if not isinstance(known, Tensor) or known.shape != source.shape or known.dtype != source.dtype:
            known = torch.empty_like(source, device="cpu")
        pairs.append((known, source))
        return known
    if isinstance(state, Mapping):
        known_by_name = former if isinstance(former, Mapping) else {}
        return {name: copy_form(value, known_by_name.get(name), pairs) for name, value in state.items()}
    if isinstance(state, list | tuple) and {*map(type, state)} <= PLAIN:
        return state if isinstance(state, tuple) else [*state]  # the state of a generator has hundreds of numbers
    if isinstance(state, list | tuple):
        parts = former if isinstance(former, list | tuple) and len(former) == len(state) else [None] * len(state)
        return type(state)(copy_form(value, part, pairs) for value, part in zip(state, parts, strict=True))
    return state


def _cut(target: Tensor, source: Tensor) -> Iterator[Pair]:
    """Yield both as pieces of at most PIECE bytes, where they lie alike in the memory."""
    if source.nbytes <= PIECE or not (target.is_contiguous() and source.is_contiguous()):
        yield target, source
        return
    count = PIECE // source.element_size()
    yield from zip(target.view(-1).split(count), source.view(-1).split(count), strict=True)
