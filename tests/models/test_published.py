"""Weights that the loader of a plugin gives: checked, kept as a weights file once, and used like any other."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import urllib.error
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Packages
from torch import nn

import zoo
from zoo.checks.plugin import check_plugin
from zoo.models.published import fetch_published
from zoo.models.references import find_weights
from zoo.records.header import read_header
from zoo.registry.index import ensure_indexed
from zoo.registry.places import open_places
from zoo.storage.folders import zoo_home

STEPS = zoo.Preprocess(resize=12, crop=(8, 10), mean=(0.5,) * 3, std=(0.2,) * 3)
NAMES = ("red", "green", "blue")


class Net(nn.Module):
    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(input_shape[0], width, 3), nn.BatchNorm2d(width)
        self.head = nn.Linear(width, num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.conv(inputs)).mean(dim=(2, 3)))


def make_tensors(width: int = 6, seed: int = 3) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return dict(Net(input_shape=(3, 8, 10), num_classes=3, width=width).state_dict())


def make_weights(**changed: Any) -> zoo.PretrainedWeights:
    given = {"state_dict": make_tensors(), "class_names": NAMES, "input_shape": (3, 8, 10), "preprocess": STEPS}
    return zoo.PretrainedWeights(**{**given, "params": {"width": 6}, **changed})


def make_registry(loader: Any, **declared: Any) -> zoo.Registry:
    registry = zoo.Registry()
    spec = {"name": "net.one", "model": "net", "dataset": "colours", "loader": loader, **declared}
    registry.add(zoo.ModelSpec(name="net", factory=Net), zoo.WeightsSpec(**spec), plugin="lib")
    return registry


class Loader:
    """Gives weights, or raises an error, and notes its calls."""

    def __init__(self, given: Any = None) -> None:
        self.given, self.calls = given, list[dict[str, Any]]()

    def __call__(self, **arguments: Any) -> Any:
        self.calls.append(arguments)
        given = self.given() if callable(self.given) else self.given
        if isinstance(given, BaseException):
            raise given
        return given


def find(reference: str, registry: zoo.Registry, *, offline: bool = False) -> Path:
    return find_weights(reference, open_places(registry, offline=offline))


def refused(kind: type[zoo.ZooError], given: Any, *, offline: bool = False, **declared: Any) -> str:
    """Return what is said of what a loader gives or raises; nothing of it is kept."""
    with pytest.raises(kind) as caught:
        find("lib/net.one", make_registry(Loader(given), **declared), offline=offline)
    assert type(caught.value) is kind
    assert not list((zoo_home() / "weights").rglob("*.*"))
    return str(caught.value)


def test_weights_of_a_loader_are_a_file_from_the_first_use_on() -> None:
    loader = Loader(lambda: make_weights(source="https://x.org/net.bin", sha256="ab" * 32, versions={"lib": "2.1"}))
    registry = make_registry(loader, license="MIT", homepage="https://x.org", metrics={"accuracy": 0.75})
    path = find("lib/net@colours", registry)
    assert path == find("net.one", registry, offline=True) == find("lib/net.one", registry)
    assert loader.calls == [{"name": "net.one", "offline": False}]
    metadata = read_header(path).metadata
    assert metadata["published"] == {
        **{"name": "net.one", "license": "MIT", "homepage": "https://x.org", "source": "https://x.org/net.bin"},
        **{"plugin": {"name": "lib", "version": "", "source": "given from Python"}, "sha256": "ab" * 32},
        "metrics": {"accuracy": 0.75},
    }
    assert metadata["versions"].keys() == {"lib", "zoo", "torch"} and metadata["dataset"] == {"name": "colours"}
    assert "metrics" not in metadata  # nobody here has measured them
    predictor = zoo.load("lib/net@colours", registry=registry, verify=True)
    tensors = make_tensors()
    assert all(torch.equal(value, tensors[name]) for name, value in predictor.model.state_dict().items())
    assert (predictor.preprocess, predictor.class_names, predictor.params) == (STEPS, NAMES, {"width": 6})
    golden = metadata["golden"]
    assert golden["shape"] == [8, 3, 12, 12] and len({tuple(row) for row in golden["probabilities"]}) == 8
    card = repr(zoo.show("lib/net@colours", registry=registry))
    for told in ("lib/net.one", "MIT", "https://x.org", "ab" * 32, "accuracy=0.75"):
        assert told in card
    assert "trained with" not in card


def test_who_waited_for_another_process_takes_what_that_has_made() -> None:
    loader = Loader(make_weights)
    registry = make_registry(loader)
    path = find("lib/net.one", registry)
    entry, model = registry.get("weights", "lib/net.one"), registry.get("model", "lib/net")
    assert fetch_published(entry, model, path, offline=False) == path and len(loader.calls) == 1


def test_classes_without_names_are_numbered() -> None:
    registry = make_registry(lambda **_: make_weights(class_names=(), num_classes=3))
    assert zoo.load("lib/net.one", registry=registry).class_names == ("class 0", "class 1", "class 2")


def test_what_is_not_used_is_neither_imported_nor_loaded(packages: Packages) -> None:
    manifest = """
        schema = 1
        [models.net]
        factory = "lib.heavy:Net"
        [weights."net.one"]
        model = "net"
        dataset = "colours"
        loader = "lib.heavy:load"
        default = true
        license = "MIT"
        [weights."net.two"]
        model = "net"
        dataset = "colours"
        loader = "lib.heavy:load"
    """
    packages.add("lib", "lib = lib:registry.toml", lib____init__="", lib__heavy="raise SystemExit('imported')")
    packages.write("lib/registry.toml", manifest)
    assert "lib/net.one" in zoo.list_weights()
    for name in ("lib/net@colours", "lib/net.one"):
        card = repr(zoo.show(name))
        assert "lib/net.one: weights" in card and "lib.heavy:load" in card and "MIT" in card
    with pytest.raises(zoo.PluginError, match=r"'lib' 1\.0: lib.heavy:load cannot be loaded: SystemExit: imported"):
        zoo.load("lib/net@colours")


HOOKS = """
    import zoo

    def load(*, name, offline):
        print("loading", name)
        import torch
        from lib.net import Net

        torch.manual_seed(SEED)
        state = Net(input_shape=(3, 8, 8), num_classes=2).state_dict()
        return zoo.PretrainedWeights(state_dict=state, num_classes=2, input_shape=(3, 8, 8))

    @zoo.hookimpl
    def zoo_models():
        yield zoo.ModelSpec(name="net", factory="lib.net:Net")

    @zoo.hookimpl
    def zoo_weights():
        yield zoo.WeightsSpec(name="net.hook", model="net", dataset="colours", loader=load)

    @zoo.weights(name="net.mark", model="net", dataset="colours", default=True)
    def load_marked(*, name, offline):
        return load(name=name, offline=offline)
