"""Every way to attach something to zoo: packages, files, manifests and objects, used as their users do."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import METRICS, PACKAGES, Environment
from torch import nn

import zoo
from zoo.registry.imports import import_file

pytestmark = pytest.mark.slow

PLUGINS = Path(__file__).resolve().parents[1] / "fixtures" / "plugins"
CNN, DOTS, BESIDE = PLUGINS / "my_cnn.py", PLUGINS / "dots_by_hooks.py", PLUGINS / "beside" / "registry.toml"
FIRST_PARTY = {
    "models": ["baseline", "relu-mlp", "small-resnet", "tinyvgg"],
    "datasets": ["cifar10", "cifar100", "fashionmnist", "image-folder", "image-shards", "kmnist", "mnist", "shapes"],
    "metrics": METRICS,
}
# What each plugin has, by its name.
SAMPLES = {
    "zoo-sample-dataset": {"datasets": ["stripes", "stripes-large"]},
    "zoo-sample-metric": {"metrics": ["class-recall"]},
    "zoo-sample-model": {"models": ["tiny"]},
}
TWINS = {
    "zoo-twin-blue": {"models": ["twin", "pair", "baseline"], "metrics": ["accuracy"]},
    "zoo-twin-red": {"models": ["twin"]},
}
FILES = {
    "beside": {"models": ["linear"]},
    "dots-by-hooks": {"datasets": ["dots"], "metrics": ["misses"]},
    "my-cnn": {"models": ["my-cnn"]},
}
BASELINE = "zoo_plugins.models.baseline:Baseline\n"
SMALL = "--dataset shapes --dataset-param train_size=64 --dataset-param test_size=32"
# The file of zoo-sample-files: of each sample its target and four pixels.
TONES = bytes(
    value for n in range(64) for value in (n % 2, *(128 * (n % 2) + (13 * n + 7 * p) % 128 for p in range(4)))
)


@dataclass(frozen=True)
class Done:
    """A command line that was run: exit code, output, and then the files in the data folder and foreign imports."""

    code: int
    out: str
    err: str
    files: list[str]
    imported: list[str]

    @property
    def data(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        return dict(json.loads(self.out))


def call(environment: Environment, *commands: str, warm: bool = True) -> list[Done]:
    """Run command lines one after another in a process of their own, a cold one if it matters what they import.

    Each may set `ZOO_NAME=VALUE`. Besides zoo's own commands, `load RUN [PLUGIN ...]` prints the class of the model.
    """
    code = f"""
        import contextlib, io, json, os, shlex, sys
        from unittest import mock
        import zoo
        from zoo.cli.main import main
        from zoo.storage.folders import data_dir

        def load(run, *plugins):
            try:
                model = type(zoo.load_model(run, plugins=plugins))
            except zoo.ZooError as error:
                print(error, file=sys.stderr)
                return error.exit_code
            print(model.__module__, model.__name__, sep=":")
            return 0

        done = []
        for command in {commands!r}:
            words = shlex.split(command)
            own = dict(word.split("=", 1) for word in words if word.startswith("ZOO_"))
            words = [word for word in words if not word.startswith("ZOO_")]
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), mock.patch.dict(os.environ, own):
                code = load(*words[1:]) if words[0] == "load" else main(words)
                files = sorted(file.name for file in data_dir().rglob("*") if file.is_file())
            tops = {{name.split(".")[0] for name in sys.modules}}
            imported = sorted(name for name in tops if name == "torch" or name.startswith("zoo_"))
            done.append([code, out.getvalue(), err.getvalue(), files, imported])
        print(json.dumps(done))
    """
    return [Done(*fields) for fields in environment.evaluate(code, warm=warm)]


def type_in(environment: Environment, text: str, code: int = 0, **settings: str) -> tuple[str, str]:
    """Run a command line as a process of its own; return what it printed to stdout and to stderr."""
    done = environment.call(environment.bin / "zoo", *shlex.split(text), code=code, **settings)
    return done.stdout, done.stderr


def read_names(listed: str) -> dict[str, list[str]]:
    """Return the names that `zoo list --json` printed."""
    found = json.loads(listed)
    return {kinds: [entry["name"] for entry in found[kinds]] for kinds in FIRST_PARTY}


def read_plugins(listed: str) -> dict[str, tuple[str, str, str, dict[str, list[str]]]]:
    """Return version, origin, status and entries of all plugins but zoo's own that `zoo plugins --json` printed."""
    own, *rows = json.loads(listed)["plugins"]
    assert (own["name"], own["version"], own["status"]) == ("zoo", zoo.__version__, "ok")
    others = [row for row in rows if not row["origin"].startswith("installed: zoo-torch")]
    found = {}
    for row in others:
        entries = {kinds: [name.split("/")[1] for name in names] for kinds, names in row["entries"].items() if names}
        found[row["name"]] = (row["version"], row["origin"], row["status"], entries)
    assert len(found) == len(others)
    return found


