"""Params: what a factory takes besides the fixed arguments of its kind, and how values of users become those it wants.

pydantic converts and checks; it is imported inside the functions, so that a listing does not wait for it.
"""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

from zoo.errors import SettingError, SeveralErrors, UnknownSettingError, ZooError
from zoo.registry.fields import is_int64, make_absolute
from zoo.registry.specs import Spec

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

FIXED = {
    **{"model": ("input_shape", "num_classes"), "dataset": ("root",)},
    **{"metric": ("num_classes",), "loss": ("num_classes",), "logger": ("run_dir",)},
}
"""The arguments zoo itself passes to the factory of each kind."""

Check = Callable[[Any, Mapping[str, Any]], None]


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What a value may be.

    Fields:
        annotation: Its type, as an annotation that pydantic understands.
        default: What it is where none is given; `...` where one must be.
        limits: `ge`, `gt`, `le` and `lt`, those that apply.
        convert: Called with the value as it was given; returns what is meant by it, or raises ValueError.
        check: Called with the value and those declared before it; raises ValueError for a value that does not go with
            them.
    """

    annotation: Any
    default: Any = ...
    limits: Mapping[str, Any] = field(default_factory=dict)
    convert: Callable[[Any], Any] | None = None
    check: Check | None = None


def resolve_params(spec: Spec, factory: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all params of the factory: given ones over the spec's over the signature's defaults.

    Text is converted to the annotated type; a param without annotation takes the type of its default. A given path of a
    data set becomes absolute.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors: every problem at once.
    """
    expected, takes_others = find_expected(factory)
    for name in FIXED[spec.kind]:
        expected.pop(name, None)
    where = f"{spec.kind} {spec.name!r}"
    path = getattr(spec, "path_param", "")
    if path and isinstance(given.get(path), str | os.PathLike) and os.fspath(given[path]):
        given = {**given, path: make_absolute(given[path])}
    return read_values(expected, {**spec.params, **given}, where=where, takes_others=takes_others)


def find_expected(factory: Callable[..., Any]) -> tuple[dict[str, Expected], bool]:
    """Return what a callable's signature says of each argument, and whether it takes others too."""
    expected = {}
    takes_others = False
    for name, parameter in _signature(factory).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_others = True
        elif parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            default = ... if parameter.default is parameter.empty else parameter.default
            expected[name] = Expected(annotation=_annotation(parameter), default=default)
    return expected, takes_others


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(factory, eval_str=True)
    except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001 evaluating annotations may raise anything
        # Annotations that only a type checker can resolve, or that are plain words; or no signature (a C function).
        try:
            return inspect.signature(factory)
        except (Exception, SystemExit, GeneratorExit):  # noqa: BLE001 also a `__signature__` that is a property
            return inspect.Signature([inspect.Parameter("params", inspect.Parameter.VAR_KEYWORD)])


def _annotation(parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if annotation is parameter.empty or isinstance(annotation, str):
        return type(parameter.default) if isinstance(parameter.default, bool | int | float | str) else Any
    return annotation


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


def read_values(
    expected: Mapping[str, Expected], values: Mapping[str, Any], *, where: str, takes_others: bool = False
) -> dict[str, Any]:
    """Return a value for each expected name: the given one, text converted as its annotation says, or the default.

    `where` names in errors what has these values. With `takes_others` unknown names pass as they are.

    Raises:
        SettingError, UnknownSettingError: one problem.
        SeveralErrors: more than one; each unknown name comes with the closest known one.
    """
    problems: list[ZooError] = []
    accepted = {}
    for name, value in values.items():
        if name in expected:
            one = expected[name]
            accepted[name] = value if one.convert else _unpack_text(value, one.annotation)
        elif takes_others:
            accepted[name] = value
        else:
            meant = ALIASES.get(name)
            problems.append(UnknownSettingError(where, name, tuple(expected), meant if meant in expected else None))
    given, wrong = _validate(expected, accepted)
    problems += wrong
    if not wrong:
        read = {name: given[name] if name in given else _copy(one.default) for name, one in expected.items()} | given
        fit = "must be a whole number of at most 64 bits"
        problems.extend(SettingError(name, fit, value) for name, value in read.items() if not _is_small(value))
    if problems:
        raise problems[0] if len(problems) == 1 else SeveralErrors(problems)
    return read


def _copy(default: Any) -> Any:
    """Return a default that nobody else can change."""
    return deepcopy(default) if isinstance(default, list | dict | set) else default


def _validate(
    expected: Mapping[str, Expected], values: Mapping[str, Any]
) -> tuple[dict[str, Any], Sequence[SettingError]]:
    """Return the values that were given, converted, and what is wrong with them or missing.

    A default is right as it is: making a field of each would cost as much as of those that are given.
    """
    asked = [name for name, one in expected.items() if name in values or one.default is ...]
    if not asked:
        return dict(values), []
    from pydantic import ValidationError

    try:
        result = _make_model(expected, asked).model_validate(values)
    except ValidationError as error:
        return {}, [_setting_error(detail) for detail in error.errors(include_url=False)]
    # Not model_dump(): it would turn objects given from Python into copies.
    return {**{name: getattr(result, f"value_{name}") for name in asked}, **(result.model_extra or {})}, []


def _is_small(value: object) -> bool:
    """Tell whether no whole number in it is larger than torch, numpy and other readers of a file can take."""
    if isinstance(value, list | tuple | dict):
        return all(map(_is_small, value.values() if isinstance(value, dict) else value))
    return type(value) is not int or is_int64(value)


def _make_model(expected: Mapping[str, Expected], asked: Collection[str]) -> Any:
    """Return a pydantic model whose fields, under the names asked for as aliases, take their values; others pass."""
    from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationInfo, create_model

    def wrap(check: Check, defaults: Mapping[str, Any]) -> AfterValidator:
        def validate(value: Any, info: ValidationInfo) -> Any:
            check(value, {**defaults, **{name.removeprefix("value_"): other for name, other in info.data.items()}})
            return value

        return AfterValidator(validate)

    fields: dict[str, Any] = {}
    before: dict[str, Any] = {}
    for name, one in expected.items():
        if name not in asked:
            before[name] = one.default
            continue
        validators: list[Any] = [Field(**one.limits)] if one.limits else []
        options = (one.annotation, *get_args(one.annotation))
        if (int in options or float in options) and bool not in options:
            validators.append(BeforeValidator(_reject_bool))
        if one.convert is not None:
            validators.append(BeforeValidator(one.convert))
        if one.check is not None:
            validators.append(wrap(one.check, dict(before)))
        annotation = Annotated[one.annotation, *validators] if validators else one.annotation
        # Under a name of our own: a param may be called as something that pydantic needs itself, `copy` say.
        fields[f"value_{name}"] = (annotation, Field(one.default, alias=name))
    config = ConfigDict(extra="allow", allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=())
    return create_model("Values", __config__=config, **fields)


def _reject_bool(value: object) -> object:
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
