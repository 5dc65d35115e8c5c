"""Check and convert values against annotations with pydantic, reporting every problem in our words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from zoo.errors import SettingError, SeveralErrors, UnknownSettingError, ZooError

M = TypeVar("M", bound=BaseModel)

# What people call a setting in other tools.
ALIASES = {
    "learning_rate": "lr",
    "learning-rate": "lr",
    "batch": "batch_size",
    "bs": "batch_size",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "num_workers": "workers",
    "optim": "optimizer",
    "wd": "weight_decay",
    "random_seed": "seed",
}


def read_values(model: type[M], values: Mapping[str, Any], *, where: str) -> M:
    """Return `model` filled from `values`, text converted as its annotations say.

    Raises:
        SettingError, UnknownSettingError: one problem.
        SeveralErrors: more than one; each unknown name comes with the closest known one.
    """
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    known = tuple(fields)
    problems: list[ZooError] = []
    accepted = {}
    for name, value in values.items():
        field = fields.get(name)
        if field is None and model.model_config.get("extra") == "forbid":
            meant = ALIASES.get(name)
            problems.append(UnknownSettingError(where, name, known, meant if meant in known else None))
        else:
            accepted[name] = value if field is None else _unpack_text(value, field.annotation)
    result = None
    try:
        result = model.model_validate(accepted)
    except ValidationError as error:
        problems.extend(_setting_error(detail) for detail in error.errors(include_url=False))
    if result is None or problems:
        raise problems[0] if len(problems) == 1 else SeveralErrors(problems)
    return result


def reject_bool(value: object) -> object:
    """Refuse True and False where a number is meant; pydantic would read them as 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("expected a number")
    return value


def _unpack_text(value: object, annotation: object) -> object:
    """Read text for a list-like annotation, JSON (`[1, 2]`) or plain commas (`1,2`), or for a choice of numbers."""
    if not isinstance(value, str):
        return value
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    origins = [get_origin(option) or option for option in options]
    if str in origins:
        return value
    for option, origin in zip(options, origins, strict=True):
        if origin is Literal:
            return next((choice for choice in get_args(option) if str(choice) == value), value)
        if origin in (list, tuple, dict, set, Sequence):
            with suppress(ValueError, RecursionError):
                read = json.loads(value)
                if isinstance(read, list | dict):
                    return read
            return [part.strip() for part in value.split(",")]
    return value


def _setting_error(detail: ErrorDetails) -> SettingError:
    name = ".".join(str(part) for part in detail["loc"]) or "settings"
    context = detail.get("ctx", {})
    expected = {
        "missing": "needs a value",
        "greater_than": "must be above {gt}",
        "greater_than_equal": "must be at least {ge}",
        "less_than": "must be below {lt}",
        "less_than_equal": "must be at most {le}",
        "finite_number": "must be finite",
        "literal_error": "must be one of {expected}",
        "int_parsing": "must be a whole number",
        "int_parsing_size": "must be a smaller whole number",
        "int_type": "must be a whole number",
        "int_from_float": "must be a whole number",
        "float_parsing": "must be a number",
        "float_type": "must be a number",
        "bool_parsing": "must be true or false",
        "bool_type": "must be true or false",
        "string_type": "must be text",
        "value_error": "{error}",
    }.get(detail["type"], detail["msg"])
    return SettingError(name, expected.format(**context), ... if detail["type"] == "missing" else detail["input"])
