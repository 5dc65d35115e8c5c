from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Optional

import pytest

from zoo.errors import SettingError, SeveralErrors, UnknownSettingError, UsageError
from zoo.registry.params import resolve_params
from zoo.registry.specs import DatasetSpec, MetricSpec, ModelSpec


def resolve(factory, declared=None, **given):
    return resolve_params(ModelSpec(name="m", factory=factory, params=declared or {}), factory, given)


def problem(factory, **given):
    with pytest.raises(UsageError) as caught:
        resolve(factory, **given)
    assert caught.value.exit_code == 2
    return str(caught.value)


def model(
    *,
    input_shape: tuple[int, ...],
    num_classes: int,
    units: int = 10,
    rate: float = 0.5,
    name: str = "relu",
    bias: bool = True,
    sizes: list[int] = [8, 16],  # noqa: B006 as plugins write it
    kernel: tuple[int, int] = (3, 3),
    act: Literal["relu", "gelu"] = "relu",
    depth: Literal[18, 34] = 18,
    width: Optional[int] = None,  # noqa: UP045 as plugins write it
    stages: list[int] | None = None,
    options: dict[str, float] | None = None,
):
    pass


DEFAULTS = {
    "units": 10,
    "rate": 0.5,
    "name": "relu",
    "bias": True,
    "sizes": [8, 16],
    "kernel": (3, 3),
    "act": "relu",
    "depth": 18,
    "width": None,
    "stages": None,
    "options": None,
}


def test_defaults_come_from_the_signature():
    assert resolve(model) == DEFAULTS
    assert list(resolve(model)) == list(DEFAULTS)


def test_given_wins_over_declared_over_the_signature():
    assert resolve(model, {"units": 20, "rate": 0.1}, units=30) == {**DEFAULTS, "units": 30, "rate": 0.1}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("units", "20", 20),
        ("units", "-1", -1),
        ("rate", "1e-3", 0.001),
        ("rate", "2", 2.0),
        ("name", "5", "5"),
        ("name", "[1, 2]", "[1, 2]"),
        ("bias", "true", True),
        ("bias", "False", False),
        ("bias", "0", False),
        ("bias", "no", False),
        ("bias", "on", True),
        ("sizes", "1,2,3", [1, 2, 3]),
        ("sizes", " 1 , 2 ", [1, 2]),
        ("sizes", "[1, 2]", [1, 2]),
        ("sizes", "3", [3]),
        ("sizes", "[]", []),
        ("kernel", "5,7", (5, 7)),
        ("kernel", "[5, 7]", (5, 7)),
        ("act", "gelu", "gelu"),
        ("depth", "34", 34),
        ("width", "64", 64),
        ("stages", "1,2", [1, 2]),
        ("stages", "3", [3]),
        ("options", '{"a": 1, "b": 0.5}', {"a": 1.0, "b": 0.5}),
    ],
)
def test_text_becomes_the_annotated_type(name, text, value):
    found = resolve(model, **{name: text})[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"units": "ten"}, "units: must be a whole number, got 'ten'"),
        ({"units": 1.5}, "units: must be a whole number, got 1.5"),
        ({"units": True}, "units: expected a number, got True"),
        ({"rate": False}, "rate: expected a number, got False"),
        ({"width": True}, "width: expected a number, got True"),
        ({"rate": "nan"}, "rate: must be finite, got 'nan'"),
        ({"rate": float("inf")}, "rate: must be finite, got inf"),
        ({"bias": "maybe"}, "bias: must be true or false, got 'maybe'"),
        ({"bias": 2}, "bias: must be true or false, got 2"),
        ({"name": 5}, "name: must be text, got 5"),
        ({"act": "tanh"}, "act: must be one of 'relu' or 'gelu', got 'tanh'"),
        ({"depth": "50"}, "depth: must be one of 18 or 34, got '50'"),
        ({"sizes": "1,x"}, "sizes.1: must be a whole number, got 'x'"),
        ({"units": None}, "units: must be a whole number, got None"),
    ],
)
def test_what_does_not_fit_the_annotation_is_refused(given, text):
    assert problem(model, **given) == text


def test_deeply_nested_text_is_refused_in_one_line():
    assert problem(model, sizes="[" * 100_000).startswith("sizes.0: must be a whole number")
    assert problem(model, kernel="1,2,3").startswith("kernel")
    assert problem(model, options="a=1").startswith("options")


def test_all_problems_are_reported_at_once():
    with pytest.raises(SeveralErrors) as caught:
        resolve(model, units="ten", rate="nan", nuits=3, learning_rate=1)
    assert [type(each) for each in caught.value.problems] == [UnknownSettingError] * 2 + [SettingError] * 2


