"""The registry: which entry a name means, what is listed, and what its builders accept."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import Packages
from torch import nn

import zoo
from zoo.data.loading import build_dataset
from zoo.errors import AmbiguousNameError, DataError, OutOfMemoryError, PluginError, UnknownNameError, UsageError
from zoo.registry.entries import Registry
from zoo.registry.factories import build_metric, build_model, load_factory
from zoo.registry.specs import SPEC_CLASSES


def spec(name: str, **fields: object) -> zoo.ModelSpec:
    return zoo.ModelSpec(**{"name": name, "factory": "nowhere:net", **fields})


def installed(packages: Packages, plugin: str, *names: str, fields: str = "") -> None:
    module = f"{plugin.replace('-', '_')}_zoo"
    packages.add(plugin, f"x = {module}:registry.toml")
    tables = [f'[models.{name}]\nfactory = "nowhere:net"\n{fields}' for name in names]
    packages.write(f"{module}/registry.toml", "\n".join(["schema = 1", *tables]))


def test_an_empty_registry_for_programs() -> None:
    registry = Registry()
    assert registry.list_entries("model") == []
    with pytest.raises(UnknownNameError, match="no model named 'baseline'"):
        registry.get("model", "baseline")
    registry.add(spec("net", aliases=["network"]), spec("other"))
    registry.add(spec("more"), plugin="mine")
    assert [entry.qualified_name for entry in registry.list_entries("model")] == [
        "local/net", "local/other", "mine/more",
    ]  # fmt: skip
    for name in ("net", "network", "local/net", "local/network"):
        assert registry.get("model", name).name == "net"
    assert zoo.list_models("more", registry=registry) == ["mine/more"]


def test_adding_says_what_is_wrong_and_adds_nothing() -> None:
    registry = Registry()
    registry.add(spec("net"))
    for wrong in ([spec("net")], [spec("a"), spec("a")], [spec("a", aliases=["net"])], [spec("a", aliases=["a"])]):
        with pytest.raises(PluginError, match="declared twice"):
            registry.add(*wrong)
    for name in ("zoo", "A", "a/b", ""):
        with pytest.raises(UsageError, match="cannot name a plugin"):
            registry.add(spec("a"), plugin=name)
    with pytest.raises(TypeError):
        registry.add("net")
    assert [entry.name for entry in registry.list_entries("model")] == ["net"]
    registry.add(spec("net"), plugin="other")
    with pytest.raises(AmbiguousNameError, match="Use one of: local/net, other/net"):
        registry.get("model", "net")


def test_two_packages_with_one_name(packages: Packages) -> None:
    installed(packages, "acme", "net", "own")
    installed(packages, "other", "net")
    registry = Registry.discover()
    with pytest.raises(AmbiguousNameError) as caught:
        registry.get("model", "net")
    assert caught.value.candidates == ("acme/net", "other/net")
    assert str(caught.value) == "model 'net' is provided by 2 plugins. Use one of: acme/net, other/net"
    assert registry.get("model", "acme/net").plugin.name == "acme"
    assert registry.get("model", "other/net").plugin.name == "other"
    assert registry.get("model", "own").qualified_name == "acme/own"


def test_an_alias_is_as_good_a_claim_as_a_name(packages: Packages) -> None:
    installed(packages, "acme", "net")
    installed(packages, "other", "web", fields='aliases = ["net"]')
    with pytest.raises(AmbiguousNameError, match="acme/net, other/web"):
        Registry.discover().get("model", "net")


@pytest.mark.promise("P5")
def test_a_package_cannot_change_what_baseline_means(packages: Packages) -> None:
    for plugin in ("acme", "zoo"):
        installed(packages, plugin, "baseline", "net")
    installed(packages, "by-alias", "web", fields='aliases = ["baseline", "tinyvgg"]')
    registry = Registry.discover()
    for name in ("baseline", "zoo/baseline"):
        assert registry.get("model", name).spec.factory == "zoo_plugins.models.baseline:Baseline"
    assert registry.get("model", "tinyvgg").is_first_party
    assert registry.get("model", "acme/baseline").spec.factory == "nowhere:net"
    assert [entry.short_name for entry in registry.list_entries("model", "baseline")] == ["baseline", "acme/baseline"]
    assert [problem.plugin for problem in registry.problems] == ["zoo"]


def test_two_entry_points_of_one_package_with_one_name(packages: Packages) -> None:
    packages.add("acme", "a = acme_zoo:a.toml\nb = acme_zoo:b.toml")
    for file in "ab":
        packages.write(f"acme_zoo/{file}.toml", 'schema = 1\n[models.net]\nfactory = "nowhere:net"')
    with pytest.raises(UsageError, match=r"model 'net' is declared twice in plugin 'acme': installed: acme 1.0"):
        Registry.discover().get("model", "net")


def test_two_files_with_one_stem_are_told_apart(tmp_path: Path) -> None:
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cnn.py").write_text(f"import zoo\n@zoo.model(name='net')\ndef {folder}(**k): ...\n")
    registry = Registry.discover([tmp_path / "a" / "cnn.py", tmp_path / "b" / "cnn.py"])
    with pytest.raises(UsageError, match="declared twice in plugin 'cnn'") as caught:
        registry.get("model", "cnn/net")
    assert str(tmp_path / "a" / "cnn.py") in str(caught.value)
    assert str(tmp_path / "b" / "cnn.py") in str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["baseline", "relu-mlp", "small-resnet", "tinyvgg", "local/base", "local/web"]),
        ("base", ["baseline", "local/base"]),
        ("base*", ["baseline", "local/base"]),
        ("local", ["local/base", "local/web"]),
        ("local/*", ["local/base", "local/web"]),
        ("zoo/*vgg", ["tinyvgg"]),
        ("we[ab]", ["local/web"]),
        ("[", []),
        ("BASE", []),
        ("x" * 10_000, []),
    ],
)
def test_lists_first_party_first_then_by_name(pattern: str, names: list[str]) -> None:
    registry = Registry.discover(disabled=["all"])
    registry.add(spec("web"), spec("base"))
    assert [entry.short_name for entry in registry.list_entries("model", pattern)] == names
    assert zoo.list_models(pattern, registry=registry) == names


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        ("model", "basline", "'baseline'"), ("model", "Baseline", "'baseline'"),
        ("dataset", "fashion-mnist", "'fashionmnist'"),
        ("metric", "acuracy", "'accuracy'"), ("model", "zoo/basline", "'baseline'"),
    ],
)  # fmt: skip
def test_an_unknown_name_comes_with_the_closest(kind: str, name: str, meant: str) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean {meant}"):
        Registry.discover(disabled=["all"]).get(kind, name)


@pytest.mark.parametrize(
    "name", ["", "/", "zoo/", "/baseline", "a/b/c", "\x1b[31m", "\0", "x" * 100_000, "nowhere/baseline"]
)
def test_no_name_breaks_the_search(name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        Registry.discover(disabled=["all"]).get("model", name)
    assert str(caught.value).isprintable()


def entry(kind: str, factory: object) -> object:
    registry = Registry()
    registry.add(SPEC_CLASSES[kind](name="x", factory=factory))
    return registry.get(kind, "x")


def fail(**_: object) -> None:
    raise RuntimeError("no luck")


def leave(**_: object) -> None:
    raise SystemExit(3)


MODEL = {"input_shape": (1, 2, 2), "num_classes": 2, "params": {}}


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        (fail, "model 'x' cannot be built: RuntimeError: no luck"), (leave, "cannot be built: SystemExit: 3"),
        (lambda **_: {}, "expected an nn.Module, got dict"),
        (lambda **_: None, "expected an nn.Module, got None: it returns"),
        (lambda **_: nn.ReLU(), "it has no parameters"), (lambda: None, "called with input_shape=... and num_classes"),
        (lambda *, num_classes, **_: nn.ReLU, "got the class ReLU itself: return ReLU(...)"),
        ("nowhere:net", "nowhere:net cannot be loaded: ModuleNotFoundError"),
        ("os:nothing", "os:nothing cannot be loaded"),
        ("os:sep", "os:sep is not a factory: expected a callable"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_built_is_its_plugins_fault(factory: object, why: str) -> None:
    with pytest.raises(PluginError) as caught:
        build_model(entry("model", factory), **MODEL)
    assert str(caught.value).startswith("plugin 'local': ")
    assert why in str(caught.value)


def test_a_data_set_gives_splits_or_an_error_that_names_its_plugin(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match=r"expected zoo.DataSplits, got list"):
        build_dataset(entry("dataset", lambda *, root: [root]), root=tmp_path, params={})

    def refuse(*, root: Path) -> None:
        raise DataError("the third picture is torn")

    with pytest.raises(DataError, match="the third picture"):
        build_dataset(entry("dataset", refuse), root=tmp_path, params={})


def test_a_metric_has_three_methods() -> None:
    class Half:
        update = compute = list

    with pytest.raises(PluginError, match="expected update, compute and reset, lacks reset"):
        build_metric(entry("metric", lambda **_: Half()), num_classes=2, params={})


def test_ctrl_c_and_memory_are_nobodys_fault() -> None:
    for error, told in ((KeyboardInterrupt, KeyboardInterrupt), (MemoryError, OutOfMemoryError)):

        def stop(error: type = error, **_: object) -> None:
            raise error

        with pytest.raises(told):
            build_model(entry("model", stop), **MODEL)


def test_first_party_entries_build() -> None:
    registry = Registry.discover(disabled=["all"])
    assert len(registry.list_entries("model")) == 4 and len(registry.list_entries("metric")) == 14
    for found in registry.list_entries("model"):
        model = build_model(found, input_shape=(1, 28, 28), num_classes=10, params={})
        assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
    for found in registry.list_entries("metric"):
        assert callable(load_factory(found))
