"""Catalogues: what those of timm and torchvision share, a model built by its name from params that may be texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from typing import Any

from torch import nn


def build_model(
    library: str,
    create: Callable[..., nn.Module],
    name: str,
    params: Mapping[str, Any],
    *,
    decided: Container[str],
    arguments: Mapping[str, Any],
) -> nn.Module:
    """Return the model that `create` gives for a name.

    Args:
        library: What errors call the library.
        create: Its function that takes the name of a model, and arguments.
        name: The name of the model there.
        params: What the user gave. The library has no annotations to convert texts by, so they are read as JSON.
        decided: Arguments that are not for the user to give.
        arguments: What the model gets unless the params say otherwise.

    Raises:
        ValueError: the library does not take one of the params, or it is not theirs to decide.
    """
    for param in params:
        if param in decided:
            raise ValueError(f"{param}: zoo decides it, and models of this catalogue start from random weights")
    values = {param: _read_value(value) for param, value in params.items()}
    try:
        return create(name, **{**arguments, **values})
    except (AssertionError, AttributeError, LookupError, TypeError) as error:
        if not params:
            raise
        given = ", ".join(f"{param}={value!r}" for param, value in values.items())
        raise ValueError(f"{library}'s {name} does not take {given}: {error}") from error


def _read_value(value: Any) -> Any:
    """Return the number, true, false, null or list that a text means; anything else as it was given."""
    try:
        read = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
    return value if isinstance(read, str | dict) else read
