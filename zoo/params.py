"""Params: what a factory takes besides the fixed arguments of its kind, read from its signature."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, create_model

from zoo.specs import Spec
from zoo.validation import read_values, reject_bool

FIXED = {"model": ("input_shape", "num_classes"), "dataset": ("root",), "metric": ("num_classes",)}
"""The arguments zoo itself passes to the factory of each kind."""


def resolve_params(spec: Spec, factory: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all params of the factory: given ones over the spec's over the signature's defaults.

    Text is converted to the annotated type; a param without annotation takes the type of its default.

    Raises:
        SettingError, UnknownSettingError, SeveralErrors: every problem at once.
    """
    model = _params_model(factory, FIXED[spec.kind])
    values = read_values(model, {**spec.params, **given}, where=f"{spec.kind} {spec.name!r}")
    # Not model_dump(): it would turn objects given from Python into copies.
    named = {field.alias or name: getattr(values, name) for name, field in model.model_fields.items()}
    return {**named, **(values.model_extra or {})}


def _params_model(factory: Callable[..., Any], fixed: tuple[str, ...]) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    extra = "forbid"
    for name, parameter in _signature(factory).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            extra = "allow"
        elif parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD) and name not in fixed:
            default = ... if parameter.default is parameter.empty else parameter.default
            # Under a name of our own: a param may be called as something that pydantic needs itself, `copy` say.
            fields[f"param_{name}"] = (_annotation(parameter), Field(default, alias=name))
    config = ConfigDict(extra=extra, allow_inf_nan=False, arbitrary_types_allowed=True, protected_namespaces=())  # type: ignore[typeddict-item]
    return create_model("Params", __config__=config, **fields)


def _signature(factory: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(factory, eval_str=True)
    except Exception:  # noqa: BLE001 evaluating annotations may raise anything
        # Annotations that only a type checker can resolve, or that are plain words; or no signature (a C function).
        try:
            return inspect.signature(factory)
        except (TypeError, ValueError):
            return inspect.Signature([inspect.Parameter("params", inspect.Parameter.VAR_KEYWORD)])


def _annotation(parameter: inspect.Parameter) -> Any:
    annotation = parameter.annotation
    if annotation is parameter.empty or isinstance(annotation, str):
        annotation = type(parameter.default) if isinstance(parameter.default, bool | int | float | str) else Any
    options = (annotation, *get_args(annotation))
    is_number = (int in options or float in options) and bool not in options
    return Annotated[annotation, BeforeValidator(reject_bool)] if is_number else annotation
