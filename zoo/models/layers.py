"""Layers: what a model is made of, in the order in which its parts run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from zoo.display import align, make_table
from zoo.registry.arguments import checked
from zoo.registry.compatibility import show_shape
from zoo.registry.global_state import keep_state

HEADINGS = ("layer", "type", "output", "parameters")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A module without modules of its own.

    Fields:
        name: Where it is in the model, `layer_stack.1` say.
        type: Its class.
        output_shape: The shape of what it gives, without the batch axis; None where that is no tensor.
        parameters: How many it has.
    """

    name: str
    type: str
    output_shape: tuple[int, ...] | None
    parameters: int


@dataclass(frozen=True, kw_only=True, repr=False)
class LayerTable:
    """The layers of a model in the order they run, for inputs of one shape.

    Fields:
        input_shape: The shape of an input, without the batch axis.
        layers: The layers; one that runs twice is there twice.
        parameters: How many the model has, those that belong to no layer included.
        trainable: How many of them are trained.
    """

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    parameters: int
    trainable: int

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """Headings, then name, type, output shape and number of parameters of each layer, as texts."""
        rows = [
            (layer.name, layer.type, show_shape(layer.output_shape or ()) or "any", f"{layer.parameters:,}")
            for layer in self.layers
        ]
        return [HEADINGS, *rows]

    @property
    def total(self) -> str:
        """The numbers of parameters in words."""
        return f"{self.parameters:,} parameters, {self.trainable:,} of them trainable"

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def __repr__(self) -> str:
        return f"layers for inputs of {show_shape(self.input_shape)}\n{align(self.rows, '  ')}\n{self.total}"

    def _repr_html_(self) -> str:
        caption = f"layers for inputs of {show_shape(self.input_shape)}: {self.total}"
        return make_table(self.rows[1:], self.rows[0], caption=caption, most=len(self.rows))


@contextmanager
def hooked(modules: Iterable[nn.Module], hook: Callable[..., None]) -> Iterator[None]:
    """Call a forward hook after each call of the modules in the body."""
    with ExitStack() as hooks:
        for module in modules:
            hooks.enter_context(module.register_forward_hook(hook))
        yield


@checked
def list_layers(module: nn.Module, input_shape: Sequence[int]) -> LayerTable:
    """Return the layers of a module in the order they run, with output shapes (no batch axis) and parameter counts.

    Zeros of `(2, *input_shape)` go through it in eval mode, on its own device; nothing of it changes. What the module
    raises goes through.
    """
    with keep_state():
        return _list_layers(module, tuple(map(int, input_shape)))


def _list_layers(module: nn.Module, input_shape: tuple[int, ...]) -> LayerTable:
    layers: list[Layer] = []
    names = {part: name for name, part in module.named_modules() if not any(part.children())}

    def note(part: nn.Module, inputs: Any, output: Any) -> None:
        shape = tuple(output.shape[1:]) if isinstance(output, torch.Tensor) else None
        count = sum(parameter.numel() for parameter in part.parameters())
        layers.append(Layer(name=names[part], type=type(part).__name__, output_shape=shape, parameters=count))

    hooks = [part.register_forward_hook(note) for part in names]
    modes = [(part, part.training) for part in module.modules()]
    first = next(module.parameters(), None)
    module.eval()
    try:
        with torch.no_grad():
            module(torch.zeros(2, *input_shape, device=first.device if first is not None else None))
    finally:
        for hook in hooks:
            hook.remove()
        for part, mode in modes:
            part.training = mode
    parameters = list(module.parameters())
    return LayerTable(
        input_shape=input_shape,
        layers=tuple(layers),
        parameters=sum(parameter.numel() for parameter in parameters),
        trainable=sum(parameter.numel() for parameter in parameters if parameter.requires_grad),
    )
