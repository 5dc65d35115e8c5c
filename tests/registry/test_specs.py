"""Specs: what may be declared, and how anything else is refused."""

from __future__ import annotations

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

import zoo
from zoo.errors import show
from zoo.registry.fields import check_name
from zoo.registry.specs import SPEC_ATTRIBUTE

SHA256 = "0" * 64
BAD_NAMES = [
    "", "/", "a/b", "..", ".", "a\\b", "a\0", "a\n", "\x1b[31mred", "b\u0430seline", "\uff41", "a\u200bb", "a" * 65,
    "x" * 300, "con", "nul.txt", "com1", "-a", "a-", ".a", "a.", "_a", "A", "a b", "a:b", "\xe9", None, 3, b"a", ["a"],
]  # fmt: skip


@pytest.mark.promise("P7")
@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_bad_names_are_refused_and_shown_escaped(name: object) -> None:
    with pytest.raises(ValueError, match=r"^name: ") as caught:
        check_name(name)
    assert len(str(caught.value)) < 450
    with pytest.raises(ValueError, match=r"^name: "):
        zoo.ModelSpec(name=name, factory="a:b")
    with pytest.raises(ValueError, match=r"^name: |^aliases: "):
        zoo.ModelSpec(name="a", factory="a:b", aliases=[name])


@pytest.mark.promise("P7")
@given(st.from_regex(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?", fullmatch=True))
def test_good_names_are_plain_file_names(name: str) -> None:
    try:
        assert check_name(name) == name
    except ValueError:
        assert re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name)
    assert "/" not in name
    assert name.isascii()


@pytest.mark.parametrize(
    "factory", ["", "a", "a:", ":b", "a.b", "a b:c", "a:b()", "a:b\n", "../a:b", "a..b:c", "1:a", 3]
)
def test_bad_factories_are_refused(factory: object) -> None:
    with pytest.raises(ValueError, match=r"factory: expected 'package.module:object'"):
        zoo.ModelSpec(name="a", factory=factory)


class Anything:
    def __repr__(self) -> str:
        return "x" * 10_000


DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**63,
        -(2**63) - 1,
        16**10_000,
        b"a",
        {1: 2},
        {"a": {2: 3}},
        object,
        {1},
        Anything(),
        DEEP,
    ],
    ids=range(12),
)
@pytest.mark.parametrize("field", ["params", "train"])
def test_params_are_plain_data(value: object, field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field}\.x") as caught:
        zoo.ModelSpec(name="a", factory="a:b", **{field: {"x": value}})
    assert len(str(caught.value)) < 450
    with pytest.raises(ValueError, match=rf"{field}\.x"):
        zoo.ModelSpec(name="a", factory="a:b", **{field: {"x": [value]}})