def test_an_unknown_param_comes_with_the_closest():
    assert problem(model, nuits=3) == "model 'm' has no setting 'nuits'. Did you mean 'units'?"
    assert problem(model, xyzzy=3) == f"model 'm' has no setting 'xyzzy'. Known: {', '.join(DEFAULTS)}"
    # An alias helps only where it leads somewhere.
    assert "lr" not in problem(model, learning_rate=3)

    def tuned(*, input_shape, num_classes, lr=0.1):
        pass

    assert problem(tuned, learning_rate=3) == "model 'm' has no setting 'learning_rate'. Did you mean 'lr'?"


def test_the_arguments_of_the_contract_are_no_params():
    for name in ("input_shape", "num_classes"):
        assert "has no setting" in problem(model, **{name: 3})

    def dataset(*, root, num_classes=3):
        pass

    def metric(*, num_classes, root="r"):
        pass

    assert resolve_params(DatasetSpec(name="d", factory=dataset), dataset, {}) == {"num_classes": 3}
    assert resolve_params(MetricSpec(name="k", factory=metric), metric, {}) == {"root": "r"}
    with pytest.raises(UnknownSettingError, match="dataset 'd' has no setting 'root'"):
        resolve_params(DatasetSpec(name="d", factory=dataset), dataset, {"root": "x"})


def test_a_param_without_default_must_be_given():
    def needy(*, input_shape, num_classes, units: int):
        pass

    assert problem(needy) == "units: needs a value"
    assert resolve(needy, units="3") == {"units": 3}
    assert resolve(needy, {"units": 4}) == {"units": 4}


def test_kwargs_take_anything():
    def open_ended(*, input_shape, num_classes, units: int = 3, **others):
        pass

    given = {"units": "4", "copy": 1, "json": "x", "model_config": [2], "param_units": 5, "_private": None}
    assert resolve(open_ended, **given) == {**given, "units": 4}

    def only_kwargs(**kwargs):
        pass

    assert resolve(only_kwargs) == {}
    assert resolve(only_kwargs, pretrained=True, depth="18") == {"pretrained": True, "depth": "18"}


def test_params_may_be_called_like_methods_of_pydantic():
    def shadowing(
        *,
        input_shape,
        num_classes,
        copy: int = 1,
        json: bool = False,
        schema: str = "s",
        model_config: int = 2,
        model_fields: int = 3,
        _hidden: int = 4,
    ):
        pass

    expected = {"copy": 1, "json": False, "schema": "s", "model_config": 2, "model_fields": 3, "_hidden": 4}
    assert resolve(shadowing) == expected
    given = dict.fromkeys(expected, "1")
    assert resolve(shadowing, **given) == {**dict.fromkeys(expected, 1), "json": True, "schema": "1"}


def test_without_annotation_the_default_gives_the_type():
    def bare(*, input_shape, num_classes, units=10, rate=0.5, bias=True, name="x", width=None, sizes=(1, 2)):
        pass

    texts = {"units": "20", "rate": "1", "bias": "no", "name": "5", "width": "7", "sizes": "3"}
    expected = {"units": 20, "rate": 1.0, "bias": False, "name": "5", "width": "7", "sizes": "3"}
    assert resolve(bare, **texts) == expected
    assert problem(bare, units=True) == "units: expected a number, got True"


@pytest.mark.parametrize("annotation", ["'words'", "number of units", "Missing", "pytest.Nothing", "1 / 0", "[][0]"])
def test_annotations_that_name_no_type_leave_the_type_of_the_default(annotation):
    def odd(*, input_shape, num_classes, units=10, rate: float = 0.5):
        pass

    odd.__annotations__["units"] = annotation
    assert resolve(odd, units="20", rate="1") == {"units": 20, "rate": 1.0}
    assert problem(odd, units="x") == "units: must be a whole number, got 'x'"


def test_text_annotations_are_resolved():
    # This module postpones its annotations, so that they all are texts.
    assert model.__annotations__["units"] == "int"
    assert resolve(model, units="20")["units"] == 20


def test_other_annotations():
    class Layer:
        pass

    def odd(
        *,
        input_shape,
        num_classes,
        layer: Any = None,
        norm: Layer | None = None,
        few: Sequence[int] = (),
        both: int | str = 1,
        bare: list = (),
        marked: Annotated[int, "units"] = 1,
    ):
        pass

    odd.__annotations__["norm"] = Layer | None
    layer = Layer()
    values = resolve(odd, layer=layer, norm=layer, few="1,2", both="5", bare="a,b", marked="4")
    assert values["layer"] is layer
    assert values["norm"] is layer
    assert list(values["few"]) == [1, 2]
    assert (values["both"], values["bare"], values["marked"]) == ("5", ["a", "b"], 4)


def test_classes_and_callables_without_signature_work():
    class Net:
        def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, units: int = 3) -> None:
            pass

    assert resolve(Net, units="4") == {"units": 4}
    assert resolve(dict, units="4") == {"units": "4"}


def test_declared_lists_are_not_shared():
    declared = {"sizes": [1, 2]}
    resolve(model, declared)["sizes"].append(3)
    assert declared == {"sizes": [1, 2]}
    resolve(model)["sizes"].append(3)
    assert resolve(model)["sizes"] == [8, 16]
