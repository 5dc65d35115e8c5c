"""Catalogues: what those of timm and torchvision share, building a model from params that may be texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from typing import Any

from torch import nn


def build_model(
    what: str, create: Callable[..., nn.Module], params: Mapping[str, Any], decided: Container[str]
) -> nn.Module:
    """Return `create(**params)`, with texts among the params read as JSON.

    The libraries have no annotations to convert texts by. Errors call the model `what`; users may not give the params
    in `decided`.

    Raises:
        ValueError: the library does not take one of the params, or it is not theirs to decide.
    """
    for param in params:
        if param in decided:
            raise ValueError(f"{param}: zoo decides it, and models of this catalogue start from random weights")
    values = {param: _read_value(value) for param, value in params.items()}
    try:
        return create(**values)
    except (AssertionError, AttributeError, LookupError, TypeError) as error:
        if not params:
            raise
        given = ", ".join(f"{param}={value!r}" for param, value in values.items())
        raise ValueError(f"{what} does not take {given}: {error}") from error


def _read_value(value: Any) -> Any:
    """Return the number, true, false, null or list that a text means; anything else as it was given."""
    try:
        read = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value
    return value if isinstance(read, str | dict) else read
