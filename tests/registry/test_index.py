"""The index: an installed plugin in module form runs once, in another process, to tell what it has."""

from __future__ import annotations

import logging
import os
import select
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from conftest import Packages

import zoo.registry.index
from zoo.cli.main import main
from zoo.errors import AmbiguousNameError, ManifestError, PluginError, UnknownNameError, UsageError
from zoo.registry.entries import Registry
from zoo.registry.factories import load_factory
from zoo.registry.plugins import Plugin
from zoo.storage.processes import Process

HOOKS = """
    import zoo
    print("noise", flush=True)

    def build(*, input_shape, num_classes, width=3): ...

    @zoo.hookimpl
    def zoo_models():
        yield zoo.ModelSpec(name="net", factory=build, aliases=("network",), params={"width": 3, "sizes": (1, 2)},
                            input_shape=(1, "*", "*"), adapt=("resize",), train={"epochs": 2}, description="A net")

    @zoo.hookimpl
    def zoo_datasets():
        file = zoo.FileSpec(path="a/b.gz", size=3, sha256="0" * 64, urls=("https://example.org/b.gz",))
        yield zoo.DatasetSpec(name="data", factory="other:data", files=(file,), class_names=("a", "b"),
                              samples={"train": 4})

    @zoo.hookimpl
    def zoo_metrics():
        yield zoo.MetricSpec(name="score", factory="other:score", higher_is_better=False)
"""
# Modules of installed plugins that are broken, and what the error of each must say.
BROKEN = {
    "raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "ends": ("import os; os._exit(3)", "it ended the process (exit code 3)"),
    "ends-well": ("import os; os._exit(0)", "it ended the process (exit code 0)"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "it ended the process (signal 11: Segmentation fault)"),
    "interrupts": ("raise KeyboardInterrupt", "it ended the process"),
    "leaves-a-child": (
        "import os, time\nif os.fork() == 0:\n time.sleep(600)\nos._exit(3)",
        "it ended the process (exit code 3)",
    ),
    "reads": ("input()", "EOFError"),
    "syntax": ("def", "SyntaxError"),
    "needs": ("import surely_not_installed", "No module named 'surely_not_installed'"),
    "local": (
        "import zoo\n@zoo.hookimpl\ndef zoo_models():\n yield zoo.ModelSpec(name='m', factory=lambda **k: None)",
        "its factory cannot be imported by its name",
    ),
    "impostor": (
        "import zoo\nclass S(zoo.ModelSpec):\n def __post_init__(self): pass\n"
        "@zoo.hookimpl\ndef zoo_models():\n yield S(name='\\x1b[31m', factory='a:b')",
        "its specs are not usable: ValueError: name:",
    ),
    "params": (
        "import zoo\n@zoo.hookimpl\ndef zoo_models(): yield zoo.ModelSpec(name='m', factory='a:b', params={'x': zoo})",
        "params.x: expected plain data",
    ),
}


def asked(caplog: pytest.LogCaptureFixture) -> int:
    """Count the processes that were started so far."""
    return sum("indexing plugin" in message for message in caplog.messages)


@pytest.fixture(autouse=True)
def notes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "zoo")


def list_all(**options: object) -> dict[str, object]:
    registry = Registry.discover(**options)
    entries = [entry for kind in ("model", "dataset", "metric") for entry in registry.list_entries(kind)]
    return {entry.qualified_name: entry.spec for entry in entries if not entry.is_first_party}


def problem_of(name: str) -> PluginError:
    registry = Registry.discover()
    assert registry.list_entries("model")
    (problem,) = registry.problems
    assert isinstance(problem, PluginError)
    assert (problem.plugin, problem.version) == (name, "1.0")
    return problem


