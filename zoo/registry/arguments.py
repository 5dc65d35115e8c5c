"""Arguments: those of a public function, held to what its annotations say, so that a mistake is told by its name."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache, wraps
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from zoo.errors import SettingError

P = ParamSpec("P")
T = TypeVar("T")

WORDS: dict[Any, str] = {
    str: "a text",
    os.PathLike: "a path",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    NoneType: "None",
    Callable: "a function",
    Mapping: "a dict",
    Sequence: "a list",
    tuple: "a tuple",
}
"""What a message calls a type; any other goes by its name."""


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function refuse arguments of other types than it declares, before it does anything.

    It raises SettingError with the name of the parameter. Keywords that it takes as `**settings` are checked where
    they are read.
    """
    signature = inspect.signature(function)

    @cache  # annotations may name types that are imported after the function was defined
    def read_types() -> dict[str, Any]:
        named = {
            name: parameter.annotation
            for name, parameter in signature.parameters.items()
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        }
        return {name: _evaluate(annotation, function.__globals__) for name, annotation in named.items()}

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        types = read_types()
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            if name in types and not is_of(value, types[name]):
                raise SettingError(name, f"expected {describe_type(types[name])}", value)
        return function(*args, **kwargs)

    return call


def _evaluate(annotation: Any, names: dict[str, Any]) -> Any:
    try:
        return eval(annotation, names) if isinstance(annotation, str) else annotation
    except NameError:  # a type that only a type checker imports
        return Any


def is_of(value: Any, annotation: Any) -> bool:
    """Tell whether a value is of an annotated type; what is inside lists and dicts is looked at as well."""
    kind, inner = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Any, object, inspect.Parameter.empty):
        return True
    if kind in (Union, UnionType):
        return any(is_of(value, option) for option in inner)
    if kind is Literal:
        return any(type(value) is type(choice) and value == choice for choice in inner)
    if kind in (None, NoneType):
        return value is None
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if kind is Sequence:
        return _is_list(value) and (not inner or _are_of(value, inner[0]))
    if kind is Mapping:
        return isinstance(value, Mapping) and (not inner or _are_of(list(value.values()), inner[1]))
    if kind is tuple:
        same = isinstance(value, tuple | list) and (not inner or inner[-1] is ... or len(value) == len(inner))
        return same and (not inner or all(map(is_of, value, inner if inner[-1] is not ... else inner[:1] * len(value))))
    return isinstance(value, kind) if isinstance(kind, type) else callable(value)


def _is_list(value: Any) -> bool:
    """Tell whether a value has a length and items by number, as lists, tuples, arrays and tensors have."""
    if isinstance(value, str | bytes | Mapping | set | frozenset):
        return False
    return all(hasattr(type(value), method) for method in ("__len__", "__getitem__", "__iter__"))


def _are_of(values: Any, annotation: Any) -> bool:
    # Of an array or a tensor all items are of one type, and there may be millions.
    return not isinstance(values, list | tuple) or all(is_of(value, annotation) for value in values)


def describe_type(annotation: Any) -> str:
    """Return in words what an annotated type takes."""
    kind, inner = get_origin(annotation) or annotation, get_args(annotation)
    if kind in (Union, UnionType):
        words = dict.fromkeys(describe_type(option) for option in inner if not _is_narrower(option, inner))
        return " or ".join(words)
    if kind is Literal:
        return " or ".join(map(repr, inner))
    if kind is tuple and inner and inner[-1] is not ...:
        return f"a tuple of {len(inner)}"
    if kind is Sequence and inner and inner[0] in (str, int):
        return "a list of texts" if inner[0] is str else "a list of whole numbers"
    if kind in WORDS:
        return WORDS[kind]
    name = getattr(kind, "__name__", str(kind))
    return "a path" if name == "Path" else f"{'an' if name[0] in 'AEIOU' else 'a'} {name}"


def _is_narrower(option: Any, options: Sequence[Any]) -> bool:
    """Tell whether another option takes all that this one takes: a Path is a path."""
    return option is not object and object in options