def expect_installed(
    plugins: dict[str, dict[str, list[str]]], version: str = "1.0", status: str = "ok"
) -> dict[str, Any]:
    """Return what `read_plugins` must say of installed plugins."""
    return {name: (version, f"installed: {name} {version}", status, entries) for name, entries in plugins.items()}


def list_names(environment: Environment, options: str = "", **settings: str) -> dict[str, list[str]]:
    return read_names(type_in(environment, f"list --json {options}", **settings)[0])


def find(environment: Environment, *names: str) -> list[str]:
    """Return the qualified name of the one entry that each name, perhaps with options, means."""
    shown = [done.data["entries"] for done in call(environment, *(f"show --json {name}" for name in names))]
    assert [len(entries) for entries in shown] == [1] * len(names)
    return [entry["qualified_name"] for (entry,) in shown]


def with_zoo(plugins: dict[str, dict[str, list[str]]]) -> dict[str, list[str]]:
    """Return the names that a listing has with these plugins."""
    return {
        kinds: own + sorted(f"{plugin}/{name}" for plugin, names in plugins.items() for name in names.get(kinds, []))
        for kinds, own in FIRST_PARTY.items()
    }


@pytest.fixture(scope="module")
def shared(make_environment: Callable[[], Environment], wheels: dict[str, Path]) -> Environment:
    environment = make_environment()
    environment.install(wheels["zoo-torch"])
    return environment


@pytest.fixture
def environment(shared: Environment) -> Iterator[Environment]:
    """Return an environment with zoo from its wheel and nothing attached to it, and leave it so."""
    before = {*shared.site_packages.glob("*.dist-info")}
    yield shared
    if left := {*shared.site_packages.glob("*.dist-info")} - before:
        shared.uninstall(*(path.name.partition("-")[0] for path in left))