"""
NET = """
    from torch import nn

    class Net(nn.Module):
        def __init__(self, *, input_shape, num_classes):
            super().__init__()
            self.head = nn.Linear(input_shape[0], num_classes)

        def forward(self, inputs):
            return self.head(inputs.mean(dim=(2, 3)))
"""


def test_hooks_and_decorators_declare_loaders_and_a_new_version_is_loaded_anew(
    packages: Packages, capfd: pytest.CaptureFixture[str]
) -> None:
    info = packages.add("lib", "lib = lib.hooks", lib____init__="", lib__net=NET, lib__hooks=HOOKS.replace("SEED", "1"))
    ensure_indexed(zoo.Registry.discover().plugins[-1])
    assert {"lib/net.hook", "lib/net.mark"} <= set(zoo.list_weights("net"))
    first = zoo.load("lib/net@colours").model.head.weight
    out, err = capfd.readouterr()
    assert (out, "loading net.mark" in err) == ("", True)
    assert torch.equal(zoo.load("lib/net.hook", offline=True).model.head.weight, first)
    # The same version with another loader, as its author has it, and another version.
    packages.write("lib/hooks.py", HOOKS.replace("SEED", "22"))
    kept = [name for name in sys.modules if name.partition(".")[0] == "lib"]
    for name in kept:
        del sys.modules[name]
    second = zoo.load("lib/net@colours").model.head.weight
    assert not torch.equal(first, second)
    info.rename(info.with_name("lib-2.0.dist-info"))
    (info.with_name("lib-2.0.dist-info") / "METADATA").write_text("Metadata-Version: 2.1\nName: lib\nVersion: 2.0\n")
    zoo.load("lib/net@colours")
    assert len(list((zoo_home() / "weights" / "lib").glob("net.mark-*.safetensors"))) == 3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"state_dict": {}}, "state_dict: expected a table of tensors by name"),
        ({"state_dict": [1]}, "state_dict: expected a table of tensors by name, got 'list'"),
        ({"state_dict": {"a": 1}}, "state_dict: expected tensors by name, got 'a': int"),
        ({"input_shape": (3, 8)}, r"input_shape: expected \(channels, height, width\), got \(3, 8\)"),
        ({"input_shape": (3, 8, 8)}, r"input_shape: expected \(3, 8, 10\), which preprocess makes, got \(3, 8, 8\)"),
        ({"input_shape": (3, 0, 8)}, "input_shape: expected a whole number of at least 1, got 0"),
        ({"input_shape": None}, "input_shape: expected a list of sizes, got None"),
        ({"preprocess": {"resize": 8}}, "preprocess: expected a Preprocess, got "),
        ({"class_names": "abc"}, "class_names: expected a list of texts, got 'abc'"),
        ({"class_names": ()}, "class_names or num_classes: expected a whole number of at least 1, got 0"),
        ({"num_classes": 4}, "class_names: expected 4 names, got 3"),
        ({"class_names": (), "num_classes": 10**7}, "num_classes: expected at most 100000, got 10000000"),
        ({"params": {"width": object()}}, "params.width: expected plain data"),
        ({"license": None}, "license: expected text, got None"),
        ({"sha256": "abc"}, "sha256: expected a SHA-256"),
    ],
)
def test_fields_are_checked_where_they_are_given(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_weights(**changed)


def without(name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in make_tensors().items() if key != name}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (RuntimeError("no luck"), "weights 'net.one' their loader failed: RuntimeError: no luck"),
        (SystemExit(3), "weights 'net.one' their loader failed: SystemExit: 3"),
        (lambda: None, "expected zoo.PretrainedWeights, got NoneType"),
        (lambda: {"state_dict": make_tensors()}, "expected zoo.PretrainedWeights, got dict"),
        (
            lambda: make_weights(state_dict=without("head.bias")),
            "lib/net.one lacks 1 of 9 tensors: the first is 'head.bias'",
        ),
        (
            lambda: make_weights(state_dict={**make_tensors(), "aux.bias": torch.zeros(2)}),
            "lib/net.one has unexpected 1 of 9 tensors: the first is 'aux.bias'",
        ),
        (lambda: make_weights(params={}), "tensor 'conv.weight': (6, 3, 3, 3) torch.float32 in the file, (4, 3, 3, 3)"),
        (lambda: make_weights(params={"depth": 3}), "model 'net' has no setting 'depth'"),
        (
            lambda: make_weights(state_dict={**make_tensors(), "head.bias": torch.full((3,), torch.inf)}),
            "tensor 'head.bias': 3 of its values are not finite",
        ),
        (
            lambda: make_weights(
                state_dict={**make_tensors(), "head.bias": torch.full((3,), 1e300, dtype=torch.float64)}
            ),
            "torch.float64 in the file, (3,) torch.float32 in the model, and its values do not fit",
        ),
        (
            lambda: make_weights(state_dict={**make_tensors(), "head.bias": torch.zeros(3, dtype=torch.complex64)}),
            "torch.complex64 in the file, (3,) torch.float32 in the model, and its values do not fit",
        ),
        (
            lambda: make_weights(class_names=(), num_classes=4),
            "tensor 'head.weight': (3, 6) torch.float32 in the file, (4, 6)",
        ),
    ],
)
def test_what_a_loader_does_wrong_is_its_plugins(given: Any, message: str) -> None:
    said = refused(zoo.PluginError, given)
    assert said.startswith("plugin 'lib': ") and message in said


@pytest.mark.parametrize(
    "error",
    [
        urllib.error.URLError("no route"),
        urllib.error.HTTPError("https://x.org", 404, "Not Found", {}, None),  # type: ignore[arg-type]
        ConnectionResetError("cut"),
        TimeoutError("nothing came"),
        socket.gaierror(-2, "Name or service not known"),
        RuntimeError('invalid hash value (expected "aa", got "bb")'),
    ],
)
def test_what_cannot_be_fetched_is_told_with_advice(error: Exception) -> None:
    said = refused(zoo.DownloadError, error)
    assert said.startswith("cannot fetch the weights 'lib/net.one': ") and "try again" in said
    wrapped = OSError("could not load it")
    wrapped.__cause__ = error
    said = refused(zoo.DownloadError, wrapped, offline=True)
    assert "offline, and not here" in said and said.endswith("Run once with offline=False")


def test_a_loader_tells_of_what_it_does_not_have_in_zoos_words() -> None:
    assert refused(zoo.DownloadError, zoo.DownloadError("no net.bin", "not in the cache"), offline=True) == (
        "no net.bin: offline, and not here: not in the cache. Run once with offline=False"
    )
    assert refused(zoo.DownloadError, zoo.DownloadError("a", "b", "Do this")) == "a: b. Do this"
    assert refused(zoo.UsageError, zoo.UsageError("needs other", "it is not installed")).startswith("needs other")


def test_the_command_line_exits_with_six(packages: Packages, warm_python: str) -> None:
    hooks = HOOKS.replace("print(", "raise ConnectionError(")
    packages.add("lib", "lib = lib.hooks", lib____init__="", lib__net=NET, lib__hooks=hooks)
    command = [warm_python, "-m", "zoo", "verify", "lib/net@colours", "--offline"]
    environment = {**os.environ, "PYTHONPATH": str(packages.folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (6, ""), done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "ConnectionError: [Errno loading] net.mark. Run once without --offline"
    )


def test_a_loader_leaves_the_process_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    def load(**_: Any) -> zoo.PretrainedWeights:
        weights = make_weights()
        torch.set_default_dtype(torch.float64)
        os.environ["TORCH_HOME"] = "/elsewhere"
        return weights

    torch.manual_seed(5)
    before = torch.get_rng_state()
    find("lib/net.one", make_registry(load))
    assert torch.get_default_dtype() == torch.float32 and "TORCH_HOME" not in os.environ
    assert torch.equal(torch.get_rng_state(), before)
    assert "plugin 'lib' changed the " in caplog.text and "while it loaded weights" in caplog.text


def test_one_of_several_is_what_a_pair_means() -> None:
    registry = make_registry(lambda **_: make_weights(), default=True)
    registry.add(zoo.WeightsSpec(name="net.two", model="net", dataset="colours", loader="a.b:c"), plugin="lib")
    registry.add(zoo.WeightsSpec(name="net.three", model="net", dataset="shades", loader="a.b:c"), plugin="lib")
    assert find("lib/net@colours", registry).name.startswith("net.one-")
    assert "lib/net.three: weights" in repr(zoo.show("lib/net@shades", registry=registry))
    registry.add(
        zoo.WeightsSpec(name="net.four", model="net", dataset="colours", loader="a.b:c", default=True), plugin="lib"
    )
    with pytest.raises(
        zoo.WeightsError, match=r"several weights are lib/net@colours. Use one of: lib/net.one, lib/net.four"
    ):
        find("lib/net@colours", registry)


def test_exactly_one_place_is_declared() -> None:
    common = {"name": "net.one", "model": "net", "dataset": "colours"}
    for wrong in ({}, {"loader": "a.b:c", "file": "a:b"}, {"loader": "a.b:c", "url": "https://x.org/w"}):
        with pytest.raises(ValueError, match="file, url, loader: expected one of them"):
            zoo.WeightsSpec(**common, **wrong)
    with pytest.raises(ValueError, match="size, sha256: only together with url"):
        zoo.WeightsSpec(**common, loader="a.b:c", size=3)
    for wrong in ("a.b", "a b:c", 3, "a.b:"):
        with pytest.raises(ValueError, match=r"loader: expected 'package.module:object' or a callable"):
            zoo.WeightsSpec(**common, loader=wrong)
    with pytest.raises(ValueError, match="default: expected true or false, got 1"):
        zoo.WeightsSpec(**common, loader="a.b:c", default=1)


@pytest.mark.promise("P9")
def test_two_processes_at_once_load_once(packages: Packages, warm_python: str, tmp_path: Path) -> None:
    hooks = HOOKS.replace('print("loading", name)', f'open({str(tmp_path / "calls")!r}, "a").write(name + "\\n")')
    packages.add("lib", "lib = lib.hooks", lib____init__="", lib__net=NET, lib__hooks=hooks.replace("SEED", "1"))
    command = [warm_python, "-m", "zoo", "verify", "lib/net@colours"]
    environment = {**os.environ, "PYTHONPATH": str(packages.folder)}
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE) for _ in "ab"]
    outputs = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0] and outputs[0] == outputs[1]
    assert (tmp_path / "calls").read_text() == "net.mark\n"


def test_what_cannot_be_kept_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "file"))
    with pytest.raises(zoo.StorageError, match="Choose another place with ZOO_HOME"):
        find("lib/net.one", make_registry(Loader(make_weights)))


def test_a_training_from_weights_for_larger_images_than_the_model_declares_keeps_their_size(tmp_path: Path) -> None:
    registry = zoo.Registry.discover()
    model = zoo.ModelSpec(name="net", factory=Net, input_shape=(3, 6, 6), adapt=("channels", "resize"))
    steps = replace(STEPS, rounded=True)
    weights: dict[str, Any] = {"name": "net.one", "model": "net", "dataset": "colours"}
    weights["loader"] = lambda **_: make_weights(preprocess=steps)
    registry.add(model, zoo.WeightsSpec(**weights), plugin="lib")
    small = {"dataset_params": {"train_size": 20, "test_size": 10}, "epochs": 1, "runs_dir": tmp_path}
    result = zoo.run(init="lib/net@colours", dataset="shapes", registry=registry, **small)
    metadata = read_header(result.weights).metadata
    assert metadata["input_shape"] == [3, 8, 10] and metadata["params"] == {"width": 6}
    assert (metadata["preprocess"]["resize"], metadata["preprocess"]["mean"]) == (12, [0.5] * 3)
    assert metadata["init"]["path"].startswith("lib/net.one-")
    asked = zoo.run(init="lib/net@colours", dataset="shapes", registry=registry, input_size=6, **small)
    assert read_header(asked.weights).metadata["input_shape"] == [3, 6, 6]


@pytest.mark.parametrize(
    ("changed", "status", "seen"),
    [
        ({}, "passed", "8 replayed, probabilities within"),
        ({"torch.manual_seed(1)": "raise ConnectionError('no route')"}, "untried", "no route"),
        ({"num_classes=2, input": "num_classes=3, input"}, "failed", "'head.weight'"),
        ({"torch.manual_seed(1)": "1 / 0"}, "failed", "ZeroDivisionError"),
    ],
)
def test_a_certificate_has_what_became_of_a_loader_and_nothing_is_fetched_for_it(
    changed: dict[str, str], status: str, seen: str, packages: Packages, tmp_path: Path
) -> None:
    hooks = HOOKS.replace("SEED", "1").replace('print("loading", name)', "assert offline")
    for old, new in changed.items():
        hooks = hooks.replace(old, new)
    packages.add("lib", "lib = lib.hooks", lib____init__="", lib__net=NET, lib__hooks=hooks)
    found = check_plugin("lib/net.mark", data_dir=tmp_path).findings["weights net.mark"]
    assert [(finding.check, finding.status) for finding in found] == [("proof", status)]
    assert seen in found[0].seen