@pytest.mark.promise("P6")
def test_lists_without_running_the_code_here(
    packages: Packages, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    packages.add("acme", "x = acme_zoo.hooks", acme_zoo__hooks=HOOKS)
    first = list_all()
    assert asked(caplog) == 1
    second = list_all()
    assert asked(caplog) == 1
    assert [name for name in sys.modules if name.startswith("acme")] == []
    assert capfd.readouterr().out == ""
    for specs in (first, second):
        assert list(specs) == ["acme/net", "acme/data", "acme/score"]
        model, data, score = specs.values()
        assert (model.factory, model.aliases, model.description) == ("acme_zoo.hooks:build", ("network",), "A net")
        assert dict(model.params) == {"width": 3, "sizes": [1, 2]}
        assert (model.input_shape, model.adapt, dict(model.train)) == ((1, "*", "*"), ("resize",), {"epochs": 2})
        assert data.files == (zoo.FileSpec(path="a/b.gz", size=3, sha256="0" * 64, urls=("https://example.org/b.gz",)),)
        assert (data.num_classes, dict(data.samples), score.higher_is_better) == (2, {"train": 4}, False)


def test_get_runs_the_code_of_the_plugin_that_is_used_only(packages: Packages) -> None:
    packages.add("acme", "x = acme_zoo.hooks", acme_zoo__hooks=HOOKS)
    packages.add("other", "x = other_zoo", other_zoo=HOOKS.replace('"net"', '"web"').replace("network", "webs"))
    registry = Registry.discover()
    for name in ("net", "network", "acme/net", "acme/network"):
        entry = registry.get("model", name)
        assert entry.qualified_name == "acme/net"
    assert "acme_zoo.hooks" not in sys.modules
    assert load_factory(entry).__name__ == "build"
    assert "acme_zoo.hooks" in sys.modules
    assert "other_zoo" not in sys.modules
    with pytest.raises(AmbiguousNameError, match=r"Use one of: acme/data, other/data"):
        registry.get("dataset", "data")
    with pytest.raises(UnknownNameError, match="Did you mean 'net'") as caught:
        registry.get("model", "nett")
    assert {"acme/net", "web"} < set(caught.value.known)
    assert "other_zoo" not in sys.modules


@pytest.mark.promise("P6")
def test_a_first_party_name_needs_no_index(packages: Packages, caplog: pytest.LogCaptureFixture) -> None:
    packages.add("claims", "x = claims", claims=HOOKS.replace('"net"', '"baseline"'))
    registry = Registry.discover()
    assert registry.get("model", "baseline").plugin.name == "zoo"
    assert asked(caplog) == 0
    assert registry.get("model", "claims/baseline").plugin.name == "claims"
    assert [entry.short_name for entry in registry.list_entries("model", "baseline")] == ["baseline", "claims/baseline"]


@pytest.mark.promise("P5")
@pytest.mark.slow
def test_broken_plugins_are_named_and_harm_nobody(packages: Packages, caplog: pytest.LogCaptureFixture) -> None:
    for name, (code, _) in BROKEN.items():
        packages.add(f"bad-{name}", f"x = bad_{name.replace('-', '_')}", **{f"bad_{name.replace('-', '_')}": code})
    packages.add("bad-missing", "x = bad_missing.hooks")
    packages.add("good", "x = good_zoo", good_zoo=HOOKS)
    expected = {f"bad-{name}": why for name, (_, why) in BROKEN.items()} | {"bad-missing": "No module named"}
    for processes in (len(BROKEN) + 2, len(BROKEN) + 2):  # failures are kept as well
        registry = Registry.discover()
        assert [entry.qualified_name for entry in registry.list_entries("model", "*/net")] == ["good/net"]
        said = {problem.plugin: problem for problem in registry.problems}
        assert set(said) == set(expected)
        for name, why in expected.items():
            assert f"plugin '{name}' 1.0: " in str(said[name])
            assert why in str(said[name])
            assert str(said[name]).isprintable()
        assert asked(caplog) == processes
    with pytest.raises(UnknownNameError) as caught:
        Registry.discover().get("model", "surely-not")
    assert all(name in str(caught.value) for name in expected)


@pytest.mark.promise("P5")
def test_what_hangs_is_ended_with_its_children(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = packages.folder / "pid"
    code = f"""
        import pathlib, subprocess, sys, time
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        pathlib.Path({str(pid)!r}).write_text(str(child.pid))
        time.sleep(600)
    """
    packages.add("hangs", "x = hangs", hangs=code)
    receive = Process.receive

    def receive_once_it_hangs(process: Process, time_limit: float) -> dict[str, Any]:
        while process.is_running and not (pid.exists() and pid.read_text()):
            os.sched_yield()
        return receive(process, 0.1)

    monkeypatch.setattr(Process, "receive", receive_once_it_hangs)
    assert "it took more than 0.1 s" in str(problem_of("hangs"))
    assert "it took more than 0.1 s" in str(problem_of("hangs")), "that is kept"
    with suppress(ProcessLookupError):  # nothing is left of it already
        assert select.select([os.pidfd_open(int(pid.read_text()))], [], [], 60)[0], "its child is left"


def test_a_plugin_that_was_mended_is_asked_again_by_name(packages: Packages) -> None:
    flag = packages.folder / "flag"
    packages.add("acme", "x = acme_zoo", acme_zoo=f"import pathlib\nassert pathlib.Path({str(flag)!r}).exists()")
    packages.add("odd", "x = acme_zoo:object")
    for retry, broken in ((True, {"acme", "odd"}), (False, {"acme", "odd"}), (True, {"odd"}), (False, {"odd"})):
        registry = Registry.discover()
        for plugin in registry.plugins:
            if retry:
                registry.retry(plugin)
        registry.list_entries("model")
        assert {problem.plugin for problem in registry.problems} == broken
        if not retry:
            flag.touch()


def test_a_thread_or_exit_handler_does_not_hold_it_up(packages: Packages) -> None:
    code = "import threading, time, atexit\nthreading.Thread(target=time.sleep, args=(600,)).start()\n"
    packages.add("slow", "x = slow", slow=f"{code}atexit.register(time.sleep, 600)")
    registry = Registry.discover()
    assert registry.list_entries("model") and not registry.problems, "it did not take until the limit"


def test_a_plugin_that_forks_is_listed_once(packages: Packages, caplog: pytest.LogCaptureFixture) -> None:
    packages.add("forks", "x = forks", forks="import os\nos.fork()\n" + HOOKS.replace("\n    ", "\n"))
    assert list(list_all()) == list(list_all()) == ["forks/net", "forks/data", "forks/score"]
    assert asked(caplog) == 1


def test_a_plugin_that_lists_the_zoo_starts_no_chain(packages: Packages, caplog: pytest.LogCaptureFixture) -> None:
    code = "import zoo\nassert 'baseline' in zoo.list_models()\n"
    packages.add("curious", "x = curious", curious=code)
    packages.add("curious-too", "x = curious_too", curious_too=code)
    registry = Registry.discover()
    assert registry.list_entries("model")
    assert registry.problems == []
    assert asked(caplog) == 2


def test_changes_are_noticed(packages: Packages, caplog: pytest.LogCaptureFixture) -> None:
    info = packages.add("acme", "x = acme_zoo.hooks", acme_zoo__hooks=HOOKS)
    assert "acme/net" in list_all()
    file = packages.write("acme_zoo/hooks.py", HOOKS.replace('"net"', '"web"'))
    os.utime(file, (1, 1))
    assert "acme/web" in list_all()
    info.rename(packages.folder / "acme-2.0.dist-info")
    (packages.folder / "acme-2.0.dist-info" / "METADATA").write_text("Name: acme\nVersion: 2.0\n")
    assert "acme/web" in list_all()
    assert asked(caplog) == 3
    (packages.folder / "acme-2.0.dist-info" / "entry_points.txt").unlink()
    assert list_all() == {}


def test_a_change_of_a_module_that_the_hooks_import_is_noticed(
    packages: Packages, caplog: pytest.LogCaptureFixture
) -> None:
    packages.add(
        "acme", "x = acme_zoo.hooks", acme_zoo__hooks="from acme_zoo.names import *\n" + HOOKS.replace("\n    ", "\n")
    )
    packages.write("acme_zoo/names.py", "")
    assert "acme/net" in list_all()
    for broken in ("raise RuntimeError('edited')", "def edited", "import edited"):
        packages.write("acme_zoo/names.py", broken)
        assert list_all() == {}
        packages.write("acme_zoo/names.py", "# mended")
        assert "acme/net" in list_all()
        assert "acme/net" in list_all()
    assert asked(caplog) == 7


def test_a_failure_is_tried_again_once_something_is_installed(packages: Packages) -> None:
    packages.add("acme", "x = acme_zoo", acme_zoo="import acme_needs\n" + HOOKS.replace("\n    ", "\n"))
    assert "No module named 'acme_needs'" in str(problem_of("acme"))
    packages.add("acme-needs", None, acme_needs="")
    assert "acme/net" in list_all()


def test_a_qualified_name_gives_a_broken_plugin_its_chance(packages: Packages) -> None:
    flag = packages.folder / "flag"
    code = f"import pathlib\nassert pathlib.Path({str(flag)!r}).exists(), 'not yet'\n"
    packages.add("acme", "x = acme_zoo", acme_zoo=code + HOOKS.replace("\n    ", "\n"))
    registry = Registry.discover()
    assert list(registry.list_entries("model", "*/net")) == []
    with pytest.raises(PluginError, match="not yet"):
        registry.get("model", "acme/net")
    flag.touch()
    registry = Registry.discover()
    with pytest.raises(UnknownNameError, match="not yet"):
        registry.get("model", "net")
    assert registry.get("model", "acme/net").name == "net"
    assert registry.problems == []
    assert registry.get("model", "net").plugin.name == "acme"
    assert "acme_zoo" not in sys.modules


@pytest.mark.slow
def test_a_command_asks_each_plugin_once(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.add("acme", "x = acme_zoo", acme_zoo=HOOKS)
    packages.add("bad", "x = bad_zoo", bad_zoo="raise RuntimeError('no luck')")
    packages.add("hangs", "x = hangs_zoo", hangs_zoo="import time\ntime.sleep(600)")
    load = zoo.registry.index._load_elsewhere
    started: list[str] = []

    def note(plugin: Plugin) -> Any:
        """Processes are counted where they start: the command line has its own handler for what is logged."""
        started.append(plugin.name)
        monkeypatch.setattr(zoo.registry.index, "TIME_LIMIT", 1.0 if plugin.name == "hangs" else 60.0)
        return load(plugin)

    monkeypatch.setattr(zoo.registry.index, "_load_elsewhere", note)
    commands = {  # what nothing is known of, or is asked for and was broken or not there when it was indexed
        "show acme/none": ["acme", "bad", "hangs"],  # the others are listed for the closest name
        "show nothing": [],
        "plugins hangs": ["hangs"],
        "run --model acme/none --dataset acme/none --metric hangs/net --metric hangs/none": ["acme", "hangs"],
    }
    for command, expected in commands.items():
        started.clear()
        assert main(command.split()) != 0 or command.startswith("plugins")
        assert started == expected, command


def test_a_name_found_since_is_found_when_asked_for(packages: Packages) -> None:
    folder = packages.folder / "nets"
    folder.mkdir()
    packages.add(
        "acme",
        "x = acme_zoo",
        acme_zoo=f"""
        import pathlib, zoo
        @zoo.hookimpl
        def zoo_models():
            for path in pathlib.Path({str(folder)!r}).iterdir():
                yield zoo.ModelSpec(name=path.name, factory="acme_zoo:build")
        """,
    )
    assert list_all() == {}
    (folder / "net").touch()
    with pytest.raises(UnknownNameError):
        Registry.discover().get("model", "net")
    assert Registry.discover().get("model", "acme/net").name == "net"
    assert Registry.discover().get("model", "net").name == "net"


NEEDS = {
    "Requires-Dist: zoo-torch>=99": "needs zoo-torch >=99: this is 0.1.0. Fix: pip install -U zoo-torch acme",
    "Requires-Dist: Zoo_Torch[timm] (<0.1)": "needs Zoo_Torch <0.1: this is 0.1.0. Fix: pip install -U Zoo_Torch acme",
    "Requires-Dist: zoo-torch>=0.1; extra == 'x'\nRequires-Dist: zoo.torch == 99.*": "needs zoo.torch ==99.*",
    "Requires-Dist: zoo-torch >> 3": "its metadata requires 'zoo-torch >> 3': InvalidRequirement",
    "Requires-Dist: zoo-torch>=0.0.1,<99": None,
    "Requires-Dist: zoo-torch>=99; extra == 'x'": None,
    "Requires-Dist: zoo-torch>=99; python_version < '3'": None,
    "Requires-Dist: zoo-torch": None,
    "Requires-Dist: zoo-torch-extras>=99": None,
}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["module", "manifest"])
@pytest.mark.parametrize("needs", NEEDS)
def test_a_plugin_that_needs_another_zoo_is_refused_by_number(packages: Packages, needs: str, form: str) -> None:
    ran = packages.folder / "ran"
    if form == "module":
        code = f"import pathlib\npathlib.Path({str(ran)!r}).touch()\n"
        info = packages.add("acme", "x = acme_zoo", acme_zoo=code + HOOKS.replace("\n    ", "\n"))
    else:
        info = packages.add("acme", "x = acme_zoo:registry.toml", acme_zoo____init__="")
        packages.write("acme_zoo/registry.toml", 'schema = 1\n[models.net]\nfactory = "a:b"')
    (info / "METADATA").write_text(f"Name: acme\nVersion: 1.0\nrequires-dist: torch\n{needs}\n\nRequires-Dist: zoo>=9")
    for _ in range(2):
        if NEEDS[needs] is None:
            assert "acme/net" in list_all()
        else:
            assert NEEDS[needs] in str(problem_of("acme"))
            assert not ran.exists()


def test_a_catalogue_has_qualified_names_only(packages: Packages, tmp_path: Path) -> None:
    packages.add("acme", "x = acme_zoo:registry.toml", acme_zoo____init__="")
    many = "".join(f'[models.net-{number}]\nfactory = "a:b"\n' for number in range(3))
    packages.write(
        "acme_zoo/registry.toml", f"schema = 1\nqualified_only = true\n{many}[models.baseline]\nfactory='a:b'"
    )
    packages.add("other", "x = other_zoo", other_zoo=HOOKS.replace('"net"', '"net-1"'))
    for _ in range(2):  # read, then from the index
        registry = Registry.discover()
        assert registry.count_catalogues("model")["acme"] == 4
        assert "acme" not in registry.count_catalogues("dataset")
        names = [entry.qualified_name for entry in registry.list_entries("model")]
        assert "other/net-1" in names and not [name for name in names if name.startswith("acme/")]
        found = [entry.qualified_name for entry in registry.list_entries("model", "net-*")]
        assert found == ["acme/net-0", "acme/net-1", "acme/net-2", "other/net-1"]
        assert len(registry.list_entries("model", "acme/*")) == 4
        assert registry.get("model", "net-1").plugin.name == "other"
        assert registry.get("model", "acme/net-1").plugin.name == "acme"
        assert registry.warnings == []
        with pytest.raises(UnknownNameError, match=r"Did you mean 'acme/net-2'\?"):
            registry.get("model", "net-2")
        with pytest.raises(UnknownNameError, match=r"Did you mean 'acme/net-0'\?"):
            registry.get("model", "acme/net-00")
    manifest = packages.write("mine/registry.toml", f"schema = 1\nqualified_only = 1\n{many}")
    with pytest.raises(ManifestError, match="qualified_only: expected true or false, got 1"):
        Registry.discover([manifest])


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b"null", b'{"key": 1}', b"\xff", b"[" * 100_000])
def test_a_damaged_cache_is_made_anew(packages: Packages, caplog: pytest.LogCaptureFixture, damage: bytes) -> None:
    packages.add("acme", "x = acme_zoo", acme_zoo=HOOKS)
    assert "acme/net" in list_all()
    (cache,) = Path(os.environ["ZOO_HOME"], "cache").glob("index-acme*")
    good = cache.read_bytes()
    cache.write_bytes(damage)
    assert "acme/net" in list_all()
    assert asked(caplog) == 2
    cache.write_bytes(good.replace(b'"net"', b'"NET"'))
    assert "acme/net" in list_all()
    assert asked(caplog) == 3