def test_packages_come_run_and_go(environment: Environment, wheels: dict[str, Path]) -> None:
    # Each is once installed from a wheel and once editable; the data set's has hooks, the others have manifests.
    runs: list[str] = []
    for editable in (("zoo-sample-dataset",), ("zoo-sample-model", "zoo-sample-metric")):
        forms = [("-e", PACKAGES / name) if name in editable else (wheels[name],) for name in SAMPLES]
        environment.install(*(part for form in forms for part in form))
        for _ in range(2):  # the second time from the index
            listing, shown, plugins = call(environment, "list --json", "show stripes", "plugins --json", warm=False)
            assert listing.imported == shown.imported == plugins.imported == []
            assert read_names(listing.out) == list_names(environment) == with_zoo(SAMPLES)
            assert "0 lying" in shown.out and "train 48, test 16" in shown.out
            assert read_plugins(plugins.out) == expect_installed(SAMPLES)
        assert find(environment, "tiny-conv") == ["zoo-sample-model/tiny"]

        *loaded, together, with_shapes, with_stripes = call(
            environment,
            *(f"load {run}" for run in runs),
            "run --json --model zoo-sample-model/tiny-conv --dataset zoo-sample-dataset/stripes --param channels=6 "
            "--metric accuracy --metric class-recall --metric-param class-recall.prefix=kind --epochs 1 --batch-size 8",
            f"run --json --model tiny {SMALL} --metric class-recall --epochs 0",
            "run --json --model baseline --dataset stripes --epochs 0",
        )
        scores = together.data["metrics"]
        assert set(scores) == {"loss", "accuracy", "class-recall.kind-0", "class-recall.kind-1", "class-recall.lowest"}
        assert scores["accuracy"] == pytest.approx((scores["class-recall.kind-0"] + scores["class-recall.kind-1"]) / 2)
        record = json.loads((environment.home / together.data["run"] / "run.json").read_text(encoding="utf-8"))
        assert record["plugin"] == {"name": "zoo-sample-model", "version": "1.0", "source": "installed"}
        assert record["params"] == {"channels": 6}
        if runs:  # both forms give the same weights
            assert [done.out for done in loaded] == [*["zoo_sample_model.tiny:Tiny\n"] * 2, BASELINE]
        runs = [done.data["run"] for done in (together, with_shapes, with_stripes)]

        environment.uninstall(*SAMPLES)
        assert list_names(environment) == FIRST_PARTY
        assert read_plugins(type_in(environment, "plugins --json")[0]) == {}
        assert "no entry named 'tiny'" in type_in(environment, "show tiny", code=2)[1]
    *gone, own = call(environment, *(f"load {run}" for run in runs))
    for done in gone:
        assert done.code == 5
        assert "its model 'tiny': no such plugin here. The file says that this was an installed" in done.err
    assert own.out == BASELINE


def test_an_edit_of_an_editable_package_shows_in_the_next_listing(environment: Environment, tmp_path: Path) -> None:
    for name in ("zoo-sample-model", "zoo-sample-dataset"):
        shutil.copytree(PACKAGES / name, tmp_path / name)
    environment.install("-e", tmp_path / "zoo-sample-model", "-e", tmp_path / "zoo-sample-dataset")
    assert list_names(environment) == with_zoo({name: SAMPLES[name] for name in SAMPLES if name != "zoo-sample-metric"})
    manifest = tmp_path / "zoo-sample-model/zoo_sample_model/registry.toml"
    hooks = tmp_path / "zoo-sample-dataset/zoo_sample_dataset/hooks.py"
    manifest.write_text(manifest.read_text(encoding="utf-8").replace("models.tiny", "models.small"), encoding="utf-8")
    hooks.write_text(hooks.read_text(encoding="utf-8").replace('"stripes": 8', '"narrow": 4'), encoding="utf-8")
    assert list_names(environment) == with_zoo(
        {"zoo-sample-model": {"models": ["small"]}, "zoo-sample-dataset": {"datasets": ["narrow", "stripes-large"]}}
    )
    manifest.write_text("[models.half", encoding="utf-8")
    hooks.write_text("raise RuntimeError('half an edit')", encoding="utf-8")
    names, warned = type_in(environment, "list --json")
    assert read_names(names) == FIRST_PARTY
    assert "plugin 'zoo-sample-model' 1.0: its manifest is not usable" in warned
    assert "plugin 'zoo-sample-dataset' 1.0: importing it failed: RuntimeError: half an edit" in warned


