"""Manifests: good ones, broken ones, hostile ones; and zoo's own, held against the code it names."""

from __future__ import annotations

import inspect
import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zoo.errors import ManifestError
from zoo.limits import MAX_MANIFEST
from zoo.registry.imports import import_object
from zoo.registry.loading import load_specs
from zoo.registry.manifest import Manifest, first_party_path, read_manifest
from zoo.registry.params import FIXED, resolve_params
from zoo.registry.plugins import plugin_from_specs
from zoo.registry.settings import resolve_config

MODEL = 'schema = 1\n[models.a]\nfactory = "a:b"\n'
FILE = 'path = "a"\nsize = 1\nsha256 = "' + "0" * 64 + '"\nurls = ["https://example.org/a"]\n'
DATASET = f'schema = 1\n[datasets.d]\nfactory = "a:b"\n[[datasets.d.files]]\n{FILE}'


def read(folder: Path, content: str | bytes) -> Manifest:
    path = folder / "registry.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_manifest(path)


def refuse(folder: Path, content: str | bytes) -> str:
    started = time.thread_time()
    with pytest.raises(ManifestError) as caught:
        read(folder, content)
    message = str(caught.value)
    assert time.thread_time() - started < 10, "it is slow, whatever else the machine does"
    assert message.startswith(str(folder / "registry.toml"))
    assert message.isprintable()
    assert len(message) < 1000
    return message.removeprefix(str(folder / "registry.toml")).removeprefix(": ")


def test_reads_all_kinds_without_importing(tmp_path: Path) -> None:
    manifest = read(tmp_path, DATASET + '[models.m]\nfactory = "nowhere:m"\n[metrics.s]\nfactory = "nowhere:s"\n')
    assert [(spec.kind, spec.name) for spec in manifest.specs] == [("dataset", "d"), ("model", "m"), ("metric", "s")]
    by_kind = load_specs(plugin_from_specs("mine", manifest.specs))
    assert [spec.name for spec in by_kind] == ["m", "d", "s"]
    assert manifest.specs[0].files[0].urls == ("https://example.org/a",)
    assert read(tmp_path, "schema = 1").specs == ()


def test_a_byte_order_mark_and_windows_lines_are_fine(tmp_path: Path) -> None:
    assert read(tmp_path, b"\xef\xbb\xbf" + MODEL.replace("\n", "\r\n").encode()).specs[0].name == "a"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("schema = 1\nmodels", "is not TOML: TOMLDecodeError"),
        ("schema = 1\nschema = 1", "is not TOML"),
        ("schema = 1\n\0", "is not TOML"),
        (MODEL + MODEL, "is not TOML"),
        (b"schema = 1 # \xe9", "is not UTF-8 text (byte 13); save it as UTF-8"),
        (MODEL.encode("utf-16"), "is not UTF-8 text"),
        ("schema = 1 #" + "x" * MAX_MANIFEST, "it has 4000012 bytes, at most 4000000 are read"),
        ("schema = 1\nx = " + "[" * 100_000, "is not TOML: RecursionError"),
        ("schema = 1\nx = " + "{a=" * 100_000, "is not TOML: RecursionError"),
        ("schema = 1\n" + "a." * 20_000 + "a = 1", "line 2: more dots"),
        ("schema = 1\n" + 'a."\u2028".' * 10_000 + "a = 1", "line 2: more dots"),
        ("schema = 1\n[" + "a." * 20_000 + "a]", "line 2: more dots"),
        ("schema = 1\n" + "".join(f"[a{n}.{'b.' * 500}b]\n" for n in range(200)), "more dots than any file needs"),
        ("schema = " + "9" * 100_000, "is not TOML"),
        ("", "schema: expected schema = 1 at the top, or 2 for losses, loggers, recipes; got None"),
        ("schema = true", "schema: expected schema = 1 at the top, or 2"),
        ("schema = 0", "schema: expected"),
        ('schema = "1"', "schema: expected"),
        ("schema = 3", "schema 3 is newer than this zoo reads (2)"),
        ("schema = 1\n[losses.l]\nfactory = 'a:b'", "[losses]: needs schema = 2 at the top, got 1"),
        ("schema = 0x" + "f" * 100_000, "is newer than this zoo reads"),
        ("schema = 1\nmodel = 3", "model: unknown key; did you mean 'models'? known keys: datasets, loggers,"),
        ('schema = 1\n"\\u001b[31m" = 3', r"'\x1b[31m': unknown key"),
        ("schema = 1\nmodels = 3", "[models] expected tables [models.NAME], got 3"),
        ("schema = 1\n[[models]]", "[models] expected tables"),
        ("schema = 1\nmodels.a = 3", "[models.a] expected a table, got 3"),
        ("schema = 1\n[models.a]", "[models.a] factory: missing"),
        ("schema = 1\n[models." + "a" * 50_000 + "]", "factory: missing"),
        ("schema = 1\n[models." + "a" * 50_000 + ']\nfactory = "a:b"', "name: expected lower-case letters"),
        ('schema = 1\n[models."../a"]\nfactory = "a:b"', "[models.../a] name: expected lower-case letters"),
        (MODEL + 'factroy = "a:b"', "[models.a] factroy: unknown key; did you mean 'factory'? known keys: adapt,"),
        (MODEL + 'name = "b"', "[models.a] name: unknown key"),
        (MODEL + '"' + "k" * 50_000 + '" = 1', "unknown key"),
        (MODEL + "params = 3", "[models.a] params: expected a table"),
        (MODEL + "params = { x = 1979-05-27 }", "[models.a] params.x: expected plain data"),
        (MODEL + "params = { x = nan }", "[models.a] params.x: expected plain data"),
        (MODEL + "params = { x = 0x" + "f" * 10_000 + " }", "[models.a] params.x: expected plain data"),
        (MODEL + "params" + ".a" * 1_900 + " = 1", "[models.a] params.a: expected plain data"),
        (MODEL + "input_shape = [0x" + "f" * 10_000 + ', "x"]', "[models.a] input_shape: expected a whole number"),
        (MODEL + "description = 3", "[models.a] description: expected text, got 3"),
        (MODEL + "description = [" + "1," * 50_000 + "]", "[models.a] description: expected text"),
        (DATASET.replace('"a"\n', '"../a"\n'), "[datasets.d.files.0] path: expected a relative path"),
        (DATASET.replace('"a"\n', '"/etc/passwd"\n'), "[datasets.d.files.0] path: expected a relative path"),
        (DATASET.replace("https", "http"), "[datasets.d.files.0] urls: expected an https:// address"),
        (DATASET.replace("https://example.org", "file:///etc"), "[datasets.d.files.0] urls: expected an https://"),
        (DATASET.replace("sha256", "md5"), "[datasets.d.files.0] md5: expected an MD5 of 32 lower-case"),
            (DATASET.replace("sha256", "sha1"), "[datasets.d.files.0] sha1: unknown key"),
            (DATASET + 'md5 = "' + 32 * "0" + '"', "[datasets.d.files.0] md5: declare sha256 alone"),
        (DATASET.replace("sha256 = ", "# "), "[datasets.d.files.0] sha256: missing"),
        (DATASET + "[[datasets.d.files]]\n", "[datasets.d.files.1] path: missing"),
        ('schema = 1\n[datasets.d]\nfactory = "a:b"\nfiles = [3]', "[datasets.d.files.0] expected a table, got 3"),
        ('schema = 1\n[datasets.d]\nfactory = "a:b"\nfiles = 3', "[datasets.d] files: expected a list"),
    ],
    ids=range(52),
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path: Path, content: str | bytes, why: str) -> None:
    assert why in refuse(tmp_path, content)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.toml"):
        with pytest.raises(ManifestError, match="cannot be read: ") as caught:
            read_manifest(path)
        assert str(path) in str(caught.value)


