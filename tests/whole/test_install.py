"""Installation as users do it: from a wheel and editable, used from outside the checkout."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import METRICS, ROOT, Environment

pytestmark = pytest.mark.slow

LISTING = """
    import json, sys
    import zoo
    import zoo.registry.manifest
    names = [zoo.list_models(), zoo.list_datasets(), zoo.list_metrics()]
    heavy = [name for name in sys.modules if name.split(".")[0] in ("torch", "torchvision", "numpy", "PIL", "pydantic")]
    foreign = [name for name in sys.modules if name.startswith(("zoo_sample", "zoo_plugins"))]
    print(json.dumps([zoo.__file__, str(zoo.registry.manifest.first_party_path()), names, heavy + foreign]))
"""
FIRST_PARTY = [
    ["baseline", "relu-mlp", "small-resnet", "tinyvgg"],
    ["cifar10", "cifar100", "fashionmnist", "image-folder", "image-shards", "kmnist", "mnist", "shapes"],
    METRICS,
]


@pytest.fixture(scope="module")
def installed(make_environment: Callable[[], Environment], wheels: dict[str, Path]) -> Environment:
    """Return an environment with zoo from its wheel."""
    environment = make_environment()
    environment.install(wheels["zoo-torch"])
    return environment


@pytest.fixture(scope="module")
def editable(make_environment: Callable[[], Environment]) -> Environment:
    """Return an environment with zoo as its developers install it."""
    environment = make_environment()
    environment.install("-e", ROOT)
    return environment


def test_the_wheel_holds_what_it_should_and_no_more(wheels: dict[str, Path]) -> None:
    with zipfile.ZipFile(wheels["zoo-torch"]) as wheel:
        names = set(wheel.namelist())
        manifest = wheel.read("zoo/registry.toml")
    assert {name.split("/")[0] for name in names} - {"zoo", "zoo_plugins"} == {
        next(name.split("/")[0] for name in names if ".dist-info/" in name)
    }
    assert manifest == (ROOT / "registry.toml").read_bytes()
    sources = {
        path.relative_to(folder).as_posix()
        for folder, top in ((ROOT, "zoo"), (ROOT / "plugins", "zoo_plugins"))
        for path in (folder / top).rglob("*.py")
    }
    packed = {name for name in names if ".dist-info/" not in name}
    assert len(sources) > 100 and sources <= packed
    unexpected = {name for name in packed - sources if not re.fullmatch(r"zoo(_plugins)?/.*", name)}
    assert not unexpected
    assert {"zoo/py.typed", "zoo/registry.toml"} <= packed
    assert not [name for name in packed if re.search(r"__pycache__|(^|/)(tests?/|test_)", name)]


def test_a_wheel_works_outside_the_checkout(installed: Environment) -> None:
    file, manifest, names, imported = installed.evaluate(LISTING, warm=False)
    assert Path(file) == installed.site_packages / "zoo" / "__init__.py"
    assert Path(manifest) == installed.site_packages / "zoo" / "registry.toml"
    assert names == FIRST_PARTY
    assert imported == []


def test_shipped_weights_predict_right_after_installation(installed: Environment) -> None:
    code = """
        import json
        import numpy
        import zoo
        predictor = zoo.load("tinyvgg@fashionmnist", verify=True)
        row = predictor(numpy.zeros((1, 28, 28), dtype=numpy.uint8))[0]
        print(json.dumps([zoo.list_weights(), row.label in predictor.class_names]))
    """
    names = [f"{model}-fashionmnist" for model in ("baseline", "relu-mlp", "small-resnet", "tinyvgg")]
    assert installed.evaluate(code, ZOO_OFFLINE="1") == [names, True]


def test_an_editable_installation_works_outside_the_checkout(editable: Environment) -> None:
    file, manifest, names, imported = editable.evaluate(LISTING, warm=False)
    assert Path(file) == ROOT / "zoo" / "__init__.py"
    assert Path(manifest) == ROOT / "registry.toml"
    assert names == FIRST_PARTY
    assert imported == []


def test_first_party_factories_are_found_when_installed(installed: Environment) -> None:
    code = """
        import json
        from zoo.registry.factories import load_factory
        from zoo.registry.entries import Registry
        registry = Registry.discover()
        entries = [entry for kind in ("model", "dataset", "metric") for entry in registry.list_entries(kind)]
        print(json.dumps(sorted(load_factory(entry).__module__.split(".")[0] for entry in entries)))
    """
    assert set(installed.evaluate(code)) == {"zoo_plugins"}
