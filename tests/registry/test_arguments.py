"""Arguments of other types than a public function declares are refused by name, before anything is done."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy
import pytest
import torch

import zoo
from zoo.registry.arguments import checked, describe_type, is_of

ODD = [3, 2.5, None, b"bytes", object(), {"a": 1}, {1, 2}, [], [3], [None], ("x", "y"), True, print, torch.zeros(2)]
HARMLESS = {"__version__", "hookimpl", "model", "dataset", "metric", "loss", "logger", "weights", "load_model"}
"""No functions, or decorators, which check what they are given when a plugin is read; load_model hands all on."""


def find_functions() -> list[str]:
    names = [name for name in {*zoo.__all__, "list"} if inspect.isfunction(getattr(zoo, name))]
    return sorted(set(names) - HARMLESS)


@pytest.mark.parametrize("name", find_functions())
def test_every_argument_of_every_function_is_refused_by_name(name, own_folder):
    """Each parameter in turn gets odd values; where a value is of the declared type, nothing is called."""
    function = getattr(zoo, name)
    parameters = inspect.signature(function).parameters
    wrong = 0
    for parameter in parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD or parameter.annotation in ("Images", "Figure"):
            continue
        needed = {
            other.name: "x" for other in parameters.values() if other.default is other.empty and "**" not in str(other)
        }
        for value in ODD:
            annotation = eval(parameter.annotation, inspect.unwrap(function).__globals__)
            if is_of(value, annotation):
                continue
            with pytest.raises(zoo.ZooError) as caught:
                function(**{**needed, parameter.name: value})
            assert isinstance(caught.value, zoo.SettingError) and "--" not in str(caught.value)
            wrong += caught.value.name == parameter.name
    assert wrong or not parameters


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: zoo.run(model=3), "model: expected a text or None, got 3"),
        (lambda: zoo.run(runs_dir=3), "runs_dir: expected a text or a path or None, got 3"),
        (lambda: zoo.run(params=["a"]), "params: expected a dict or None, got ['a']"),
        (lambda: zoo.run(metrics=3), "metrics: expected a text or a list of texts or None, got 3"),
        (lambda: zoo.run(plugins="x.py"), "plugins: expected a list, got 'x.py'"),
        (lambda: zoo.run(registry="x"), "registry: expected a Registry or None, got 'x'"),
        (lambda: zoo.run(on_epoch=3), "on_epoch: expected a function or None, got 3"),
        (lambda: zoo.run(epochs="many"), "epochs: must be a whole number, got 'many'"),
        (lambda: zoo.load(None), "reference: expected a text or a path, got None"),
        (lambda: zoo.load_model(None), "reference: expected a text or a path, got None"),
        (lambda: zoo.compare("@last"), "references: expected a list, got '@last'"),
        (lambda: zoo.plot("@last", kind="x"), "no kind of picture named 'x'. Use one of: curves, schedule, confusion"),
        (lambda: zoo.plot("@last", grid=3), "grid: expected a tuple of 2, got 3"),
        (lambda: zoo.save_figure(3, "x.png"), "figure: expected a figure of matplotlib, got 3"),
        (lambda: zoo.verify(3), "reference: expected a text or a path, got 3"),
        (lambda: zoo.save(3, "x", model="baseline", input_shape=(1,), class_names=("a", "b")), "module: expected a"),
        (lambda: zoo.load("baseline@fashionmnist", device=0), "device: expected a text, got 0"),
        (lambda: zoo.predict("baseline@fashionmnist", 3), "images: expected (1, 28, 28)"),
        (lambda: zoo.predict("baseline@fashionmnist", None), "images: expected a path, a PIL image, an array"),
        (lambda: zoo.predict("baseline@fashionmnist", [object()]), "images: expected a path, a PIL image, an array"),
        (lambda: zoo.predict("baseline@fashionmnist", {"a": 1}), "images: expected a path, a PIL image, an array"),
        (lambda: zoo.predict("baseline@fashionmnist", "none.png"), "'none.png': cannot be read"),
        (
            lambda: zoo.load("baseline@fashionmnist")(torch.zeros(1, 28, 28), value_range=("a", 3)),
            "value_range: expected (low, high), got ('a', 3)",
        ),
    ],
)
def test_what_is_said(call, message):
    with pytest.raises(zoo.ZooError) as caught:
        call()
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("annotation", "right", "wrong"),
    [
        (str | None, ["a", None], [3, b"a"]),
        (int, [3, numpy.int64(3)], [True, 3.0, "3"]),
        (float, [3, 2.5, numpy.float32(1)], [True, "3"]),
        (str | os.PathLike[str], ["a", Path("a")], [3, None]),
        (Sequence[str], [("a",), ["a"], []], ["a", [3], {"a"}]),
        (Sequence[int], [(1, 2), torch.Size([3]), numpy.arange(3)], ["12", [2.5], 3]),
        (Mapping[str, Mapping[str, Any]], [{}, {"a": {}}], [[], {"a": 3}]),
        (tuple[int, int], [(1, 2), [1, 2]], [(1,), (1, "a"), 3]),
        (tuple[str, ...], [(), ("a", "b")], [(3,)]),
        (Literal["a", 1], ["a", 1], ["b", True]),
        (Callable[[int], None], [print], [3]),
        (Any, [3], []),
        (object, [3], []),
    ],
)
def test_types(annotation, right, wrong):
    assert all(is_of(value, annotation) for value in right)
    assert not any(is_of(value, annotation) for value in wrong)
    assert describe_type(annotation)


def test_the_function_stays_what_it_was():
    @checked
    def add(one: int, *, other: int = 2, **more: Any) -> int:
        """Add."""
        return one + other

    assert add(1) == 3 and add(1, other=5, third="x") == 6 and add.__doc__ == "Add."
    assert str(inspect.signature(add)).startswith("(one: 'int', *, other: 'int' = 2, **more: 'Any')")
    with pytest.raises(TypeError, match="missing"):
        add()