def test_files_and_manifests_by_path(environment: Environment) -> None:
    seen = [Path(os.path.relpath(path, environment.home)) for path in (CNN, DOTS, BESIDE)]
    cnn, dots, beside, far_cnn, far_dots, far_beside = (
        shlex.join(["--plugin", str(path)]) for path in (CNN, DOTS, BESIDE, *seen)
    )
    two = shlex.quote(f"ZOO_PLUGINS={CNN}{os.pathsep}{DOTS}")
    # Each by an option of its own; two of them by the environment; all of them as seen from another folder.
    ways = (f"{cnn} {dots} {beside}", f"{two} {beside}", f"{far_cnn} {far_dots} {far_beside}")
    answers = call(
        environment,
        *(f"{kind} --json {way}" for way in ways for kind in ("list", "plugins")),
        f"list --json {ways[0]} --no-plugin my-cnn",
        f"run --json {cnn} {dots} --model my-cnn --dataset dots --metric misses --metric accuracy --epochs 1 "
        "--param channels=3",
        f"run --json {two} --model my-cnn/my-cnn {SMALL} --epochs 0",
        f"run --json {far_dots} {far_beside} --model linear --dataset dots --epochs 0",
    )
    for listing, plugins in zip(answers[0:6:2], answers[1:6:2], strict=True):
        assert read_names(listing.out) == with_zoo(FILES)
        rows = read_plugins(plugins.out)
        assert {name: (status, entries) for name, (_, _, status, entries) in rows.items()} == {
            name: ("ok", entries) for name, entries in FILES.items()
        }
        origins = {name: Path(origin).resolve() for name, (_, origin, _, _) in rows.items()}
        assert origins == {"beside": BESIDE, "dots-by-hooks": DOTS, "my-cnn": CNN}
    without, *runs = answers[6:]
    assert read_names(without.out) == with_zoo({name: FILES[name] for name in ("beside", "dots-by-hooks")})
    scores = runs[0].data["metrics"]
    assert scores["misses"] == 32 - round(32 * scores["accuracy"])
    assert runs[0].data["params"] == {"channels": 3}
    folders = [run.data["run"] for run in runs]
    loaded = call(environment, *(shlex.join(["load", folder, str(CNN), str(seen[2])]) for folder in folders))
    assert [done.out.partition(":")[2] for done in loaded] == ["MyCNN\n", "MyCNN\n", "Linear\n"]

    for options, settings in ((far_beside, {}), ("", {"ZOO_PLUGINS": str(seen[2])})):
        assert list_names(environment, options, **settings) == with_zoo({"beside": FILES["beside"]})
    assert list_names(environment) == FIRST_PARTY
    with pytest.raises(zoo.PluginError, match=r"no such plugin here\. Give it with plugins=\['.*my_cnn\.py'\]"):
        zoo.load_model(environment.home / folders[0])


