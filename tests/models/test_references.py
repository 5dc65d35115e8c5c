"""References to weights: paths, runs and registered entries, and nothing mistaken for another."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import Packages

import zoo
from zoo.errors import (
    AmbiguousNameError,
    DownloadError,
    ManifestError,
    PluginError,
    StorageError,
    UnknownNameError,
    WeightsError,
    ZooError,
)
from zoo.models.references import find_weights
from zoo.registry.entries import Registry
from zoo.registry.places import open_places
from zoo.storage.folders import zoo_home

SHA = hashlib.sha256(b"weights").hexdigest()


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"


def make_run(runs: Path, name: str, *, weights: bool = True, **facts: Any) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    record = {
        "status": "finished",
        "started": f"2026-01-01T00:00:{len(list(runs.iterdir())):02}",
        "model": "baseline",
        "plugin": {"name": "zoo"},
        "dataset": {"name": "shapes", "plugin": {"name": "zoo"}},
        **facts,
    }
    (folder / "run.json").write_text(json.dumps(record))
    if weights:
        (folder / "weights.safetensors").write_bytes(b"weights")
    return folder / "weights.safetensors"


def find(reference: Any, runs: Path, registry: Registry | None = None, **options: Any) -> Path:
    return find_weights(reference, open_places(registry or Registry.discover(), runs_dir=runs, **options))


def refused(reference: Any, runs: Path, registry: Registry | None = None, kind: type = WeightsError) -> str:
    with pytest.raises(kind) as caught:
        find(reference, runs, registry)
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_path_is_the_file_or_the_run_folder(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = make_run(runs, "one")
    assert find(file, runs) == find(str(file), runs) == find(file.parent, runs) == file
    with monkeypatch.context() as patch:
        patch.chdir(file.parent)
        assert find(".", runs) == Path("weights.safetensors")
        # That of a variable which was not set, say.
        assert refused("", runs).startswith("no weights at ''")
    with monkeypatch.context() as patch:
        patch.chdir(runs)
        assert find("one", runs) == Path("one/weights.safetensors")
        # A file that is there wins over what else its name could mean.
        (runs / "@last").write_bytes(b"mine")
        assert find("@last", runs) == Path("@last")


@pytest.mark.parametrize(
    "name", ["missing", "missing/too", "x" * 5000, "a\0b", "a\n\x1b[31mb/c", "nobody.safetensors"], ids=ascii
)
def test_what_is_no_file_is_refused(name: str, runs: Path) -> None:
    runs.mkdir()
    assert refused(runs / name, runs).startswith("no weights at ")
    for reference in (runs, "", "./x", "~nobody-of-this-name/w", "gone.safetensors", f"{'x' * 300}/y"):
        assert refused(reference, runs).endswith("Give a .safetensors file or a run folder")


def test_last_is_the_newest_finished_run(runs: Path) -> None:
    assert refused("@last", runs) == f"no finished run in {runs}. Start one: zoo run"
    make_run(runs, "b-first")
    newest = make_run(runs, "a-second")
    make_run(runs, "c-failed", status="failed")
    make_run(runs, "d-without", weights=False)
    (runs / "e-foreign").mkdir()
    (runs / "f-damaged").mkdir()
    (runs / "f-damaged" / "run.json").write_text("[" * 100_000)
    (runs / "g-list").mkdir()
    (runs / "g-list" / "run.json").write_text("[1]")
    (runs / "h-file").write_text("")
    assert find("@last", runs) == newest


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with names here")
def test_a_record_that_is_a_pipe_is_not_waited_for(runs: Path) -> None:
    newest = make_run(runs, "one")
    (make_run(runs, "two").parent / "run.json").unlink()
    os.mkfifo(runs / "two" / "run.json")
    found: list[Path] = []
    thread = threading.Thread(target=lambda: found.append(find("@last", runs)), daemon=True)
    thread.start()
    thread.join(30)
    assert found == [newest]


def test_runs_are_in_the_order_of_their_starts(runs: Path) -> None:
    for name in ("run", "run-2", "run-10", "run-9"):
        make_run(runs, name, started="2026-03-01T10:00:00+0100")
    assert find("@last", runs).parent.name == "run-10"
    # The clocks are put back from 3:00 to 2:00.
    make_run(runs, "winter", started="2026-10-25T02:10:00+0100")
    make_run(runs, "summer", started="2026-10-25T02:50:00+0200")
    for number, started in enumerate((None, 3, "yesterday", "9999")):
        make_run(runs, f"x-odd-{number}", started=started)
    assert find("@last", runs).parent.name == "winter"


def test_best_is_chosen_by_validation_and_never_by_test_scores(runs: Path) -> None:
    make_run(runs, "one", metrics={"loss": 0.1, "accuracy": 0.99})
    said = refused("@best", runs)
    assert "no finished run" in said and "scores of the test split never choose" in said
    make_run(runs, "two", metrics={"accuracy": 0.9}, validation={"loss": 0.5, "accuracy": 0.7})
    best = make_run(runs, "three", metrics={"accuracy": 0.1}, validation={"loss": 0.9, "accuracy": 0.8})
    make_run(runs, "odd", validation={"accuracy": "high"})
    make_run(runs, "none", validation=None)
    assert find("@best", runs) == best
    lowest = make_run(runs.parent / "losses", "x", validation={"loss": 0.2})
    make_run(runs.parent / "losses", "y", validation={"loss": 0.3})
    assert find("@best", runs.parent / "losses") == lowest


def test_best_compares_finite_values_of_one_metric(runs: Path) -> None:
    make_run(runs, "nan", validation={"accuracy": float("nan")})
    make_run(runs, "infinite", validation={"accuracy": float("inf")})
    make_run(runs, "true", validation={"accuracy": True})
    make_run(runs, "other", validation={"loss": 0.1, "top5": 0.99})
    make_run(runs, "worse", validation={"loss": 0.1, "accuracy": 0.7})
    make_run(runs, "equal", validation={"accuracy": 0.8})
    best = make_run(runs, "best", validation={"accuracy": 0.8})
    make_run(runs, "newest", validation={"loss": 0.5, "accuracy": 0.6, "top5": 0.7})
    assert find("@best", runs) == best
    # Finite, but more than a float can be: no run wrote that, so its record is passed over.
    make_run(runs, "large", validation={"accuracy": 10**400})
    assert find("@best", runs) == best


def test_best_asks_the_metric_that_scored_the_runs(runs: Path) -> None:
    registry = Registry.discover()
    for plugin, higher in (("acme", False), ("more", True)):
        names = ("error", "top.error")
        registry.add(
            *(zoo.MetricSpec(name=name, factory="a:b", higher_is_better=higher) for name in names), plugin=plugin
        )
    for metric, value in (("error", "error"), ("acme/error", "acme/error.mean"), ("top.error", "top.error.1")):
        folder = runs / metric.replace("/", "-")
        facts = {"metric_plugins": {"top": {"name": "zoo"}, metric: {"name": "acme"}}}
        best = make_run(folder, "low", validation={"loss": 1.0, value: 0.1}, **facts)
        make_run(folder, "high", validation={"loss": 0.9, value: 0.3}, **facts)
        assert find("@best", folder, registry) == best
    said = refused("@best", runs / "error")
    assert "'error' is better: no metric named 'acme/error'" in said and said.endswith("Give its plugin, or a path")
    odd = make_run(runs / "odd", "x", validation={"accuracy": 0.5}, metric_plugins={"accuracy": 3})
    assert find("@best", runs / "odd") == odd


def weights_spec(**facts: Any) -> zoo.WeightsSpec:
    return zoo.WeightsSpec(**{"name": "good", "model": "baseline", "dataset": "shapes", "file": "acme:w.bin", **facts})


def test_a_pair_means_registered_weights_then_the_newest_run(packages: Packages, runs: Path) -> None:
    said = refused("baseline@shapes", runs)
    assert said.startswith("no weights of 'baseline' trained on 'shapes'")
    assert said.endswith("Train them: zoo.run(model='baseline', dataset='shapes')")
    make_run(runs, "one")
    newest = make_run(runs, "two")
    make_run(runs, "other", model="tinyvgg")
    make_run(runs, "odd", plugin=None)
    assert find("baseline@shapes", runs) == find("zoo/baseline@zoo/shapes", runs) == newest
    refused("basline@shapes", runs, kind=UnknownNameError)

    packages.add("acme", "x = acme:registry.toml", acme____init__="")
    packages.write("acme/deep/w.bin", "weights")
    table = 'model = "zoo/baseline"\ndataset = "shapes"\nfile = "acme.deep:w.bin"\nmetrics = {{ accuracy = 0.5 }}\n'
    packages.write("acme/registry.toml", f"schema = 1\n[weights.good]\naliases = ['fine']\n{table.format()}")
    file = packages.folder / "acme" / "deep" / "w.bin"
    for reference in ("baseline@shapes", "good", "acme/good", "fine"):
        assert find(reference, runs) == file
    assert zoo.list_weights("acme/*") == ["acme/good"]
    assert Registry.discover().get("weights", "good").spec.metrics == {"accuracy": 0.5}

    registry = Registry.discover()
    registry.add(weights_spec(), plugin="more")
    assert "Use one of: acme/good, more/good" in refused("baseline@shapes", runs, registry)
    refused("good", runs, registry, kind=AmbiguousNameError)
    assert "Did you mean 'good'" in refused("goood", runs, kind=UnknownNameError)


def test_bare_names_of_a_plugin_mean_its_own_things_first(packages: Packages, runs: Path) -> None:
    packages.write("acme/__init__.py", "")
    file = packages.write("acme/w.bin", "weights")
    newest = make_run(runs, "one")
    registry = Registry.discover()
    registry.add(zoo.ModelSpec(name="baseline", factory="a:b"), weights_spec(), plugin="acme")
    assert find("acme/baseline@shapes", runs, registry) == find("acme/good", runs, registry) == file
    assert find("baseline@shapes", runs, registry) == newest
    # What else is installed does not matter.
    registry.add(zoo.ModelSpec(name="net", factory="a:b", aliases=["n"]), plugin="more")
    own = zoo.ModelSpec(name="net", factory="a:b", aliases=["n"])
    data = zoo.DatasetSpec(name="shapes", factory="a:b")
    registry.add(own, data, weights_spec(name="fair", model="n"), plugin="third")
    assert find("third/net@third/shapes", runs, registry) == file
    refused("third/net@shapes", runs, registry)


def test_a_file_that_a_plugin_does_not_have_is_its_fault(packages: Packages, runs: Path, tmp_path: Path) -> None:
    registry = Registry()
    registry.add(
        weights_spec(), weights_spec(name="none", file="surely_nowhere:w"), weights_spec(name="free", file="w")
    )
    packages.write("acme/__init__.py", "")
    for name, why in (
        ("good", f"acme:w.bin: no such file: {packages.folder / 'acme' / 'w.bin'}"),
        ("none", "surely_nowhere:w: no package 'surely_nowhere' here"),
        ("free", "w: expected 'package:path': this plugin has no folder"),
    ):
        assert refused(name, runs, registry, kind=PluginError) == f"plugin 'local': weights '{name}': {why}"
    manifest = tmp_path / "mine" / "registry.toml"
    manifest.parent.mkdir()
    manifest.write_text('schema = 1\n[weights.own]\nmodel = "baseline"\ndataset = "shapes"\nfile = "sub/w.bin"\n')
    said = refused("own", runs, Registry.discover([manifest]), kind=PluginError)
    assert said.endswith(f"no such file: {manifest.parent / 'sub' / 'w.bin'}")
    (manifest.parent / "sub").mkdir()
    (manifest.parent / "sub" / "w.bin").touch()
    assert find("own", runs, Registry.discover([manifest])) == manifest.parent / "sub" / "w.bin"


class Server:
    def __init__(self) -> None:
        self.content, self.asked = b"weights", 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()
                self.wfile.write(outer.content)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/w.safetensors"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def test_weights_elsewhere_are_fetched_once_and_verified(server: Server, runs: Path) -> None:
    registry = Registry()
    registry.add(weights_spec(name="far", file="", url=server.url, size=7, sha256=SHA))
    assert zoo.list_weights(registry=registry) == ["local/far"]
    by_hand = f"save {server.url} as {zoo_home() / 'weights' / SHA}.safetensors yourself"
    with pytest.raises(DownloadError) as caught:
        find("far", runs, registry, offline=True)
    assert server.asked == 0 and str(caught.value).endswith(f"Run with offline=False, or {by_hand}")
    server.content = b"wrongly"
    assert refused("far", runs, registry, kind=DownloadError).endswith(f"Try again, or {by_hand}")
    registry.add(weights_spec(name="big", file="", url=server.url, size=10**17, sha256=SHA), plugin="large")
    assert refused("big", runs, registry, kind=StorageError).endswith("Choose another place with ZOO_HOME")
    server.content = b"weights"
    file = find("far", runs, registry)
    assert file.read_bytes() == b"weights"
    asked = server.asked
    assert find("far", runs, registry, offline=True) == file
    assert server.asked == asked


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("", "file, url, loader: expected one of them"),
        (
            f'file = "a:b"\nurl = "https://x.org/w"\nsize = 3\nsha256 = "{SHA}"',
            "file, url, loader: expected one of them",
        ),
        ('url = "https://x.org/w"', "size: expected a whole number"),
        ('url = "https://x.org/w"\nsize = 3', "sha256: expected a SHA-256"),
        (f'url = "ftp://x.org/w"\nsize = 3\nsha256 = "{SHA}"', "url: expected an https:// address"),
        ('file = "a:../b"', "file: expected a relative path"),
        ('file = "a b:c"', "file: expected 'package:path'"),
        ('file = "a:b"\nsize = 3', "only together with url"),
        ('file = "a:b"\nfactory = "a:b"', "factory: unknown key"),
        ('file = "a:b"\nmetrics = 3', "metrics: expected a table"),
    ],
)
def test_a_wrong_entry_is_named(table: str, why: str, tmp_path: Path) -> None:
    manifest = tmp_path / "registry.toml"
    manifest.write_text(f'schema = 1\n[weights.w]\nmodel = "m"\ndataset = "d"\n{table}\n')
    with pytest.raises(ManifestError) as caught:
        Registry.discover([manifest])
    assert f"{manifest}: [weights.w] " in str(caught.value) and why in str(caught.value)


def test_a_wrong_name_is_refused() -> None:
    for change in ({"model": "a/b/c"}, {"model": ""}, {"dataset": "A"}, {"name": "x@y"}):
        with pytest.raises((ValueError, ZooError)):
            weights_spec(**change)


def test_a_data_set_of_a_catalogue_is_meant_by_its_bare_name_too(packages: Packages, runs: Path) -> None:
    packages.add("lib", "lib = lib:registry.toml", lib____init__="")
    tables = ('[models.net]\nfactory = "lib:Net"', '[datasets.things]\nfactory = "lib:things"')
    weights = '[weights."net.one"]\nmodel = "net"\ndataset = "things"\nloader = "lib:load"'
    packages.write("lib/registry.toml", "\n".join(["schema = 1\nqualified_only = true", *tables, weights]))
    for reference in ("lib/net@things", "lib/net@lib/things"):
        assert "lib/net.one: weights" in repr(zoo.show(reference))
    assert "no dataset named 'thing'" in refused("lib/net@thing", runs, kind=UnknownNameError)
