"""Pipeline: operations in their order, read from the text of a command line or the list of a manifest."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.data.augment.draws import draw
from zoo.data.augment.mixing import CutMix, Mixing, Mixup
from zoo.data.augment.operations import Crop, Erase, Flip, Operation
from zoo.data.augment.transforms import Transform, list_names, make_unknown
from zoo.data.upload import upload
from zoo.errors import ErrorCollector, UsageError, quote, show
from zoo.registry.setting import NO_OPERATIONS

OPERATIONS: dict[str, type[Operation] | type[Mixing]] = {
    operation.name: operation for operation in (Flip, Crop, Erase, Mixup, CutMix)
}
"""The operations that are called by a name of zoo; others are torchvision's."""
FORM = "expected operations such as 'flip,crop:padding=2'"


@dataclass(frozen=True)
class Augment:
    """Operations that are applied to images one after the other.

    An operation that is there twice draws numbers of its own each time; apart from that its numbers do not depend on
    what else is there.

    Fields:
        operations: The operations in order. One that mixes images may be the last.

    Raises:
        UsageError: something else is among them, or a mixing one is not the last.
    """

    operations: Sequence[Operation | Mixing] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "operations", tuple(self.operations))
        for place, operation in enumerate(self.operations, start=1):
            if not isinstance(operation, Operation | Mixing):
                raise UsageError("augment", f"expected operations such as zoo.augment.Flip(), got {show(operation)}")
            if isinstance(operation, Mixing) and place < len(self.operations):
                raise UsageError(f"augmentation {quote(operation.name)}", "mixes whole images, so it comes last")

    @property
    def mixing(self) -> Mixing | None:
        """The operation that mixes images and their targets, which a call on images leaves out; None without one."""
        last = self.operations[-1] if self.operations else None
        return last if isinstance(last, Mixing) else None

    @property
    def slow(self) -> tuple[str, ...]:
        """The names of the operations that run image by image on the CPU."""
        return tuple(operation.name for operation in self.operations if isinstance(operation, Transform))

    def __bool__(self) -> bool:
        return bool(self.operations)

    def __str__(self) -> str:
        """Return the text that `parse` reads as the same."""
        return ",".join(map(str, self.operations)) or NO_OPERATIONS

    def __call__(self, images: Tensor, indices: Tensor | Sequence[int], epoch: int = 0, seed: int = 42) -> Tensor:
        """Return the images of the samples `indices` as they are in an epoch.

        Args:
            images: Raw images `(N, C, H, W)` of any dtype on any device; they stay as they are.
            indices: The position of each in its split, `(N,)`.
            epoch: The epoch, counted from 0.
            seed: The seed of the training.

        Raises:
            DataError: they are no images, or a transform cannot keep their shape.
            SettingError: a param does not fit them, a padding as wide as they are say.
            UsageError: there are not as many indices as images.
        """
        numbered = upload(torch.as_tensor(indices, dtype=torch.int64), images.device)
        if numbered.shape != images.shape[:1]:
            got = f"indices {tuple(numbered.shape)} for images {tuple(images.shape)}"
            raise UsageError("augment: expected one index per image", f"got {got}")
        seen: Counter[str] = Counter()
        for operation in self.operations:
            if isinstance(operation, Operation):
                seen[operation.name] += 1
                key = operation.name if seen[operation.name] == 1 else f"{operation.name}#{seen[operation.name]}"
                images = operation.apply(images, draw(seed, epoch, numbered, key, operation.count))
        return images


def parse(asked: str | Iterable[Any] | Augment) -> Augment:
    """Read operations: text, `"flip,crop:padding=2"`, or a list, `["flip", {name = "crop", padding = 2}]`.

    A param follows its operation or the param before it after a colon: `erase:p=0.25:scale=0.02,0.2`. An operation
    that is not one of zoo's is one of `torchvision.transforms.v2`. `"none"` means none.

    Raises:
        UsageError: it has another form; UnknownNameError, SettingError, SeveralErrors: every unknown name and wrong
            param at once.
    """
    if isinstance(asked, Augment):
        return asked
    if not isinstance(asked, str | Iterable) or isinstance(asked, Mapping):
        raise UsageError("augment", f"{FORM}, or a list, got {show(asked)}")
    operations, errors = [], ErrorCollector()
    for item in _cut(asked) if isinstance(asked, str) else asked:
        with errors.catch():
            operations += _read_item(item)
    errors.raise_any()
    return Augment(operations)


def _cut(text: str) -> list[str]:
    """Return the text of each operation: at a comma begins another one where a word follows that is no param."""
    if text.strip() == NO_OPERATIONS:
        return []
    parts: list[str] = []
    # Commas in brackets belong to a list; what begins with no letter goes on with the list of the param before.
    for piece in re.split(r",(?![^\[]*\])", text):
        if parts and re.match(r"\s*[A-Za-z]\w*\s*=", piece):
            parts[-1] += f":{piece}"
        elif parts and re.match(r"\s*[^A-Za-z\s]", piece):
            parts[-1] += f",{piece}"
        else:
            parts.append(piece)
    return parts


def _read_item(item: Any) -> list[Operation | Mixing]:
    """Return the operations that one item of a list or one part of a text means."""
    if isinstance(item, Operation | Mixing):
        return [item]
    if isinstance(item, Mapping) and isinstance(item.get("name"), str):
        return [make_operation(item["name"], {key: value for key, value in item.items() if key != "name"})]
    if not isinstance(item, str):
        raise UsageError("augment", f"{FORM} or tables {{name = 'crop', padding = 2}}, got {show(item)}")
    parts = _cut(item)
    if len(parts) != 1:
        return [operation for part in parts for operation in _read_item(part)]
    name, *params = (part.strip() for part in parts[0].split(":"))
    given = {}
    for param in params:
        key, equals, value = param.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(f"augmentation {quote(name)}", f"expected param=value, got {quote(param)}")
        given[key.strip()] = value.strip()
    return [make_operation(name, given)]


def make_operation(name: str, params: Mapping[str, Any]) -> Operation | Mixing:
    """Return the operation of a name.

    Raises:
        UnknownNameError, SettingError, UnknownSettingError, SeveralErrors.
    """
    if name in OPERATIONS:
        operation = OPERATIONS[name]
        return operation(**operation.read(params))
    known = list_names()
    if name not in known:
        raise make_unknown(name, (*OPERATIONS, *known))
    return Transform(name, dict(params))