class Server(ThreadingHTTPServer):
    """Give `answers` one after another, and then always the right bytes; remember what was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[bytes] = []
        self.asked: list[str] = []


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.asked.append(self.path.strip("/"))
        body = self.server.answers.pop(0) if self.server.answers else TONES
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def files_package(server: Server, tmp_path: Path) -> Path:
    """Return the source of zoo-sample-files with addresses of the server."""
    folder = tmp_path / "zoo-sample-files"
    shutil.copytree(PACKAGES / folder.name, folder)
    for name in ("registry.toml", "hooks.py"):
        file = folder / "zoo_sample_files" / name
        text = file.read_text(encoding="utf-8")
        assert "127.0.0.1:8000" in text
        file.write_text(text.replace("127.0.0.1:8000", f"127.0.0.1:{server.server_port}"), encoding="utf-8")
    return folder


def test_declared_files_are_fetched_verified_and_kept(
    environment: Environment, server: Server, files_package: Path, tmp_path: Path
) -> None:
    environment.install(files_package)
    assert list_names(environment) == with_zoo({"zoo-sample-files": {"datasets": ["tones", "tones-hooked"]}})
    wrong_byte, too_long = bytes([TONES[0] ^ 1]) + TONES[1:], TONES + b"\0"
    server.answers = [wrong_byte, too_long]
    commands = (
        "show tones", "show tones-hooked",
        "run --dataset tones --offline", "run --dataset tones-hooked --offline",
        "run --dataset tones", "run --dataset tones-hooked",
        "run --dataset tones", "run --dataset tones", "run --dataset tones --offline",
        "run --dataset zoo-sample-files/tones-hooked", "run --dataset tones-hooked --offline",
    )  # fmt: skip
    folder = shlex.quote(f"ZOO_DATA_DIR={tmp_path / 'data'}")
    options = {"show": "", "run": "--model baseline --epochs 0"}
    lines = [f"{command} {options[command.split()[0]]} {folder}" for command in commands]
    done = call(environment, *lines, warm=False)
    assert [each.code for each in done] == [0] * 2 + [6] * 4 + [0] * 5, [each.err for each in done]
    # What is refused leaves nothing behind.
    assert [each.files for each in done] == [[]] * 6 + [["tones.bin"]] * 3 + [["hooked.bin", "tones.bin"]] * 2
    for shown in done[:2]:
        for row in (
            r"license +CC0-1\.0\n",
            r"source +https://example\.org/tones\n",
            r"download +320 bytes in 1 file\n",
        ):
            assert re.search(row, shown.out)
        assert shown.imported == []
    reasons = (
        "offline and not there: tones/tones.bin", "offline and not there: tones/hooked.bin",
        "tones/tones.bin: 127.0.0.1:{}: expected SHA-256", "tones/hooked.bin: 127.0.0.1:{}: sent more than the 320",
    )  # fmt: skip
    for refused, reason in zip(done[2:6], reasons, strict=True):
        assert reason.format(server.server_port) in refused.err
    assert server.asked == ["tones.bin", "hooked.bin", "tones.bin", "hooked.bin"]
    assert (tmp_path / "data/tones/tones.bin").read_bytes() == TONES


@pytest.mark.parametrize(
    ("source", "name", "file"), [("registry.toml", "tones", "tones.bin"), ("hooks.py", "tones-hooked", "hooked.bin")]
)
def test_declared_files_are_fetched_from_python(
    server: Server, files_package: Path, tmp_path: Path, source: str, name: str, file: str
) -> None:
    plugins, folder = [files_package / "zoo_sample_files" / source], tmp_path / "data"
    with pytest.raises(zoo.DownloadError, match="offline and not there"):
        zoo.fetch(name, plugins=plugins, data_dir=folder, offline=True)
    for offline in (False, True):
        assert zoo.fetch(name, plugins=plugins, data_dir=folder, offline=offline) == folder
    assert zoo.fetch(name, registry=zoo.Registry.discover(plugins), data_dir=folder) == folder
    assert (folder / "tones" / file).read_bytes() == TONES
    assert server.asked == [file]


def test_packages_that_claim_the_same_names(environment: Environment, wheels: dict[str, Path]) -> None:
    environment.install(wheels["zoo-twin-red"], wheels["zoo-twin-blue"])
    red, blue, pair = "zoo-twin-red/twin", "zoo-twin-blue/twin", "zoo-twin-blue/pair"
    assert list_names(environment) == with_zoo(TWINS)
    listed = type_in(environment, "plugins --json")[0]
    assert read_plugins(listed) == {
        **expect_installed({"zoo-twin-blue": TWINS["zoo-twin-blue"]}, "2.0", "warning"),
        **expect_installed({"zoo-twin-red": TWINS["zoo-twin-red"]}),
    }
    for shadowed in ("model baseline is zoo's own", "metric accuracy is zoo's own"):
        assert shadowed in listed
    # Two models share a name, two share an alias, and the name of one is the alias of another.
    for name, candidates in {"twin": (blue, red), "double": (blue, red), "pair": (pair, red)}.items():
        said = type_in(environment, f"show {name}", code=2)[1]
        assert said == f"Error: model '{name}' is provided by 2 plugins. Use one of: {', '.join(candidates)}\n"
    own = {name: f"zoo/{name}" for name in ("baseline", "accuracy")}
    others = {name: name for name in (red, blue, pair, "zoo-twin-blue/baseline", "zoo-twin-blue/accuracy")}
    aliases = {"zoo-twin-red/double": red, "zoo-twin-red/pair": red, "zoo-twin-blue/double": blue}
    meant = {**own, **others, **aliases}
    assert find(environment, *meant) == [*meant.values()]

    # When one plugin is left out, the bare names mean entries of the other.
    without_red = ("--no-plugin zoo-twin-red", "ZOO_DISABLE_PLUGINS=Zoo_Twin_Red")
    without_blue = ("--no-plugin zoo-twin-blue", "ZOO_DISABLE_PLUGINS=nothing,zoo-twin-blue")
    for ways, meant in ((without_red, [blue, blue, pair]), (without_blue, [red, red, red])):
        for way in ways:
            assert find(environment, *(f"{name} {way}" for name in ("twin", "double", "pair"))) == meant
    every = {"ZOO_DISABLE_PLUGINS": "all"}
    assert list_names(environment, **every) == list_names(environment, "--no-plugin all") == FIRST_PARTY
    assert "no entry named 'twin'" in type_in(environment, "show twin", code=2, **every)[1]
    assert read_plugins(type_in(environment, "plugins --json", **every)[0]) == {}

    ambiguous, *done = call(
        environment,
        f"run --model twin {SMALL}",
        *(f"run --json --model {name} {SMALL} --epochs 0" for name in (red, blue, "zoo-twin-blue/double", "baseline")),
        f"run --json --model zoo-twin-blue/baseline {SMALL} --epochs 0 --metric zoo-twin-blue/accuracy",
    )
    assert (ambiguous.code, ambiguous.out) == (2, "")
    assert f"Use one of: {blue}, {red}" in ambiguous.err
    *shares, two = (set(each.data["metrics"].values()) for each in done)
    assert 2 in two and not any(2 in values for values in shares)
    runs = [each.data["run"] for each in done]
    # Their tensors have the same names and shapes: only the plugin's name tells them apart.
    red_class, blue_class = "zoo_twin_red.twin:RedTwin\n", "zoo_twin_blue.twin:BlueTwin\n"
    *loaded, missing = call(
        environment, *(f"load {run}" for run in runs), f"load {runs[0]} ZOO_DISABLE_PLUGINS=zoo-twin-red"
    )
    assert [each.out for each in loaded] == [red_class, blue_class, blue_class, BASELINE, blue_class]
    assert (missing.code, missing.out) == (5, "")

    environment.uninstall("zoo-twin-red")
    assert find(environment, "twin", "double", "pair") == [blue, blue, pair]
    assert list_names(environment) == with_zoo({"zoo-twin-blue": TWINS["zoo-twin-blue"]})


def test_zoo_plugins_shows_every_one(environment: Environment, wheels: dict[str, Path], files_package: Path) -> None:
    environment.install(*(wheels[name] for name in (*SAMPLES, *TWINS)), "-e", files_package)
    light, hooks = files_package / "light.py", files_package / "light_hooks.py"
    light.write_text("import zoo\n\n@zoo.model(name='light')\ndef build(**options): ...\n", encoding="utf-8")
    code = "import zoo\n\n@zoo.hookimpl\ndef zoo_metrics():\n    return [zoo.MetricSpec(name='some', factory='a:b')]\n"
    hooks.write_text(code, encoding="utf-8")
    given = shlex.join(["--plugin", str(light), "--plugin", str(BESIDE), f"ZOO_PLUGINS={hooks}"])
    origins = {name: f"installed: {name} " for name in (*SAMPLES, *TWINS, "zoo-sample-files")}
    origins |= {"light": str(light), "beside": str(BESIDE), "light-hooks": str(hooks)}
    data, table = call(environment, f"plugins --json {given}", f"plugins {given}")
    shown = {}
    for row in json.loads(data.out)["plugins"]:
        if row["origin"].startswith(origins.get(row["name"], "no such")):
            # A package with a manifest and hooks is two rows.
            shown.setdefault(row["name"], []).append((row["status"], sum(map(len, row["entries"].values()))))
    one = [("ok", 1)]
    assert shown == {
        "zoo-sample-model": one, "zoo-sample-metric": one, "zoo-sample-dataset": [("ok", 2)], "zoo-twin-red": one,
        "zoo-twin-blue": [("warning", 4)], "zoo-sample-files": one * 2, "light": one, "light-hooks": one, "beside": one,
    }  # fmt: skip
    first = [line.split()[0] for line in table.out.splitlines()]
    assert first[:2] == ["name", "zoo"]
    assert {*origins} <= {*first}


def linear(*, input_shape: tuple[int, ...], num_classes: int, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes, bias=bias))


NET = zoo.ModelSpec(name="net", factory=linear, aliases=("network",), params={"bias": True})


def test_a_registry_made_by_hand() -> None:
    registry = zoo.Registry()
    assert zoo.list_models(registry=registry) == zoo.list_datasets(registry=registry) == []
    with pytest.raises(zoo.ZooError) as caught:
        zoo.run("baseline", "shapes", registry=registry)
    assert [type(problem) for problem in caught.value.problems] == [zoo.UnknownNameError] * 3
    with pytest.raises(zoo.UnknownNameError):
        zoo.fetch("shapes", registry=registry)

    dots = import_file(DOTS)
    registry.add(NET)
    registry.add(*dots.zoo_datasets(), *dots.zoo_metrics(), plugin="mine")
    assert zoo.list_models(registry=registry) == ["local/net"]
    assert zoo.list_datasets("*dots", registry=registry) == ["mine/dots"]
    assert zoo.list_metrics(registry=registry) == ["mine/misses"]
    result = zoo.run("network", "dots", metrics="misses", registry=registry, epochs=1, params={"bias": False})
    assert set(result.metrics) == {"loss", "misses"}
    model = zoo.load_model(result.run, registry=registry)
    assert model[1].bias is None
    assert model(torch.zeros(2, 1, 4, 4)).shape == (2, 2)
    assert zoo.fetch("mine/dots", registry=registry) == Path(os.environ["ZOO_HOME"], "data")
    # No other registry has it.
    assert zoo.list_models() == FIRST_PARTY["models"]
    with pytest.raises(zoo.PluginError, match=r"plugin 'local': .* needs its model 'net': no such plugin here"):
        zoo.load_model(result.run)


class Provider:
    """An object with hooks."""

    @zoo.hookimpl
    def zoo_models(self) -> list[zoo.ModelSpec]:
        return [NET]


def test_modules_objects_and_paths_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(DOTS, tmp_path / "a_module_with_dots.py")
    monkeypatch.syspath_prepend(tmp_path)
    import a_module_with_dots as module

    plugins = [module, Provider(), BESIDE, str(CNN)]
    assert zoo.list_models(plugins=plugins) == [
        *FIRST_PARTY["models"],
        "beside/linear",
        "my-cnn/my-cnn",
        "provider/net",
    ]
    assert zoo.list_datasets("dots", plugins=plugins) == ["a-module-with-dots/dots"]
    assert zoo.list_metrics(plugins=plugins) == [*METRICS, "a-module-with-dots/misses"]
    for model, loaded in (("linear", "Linear"), ("provider/network", "Sequential"), ("my-cnn", "MyCNN")):
        result = zoo.run(model, "dots", metrics=["accuracy", "misses"], plugins=plugins, epochs=0)
        assert set(result.metrics) == {"loss", "accuracy", "misses"}
        assert type(zoo.load_model(result.run, plugins=plugins)).__name__ == loaded
    assert set(zoo.run("baseline", "dots", plugins=[module], epochs=0).metrics) == {"loss", "accuracy"}
    assert zoo.fetch("dots", plugins=[module]) == Path(os.environ["ZOO_HOME"], "data")
    assert zoo.list_datasets("dots") == []