SCALARS = (
    st.booleans() | st.integers() | st.floats() | st.text() | st.dates() | st.datetimes() | st.times()
    | st.sampled_from(["a:b", "a", "*", "train", "resize", "https://example.org/a", "0" * 64])
)  # fmt: skip
KEYS = st.text(max_size=5) | st.sampled_from(
    [
        "schema",
        "models",
        "datasets",
        "metrics",
        "losses",
        "loggers",
        "recipes",
        "a",
        "factory",
        "params",
        "files",
        "input_shape",
        "class_names",
        "samples",
    ]
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4))
OPTIONAL = (
    "aliases", "params", "task", "adapt", "train", "samples", "input_shape", "class_names", "num_classes", "homepage"
)  # fmt: skip
FILES = st.lists(st.fixed_dictionaries(dict.fromkeys(("path", "size", "sha256", "urls"), VALUES)), max_size=2)
FIELDS = st.fixed_dictionaries(
    {"factory": st.just("a:b") | VALUES}, optional={**dict.fromkeys(OPTIONAL, VALUES), "files": FILES | VALUES}
)
DOCUMENTS = st.fixed_dictionaries(
    {"schema": st.just(2) | SCALARS},
    optional={kind: VALUES | st.dictionaries(KEYS, FIELDS, max_size=2) for kind in ("models", "datasets", "metrics")},
)


def to_toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {to_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    if isinstance(value, bool | str):
        return json.dumps(value).replace("\x7f", "\\u007f")
    return value.isoformat() if hasattr(value, "isoformat") else repr(value)


@pytest.mark.slow
@settings(max_examples=300)
@given(document=DOCUMENTS | st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_tree_is_a_manifest_or_one_error(tmp_path_factory: pytest.TempPathFactory, document: dict) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    lines = [f"{json.dumps(key)} = {to_toml(value)}" for key, value in document.items()]
    path.write_bytes("\n".join(lines).encode("utf-8", errors="replace"))
    try:
        assert isinstance(read_manifest(path), Manifest)
    except ManifestError as error:
        assert str(error).isprintable()


@settings(max_examples=300)
@given(data=st.binary(max_size=40), at=st.integers(0, len(DATASET)))
def test_any_bytes_are_a_manifest_or_one_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any.toml"
    path.write_bytes(DATASET.encode()[:at] + data + DATASET.encode()[at:])
    try:
        read_manifest(path)
    except ManifestError as error:
        assert str(error).isprintable()


FIRST_PARTY = [spec for spec in read_manifest(first_party_path()).specs if spec.kind in FIXED]


@pytest.mark.parametrize("spec", FIRST_PARTY, ids=lambda spec: f"{spec.kind}-{spec.name}")
def test_the_first_party_manifest_says_what_the_code_does(spec: object) -> None:
    factory = import_object(spec.factory)
    parameters = inspect.signature(factory).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.name not in FIXED[spec.kind] and p.default is not p.empty}
    assert dict(spec.params) == defaults
    assert resolve_params(spec, factory, {}) == defaults
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters)
    assert spec.description
    assert factory.__module__.startswith("zoo_plugins.")


@pytest.mark.parametrize("spec", [spec for spec in FIRST_PARTY if spec.kind == "model"], ids=lambda spec: spec.name)
def test_first_party_recommendations_are_settings(spec: object) -> None:
    config = resolve_config(spec.train, {})
    assert {name: getattr(config, name) for name in spec.train} == dict(spec.train)