def test_a_home_that_cannot_be_written_only_costs_time(packages: Packages, monkeypatch: pytest.MonkeyPatch) -> None:
    packages.add("acme", "x = acme_zoo", acme_zoo=HOOKS)
    monkeypatch.setenv("ZOO_HOME", str(packages.write("file", "") / "home"))
    assert "acme/net" in list_all()
    assert "acme/net" in list_all()


def test_a_folder_called_zoo_in_the_current_folder_is_not_taken(
    packages: Packages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages.add("acme", "x = acme_zoo", acme_zoo=HOOKS)
    (tmp_path / "zoo").mkdir()
    (tmp_path / "zoo" / "__init__.py").write_text("raise RuntimeError('not this one')")
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        assert "acme/net" in list_all()


def test_disabled_plugins_are_not_run(
    packages: Packages, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    packages.add("acme-one", "x = acme_one", acme_one=HOOKS)
    assert list_all(disabled=["acme_one"]) == {}
    with pytest.raises(UsageError, match=r"no plugin 'acme-on' to leave out\. Did you mean 'acme-one'\?"):
        list_all(disabled=["acme-on"])
    with pytest.raises(UsageError, match=r"no plugin 'zoo' to leave out\. See: zoo plugins"):
        list_all(disabled=["zoo"])
    assert list_all(disabled=["all"]) == {}
    for value in ("Acme_One", "x,acme-one", "all"):
        monkeypatch.setenv("ZOO_DISABLE_PLUGINS", value)
        assert list_all() == {}
    assert asked(caplog) == 0