def test_plain_params_are_kept_as_they_are() -> None:
    params = {"a": 1, "b": 0.5, "c": "text", "d": True, "e": None, "f": [1, (2,)], "g": {"h": {}}, "i": 2**63 - 1}
    assert zoo.ModelSpec(name="a", factory="a:b", params=params).params == params


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("description", 3), ("task", "regression"), ("aliases", "abc"), ("aliases", [3]), ("params", [1]),
        ("params", {1: 2}), ("input_shape", "abc"), ("input_shape", 3), ("input_shape", [0]), ("input_shape", [True]),
        ("input_shape", ["?"]), ("input_shape", [1.0]), ("adapt", ["rotate"]), ("adapt", "resize"), ("train", None),
    ],
)  # fmt: skip
def test_wrong_model_fields_are_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        zoo.ModelSpec(name="a", factory="a:b", **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input_shape", ["*"]), ("num_classes", 0), ("num_classes", "3"), ("class_names", "abc"), ("class_names", [1]),
        ("samples", {"dev": 3}), ("samples", {"train": -1}), ("files", ["a"]), ("files", 3), ("homepage", 3),
    ],
)  # fmt: skip
def test_wrong_dataset_fields_are_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}"):
        zoo.DatasetSpec(name="a", factory="a:b", **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "A"), ("model", "a/B"), ("dataset", "con"), ("file", 3), ("file", ["a"]), ("metrics", {"x": "high"}),
        ("metrics", {"x": True}), ("metrics", {"x": None}),
    ],
)  # fmt: skip
def test_wrong_weights_fields_are_named(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^{field}[.:]"):
        zoo.WeightsSpec(**{"name": "a", "model": "m", "dataset": "d", "file": "a:b", field: value})


def test_class_names_and_their_number_agree() -> None:
    assert zoo.DatasetSpec(name="a", factory="a:b", class_names=["x", "y"]).num_classes == 2
    with pytest.raises(ValueError, match="class_names: expected 3 names, got 2"):
        zoo.DatasetSpec(name="a", factory="a:b", class_names=["x", "y"], num_classes=3)


def test_texts_are_one_printable_line() -> None:
    spec = zoo.DatasetSpec(
        name="a", factory="a:b", description="\x1b[31mred\n and\tmore", homepage="\x07", license="MIT"
    )
    assert (spec.description, spec.homepage, spec.license) == (r"\x1b[31mred and more", r"\x07", "MIT")


def file_spec(**changes: object) -> zoo.FileSpec:
    return zoo.FileSpec(
        **{"path": "a/b.gz", "size": 1, "sha256": SHA256, "urls": ("https://example.org/b",), **changes}
    )


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/passwd", "..", "../a", "a/../b", "a/..", "./a", "a//b", "a/", "C:/a", "C:a", "a\\b", "\\\\host\\x",
        "a\0", "a\n", "\x1b[31m", "a*", "a?", 'a"', "a|b", "<a", "a\x7f", "a\u202eb", "con", "a/NUL.txt", "a.", "a ",
        " a", "a" * 300, 3, None,
    ],
    ids=ascii,
)  # fmt: skip
def test_a_file_stays_in_its_folder(path: object) -> None:
    with pytest.raises(ValueError, match="path: expected a relative path"):
        file_spec(path=path)


@pytest.mark.promise("P7")
@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/a", "file:///etc/passwd", "ftp://a/b", "//host/a", "a", "", 3, "https://", "https://a b",
        "https://a/\x1b[31m", "http://localhost:80@example.org/a", "http://127.0.0.1.example.org/a", "HTTPS://a/\n",
    ],
    ids=ascii,
)  # fmt: skip
def test_only_https_urls(url: object) -> None:
    with pytest.raises(ValueError, match="urls: expected"):
        file_spec(urls=(url,))


@pytest.mark.parametrize("url", ["https://example.org/a?b=c#d", "http://127.0.0.1:8000/a", "http://localhost/a"])
def test_good_urls(url: str) -> None:
    assert file_spec(urls=[url]).urls == (url,)


@pytest.mark.parametrize(
    "changes",
    [
        {"size": -1}, {"size": True}, {"sha256": "0" * 63}, {"sha256": "A" * 64}, {"sha256": None}, {"urls": "https://a"},
        {"unpacked_size": 3}, {"unpacked_sha256": SHA256}, {"path": "a", "unpacked_size": 3, "unpacked_sha256": SHA256},
    ],
)  # fmt: skip
def test_wrong_file_fields_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"expected|only for"):
        file_spec(**changes)


def test_specs_are_frozen_and_share_nothing() -> None:
    params = {"a": 1}
    spec = zoo.ModelSpec(name="a", factory="a:b", params=params)
    params["a"] = 2
    assert spec.params["a"] == 1
    with pytest.raises(TypeError):
        spec.params["a"] = 3
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.name = "b"


def test_decorators_attach_and_do_not_inherit() -> None:
    @zoo.model(name="one")
    @zoo.model(name="uno")
    class One: ...

    @zoo.model(name="two")
    class Two(One): ...

    class Three(Two): ...

    @zoo.dataset(name="data")
    def data() -> None: ...

    @zoo.metric(name="score", higher_is_better=False)
    def score() -> None: ...

    assert [spec.name for spec in getattr(One, SPEC_ATTRIBUTE)] == ["uno", "one"]
    assert [(spec.name, spec.factory) for spec in getattr(Two, SPEC_ATTRIBUTE)] == [("two", Two)]
    assert SPEC_ATTRIBUTE not in vars(Three)
    assert [getattr(made, SPEC_ATTRIBUTE)[0].kind for made in (data, score)] == ["dataset", "metric"]


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_show_is_short(value: object) -> None:
    assert len(show(value)) <= 300
