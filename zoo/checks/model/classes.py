"""Classes: whether a model still tells classes apart when there are many of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.checks.base import Fault, Skip
from zoo.checks.model.subject import ModelSubject, add_noise
from zoo.checks.source import find_definition
from zoo.errors import PluginError, UsageError, describe

MANY = (300, 1200)
"""Numbers of classes: beyond 8 bits and tables of a hundred, and beyond ImageNet's thousand."""

AFFORDABLE = 20_000_000
"""Parameters that a model of the second may have, if they grow with the square of the number of classes."""


def check_classes(subject: ModelSubject) -> str:
    """It takes many classes, and tells them apart.

    A table of a hundred, a remainder or a byte for the class works for the ten of its author, and gives two classes the
    same logit beyond. 300 classes are tried, and 1200 where that takes little memory, with noise on all parameters. A
    number that it refuses by raising zoo.UsageError is fine.
    """
    shape, inputs = subject.cases[0][0], subject.inputs(2)
    # Logits that repeat with few classes already have another reason than their number.
    repeats = bool(_list_repeated(subject.perturbed, inputs))
    tried: list[int] = []
    parameters = sum(value.numel() for value in subject.rebuilt.parameters())
    for classes in MANY:
        if tried and parameters * (classes / tried[-1]) ** 2 > AFFORDABLE:
            break
        try:
            model = add_noise(ModelSubject(subject.entry, subject.params, cases=[(shape, classes)]).build()).eval()
            with torch.no_grad():
                logits = model(inputs)
        except UsageError as error:
            if not tried:
                raise Skip(f"refused {classes} classes: {error}") from error
            break
        except Exception as error:
            seen = error.why if isinstance(error, PluginError) else describe(error)
            raise Fault(f"for {classes} classes: {seen}", "Compute sizes from num_classes", "") from error
        where = find_definition(type(model))
        if not isinstance(logits, Tensor) or tuple(logits.shape) != (len(inputs), classes):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise Fault(
                f"for {classes} classes: expected logits {(len(inputs), classes)}, got {got}",
                "Make the last layer as wide as num_classes",
                where,
            )
        pairs = [] if repeats else _list_repeated(model, inputs)
        if pairs:
            one, other = pairs[0]
            seen = f"for {classes} classes: {len(pairs)} have the logits of another, class {other} those of class {one}"
            raise Fault(seen, "Give each of num_classes its own logit: no fixed table, no remainder", where)
        tried.append(classes)
        parameters = sum(value.numel() for value in model.parameters())
    return f"tells {' and '.join(map(str, tried))} classes apart"


def _list_repeated(model: nn.Module, inputs: Tensor) -> list[tuple[int, int]]:
    """Return classes whose logits are those of an earlier class for all inputs, each behind that class."""
    with torch.no_grad():
        columns = model.eval()(inputs).T.tolist()
    first: dict[tuple[float, ...], int] = {}
    repeated = []
    for index, column in enumerate(map(tuple, columns)):
        before = first.setdefault(column, index)
        if before != index:
            repeated.append((before, index))
    return repeated
