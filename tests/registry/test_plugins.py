"""Plugins: where they are found, how they are read, and which errors name those that do not work."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import pytest
from conftest import Packages

import zoo
from zoo.errors import ManifestError, PluginError, UsageError, ZooError
from zoo.registry.distributions import find_entry_points
from zoo.registry.entries import Registry
from zoo.registry.factories import build_model, load_factory
from zoo.registry.imports import import_file
from zoo.registry.loading import load_specs
from zoo.registry.plugins import find_plugins, plugin_from_object, plugin_from_specs

PLUGINS = Path(__file__).parents[1] / "fixtures" / "plugins"
MANIFEST = 'schema = 1\n[models.net]\nfactory = "nowhere:net"\n'


def find(name: str) -> list:
    return [plugin for plugin in find_plugins() if plugin.name == name]


def points() -> list[tuple[str, str, str, str]]:
    return [(point.distribution, point.version, point.name, point.value) for point in find_entry_points("zoo")]


def test_entry_points_are_those_of_importlib() -> None:
    from importlib.metadata import distributions

    first = {}
    for distribution in distributions():
        first.setdefault(distribution.metadata["Name"].lower().replace("_", "-").replace(".", "-"), distribution)
    expected = sorted(
        (name, distribution.version, point.name, point.value)
        for name, distribution in first.items()
        for point in distribution.entry_points
        if point.group == "console_scripts"
    )
    found = find_entry_points("console_scripts")
    assert len(expected) > 5
    assert sorted((point.distribution, point.version, point.name, point.value) for point in found) == expected


def test_entry_points_follow_what_is_installed(packages: Packages, tmp_path: Path, monkeypatch) -> None:
    before = points()
    info = packages.add(
        "Acme.Zoo__x", "b = acme:registry.toml\n a=acme.hooks\n# c = d\n[other]\ne = f", version="1.0.post1"
    )
    added = [("acme-zoo-x", "1.0.post1", "a", "acme.hooks"), ("acme-zoo-x", "1.0.post1", "b", "acme:registry.toml")]
    assert sorted(set(points()) - set(before)) == added
    # A copy further down the path is shadowed, even where it is the only one with entry points.
    other = Packages(tmp_path / "other")
    other.folder.mkdir()
    other.add("acme-zoo-x", "c = other", version="2.0")
    monkeypatch.syspath_prepend(str(packages.folder))
    monkeypatch.setattr(sys, "path", [*sys.path, str(other.folder)])
    assert sorted(set(points()) - set(before)) == added
    (info / "entry_points.txt").write_text("[zoo]\n", encoding="utf-8")
    assert points() == before
    for file in info.iterdir():
        file.unlink()
    info.rmdir()
    assert sorted(set(points()) - set(before)) == [("acme-zoo-x", "2.0", "c", "other")]


def test_damaged_metadata_of_others_stops_nothing(packages: Packages) -> None:
    before = points()
    (packages.folder / "~orch-2.0.dist-info").mkdir()
    (packages.folder / ".dist-info").mkdir()
    (packages.folder / "file-1.0.dist-info").write_bytes(b"")
    packages.add("odd", "x = odd:registry.toml").joinpath("METADATA").write_bytes(
        b"Name: \xff\nVersion: \x1b[31m\n\xff"
    )
    packages.add("bare", "x = bare:registry.toml").joinpath("METADATA").unlink()
    packages.add("lines", None).joinpath("entry_points.txt").write_bytes(
        b"no section\n[zoo\nno equals\n\xff = \xff\n[]\n="
    )
    packages.add("loop", None).joinpath("entry_points.txt").symlink_to("entry_points.txt")
    found = sorted(set(points()) - set(before))
    assert found == [
        ("bare", "1.0", "x", "bare:registry.toml"),
        ("lines", "1.0", "no equals", ""),
        ("lines", "1.0", "\ufffd", "\ufffd"),
        ("odd", r"\x1b[31m", "x", "odd:registry.toml"),
    ]
    registry = Registry.discover()
    assert registry.list_entries("model")
    assert {problem.plugin for problem in registry.problems} == {"bare", "lines", "odd"}
    assert all(str(problem).isprintable() for problem in registry.problems)


@pytest.mark.parametrize(
    "value",
    [
        "", ":", "pkg:", "pkg:obj", "pkg:obj.attr", "pkg:../registry.toml", "pkg:/etc/x.toml", "pkg:a/b.toml", ".hooks",
        "pkg.", "pkg hooks", "pkg:registry.toml [extra]", "../pkg", "1pkg", "pkg:.toml", "\x1b[31m",
        "pkg:registry.toml\0",
    ],
    ids=ascii,
)  # fmt: skip
def test_a_malformed_entry_point_is_named(packages: Packages, value: str) -> None:
    packages.add("acme", f"sample = {value}")
    (plugin,) = find("acme")
    if value == "pkg:":  # the same as "pkg", a module
        assert plugin.problem is None
        return
    assert isinstance(plugin.problem, PluginError)
    assert str(plugin.problem).startswith("plugin 'acme' 1.0: entry point 'sample': expected 'pkg:registry.toml' or")
    assert load_specs(plugin) == []


@pytest.mark.parametrize("name", ["zoo", "con", "a" * 65, "-", "ab!", "\x1b[31mred", "name\u0430"], ids=ascii)
def test_a_distribution_whose_name_cannot_name_a_plugin(packages: Packages, name: str) -> None:
    packages.add(name, "x = pkg:registry.toml", pkg____init__="")
    packages.write("pkg/registry.toml", MANIFEST.replace("net", "baseline"))
    registry = Registry.discover()
    assert registry.get("model", "baseline").spec.factory == "zoo_plugins.models.baseline:Baseline"
    assert [entry.short_name for entry in registry.list_entries("model", "baseline")] == ["baseline"]
    if name != "-":  # no name at all, so no distribution
        (problem,) = registry.problems
        assert "its name cannot name a plugin" in str(problem)
        assert str(problem).isprintable()
        assert all(plugin.name.isprintable() for plugin in registry.plugins)


@pytest.mark.promise("P6")
def test_an_installed_manifest_is_read_without_importing_its_package(packages: Packages) -> None:
    packages.add("acme", "x = acme_zoo.sub:registry.toml", acme_zoo____init__="raise RuntimeError('imported')")
    packages.write("acme_zoo/sub/registry.toml", MANIFEST)
    (plugin,) = find("acme")
    assert plugin.source == packages.folder / "acme_zoo" / "sub" / "registry.toml"
    assert [spec.name for spec in load_specs(plugin)] == ["net"]
    assert plugin.problem is None
    entry = Registry([plugin]).get("model", "net")
    with pytest.raises(PluginError, match=r"plugin 'acme' 1.0: nowhere:net cannot be loaded: ModuleNotFoundError"):
        load_factory(entry)


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "no such file in the installed package"),
        ({"acme_zoo/__init__.py": ""}, "manifest 'acme_zoo:registry.toml': no such file in the installed package"),
        ({"acme_zoo.py": ""}, "no such file in the installed package"),
        ({"acme_zoo/registry.toml": "schema = 3"}, "its manifest is not usable"),
        ({"acme_zoo/registry.toml": MANIFEST + "[models.net]"}, "is not TOML"),
        ({"acme_zoo/registry.toml": MANIFEST + 'aliases = ["net"]'}, "model 'net': declared twice"),
    ],
    ids=range(6),
)
def test_a_broken_manifest_is_named_and_harms_nobody(packages: Packages, files: dict[str, str], why: str) -> None:
    packages.add("acme", "x = acme_zoo:registry.toml")
    for path, text in files.items():
        packages.write(path, text)
    packages.add("good", "x = good_zoo:registry.toml")
    packages.write("good_zoo/registry.toml", MANIFEST)
    registry = Registry.discover()
    assert registry.get("model", "net").qualified_name == "good/net"
    (problem,) = registry.problems
    assert str(problem).startswith("plugin 'acme' 1.0: ")
    assert why in str(problem)


HEAD = "import itertools, sys\nimport zoo\n"
NET = "zoo.ModelSpec(name='net', factory='a:b')"
BAD_FILES = {
    "raises": ("raise RuntimeError('no\\nluck')", "importing it failed: RuntimeError: no luck"),
    "exits": ("sys.exit(3)", "importing it failed: SystemExit: 3"),
    "syntax": ("def", "importing it failed: SyntaxError"),
    "bytes": ("x = '\0'", "importing it failed: "),
    "needs": ("import surely_not_installed", "ModuleNotFoundError"),
    "hook-raises": ("@zoo.hookimpl\ndef zoo_models(): raise OSError('late')", "zoo_models() failed: OSError: late"),
    "hook-exits": ("@zoo.hookimpl\ndef zoo_models(): sys.exit()", "zoo_models() failed: SystemExit"),
    "hook-none": ("@zoo.hookimpl\ndef zoo_models(): pass", "to yield ModelSpec objects, got N"),
    "hook-int": ("@zoo.hookimpl\ndef zoo_models(): return 3", "to yield ModelSpec objects, got int"),
    "hook-str": ("@zoo.hookimpl\ndef zoo_models(): return 'abc'", "to yield ModelSpec objects, got str"),
    "hook-class": ("@zoo.hookimpl\ndef zoo_models(): yield zoo.ModelSpec", "to yield ModelSpec objects, got type"),
    "hook-kind": (f"@zoo.hookimpl\ndef zoo_metrics(): yield {NET}", "to yield MetricSpec objects, got ModelSpec"),
    "hook-endless": (f"@zoo.hookimpl\ndef zoo_models(): return itertools.repeat({NET})", "more than 100000 specs"),
    "hook-late": (f"@zoo.hookimpl\ndef zoo_models():\n yield {NET}\n raise OSError('half')", "OSError: half"),
    "hook-arguments": ("@zoo.hookimpl\ndef zoo_models(config): return []", "not usable: PluginValidationError"),
    "bad-name": ("@zoo.hookimpl\ndef zoo_models(): yield zoo.ModelSpec(name='a/b', factory='a:b')", "'a/b': name: "),
    "twice": (f"@zoo.hookimpl\ndef zoo_models(): return [{NET}] * 2", "model 'net': declared twice"),
    "alias": (
        "@zoo.model(name='a', aliases=['net'])\nclass A: ...\n@zoo.model(name='net')\nclass B: ...\n",
        "model 'a': its alias 'net' is declared twice",
    ),
    "decorator": ("@zoo.model(name='B')\nclass A: ...", "model 'B': name: expected lower-case letters"),
    "factroy": (
        "@zoo.model(name='b', factroy=3)\nclass A: ...",
        "model 'b': factroy: unknown field. Did you mean 'factory'?",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_broken_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    code, why = BAD_FILES[name]
    path = tmp_path / f"{name}.py"
    path.write_text(HEAD + code, encoding="utf-8")
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            Registry.discover([path])
        assert str(caught.value).startswith(f"plugin '{name}': ")
        assert why in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", sorted(BAD_FILES))
def test_the_same_installed_is_a_problem_that_harms_nobody(packages: Packages, name: str) -> None:
    code, why = BAD_FILES[name]
    packages.add("acme", "x = acme_zoo", acme_zoo=HEAD + code)
    packages.add("good", "x = good_zoo:registry.toml")
    packages.write("good_zoo/registry.toml", MANIFEST)
    (plugin,) = find("acme")
    registry = Registry([*find("good"), plugin])
    assert load_specs(plugin) == []
    assert str(plugin.problem).startswith("plugin 'acme' 1.0: ")
    assert why in str(plugin.problem)
    assert registry.get("model", "net").plugin.name == "good"


def test_a_misspelt_hook_is_a_warning_and_the_others_count(packages: Packages, tmp_path: Path) -> None:
    code = f"{HEAD}@zoo.hookimpl\ndef zoo_modelz(): return []\n@zoo.hookimpl\ndef zoo_models(): yield {NET}\n"
    warning = "unknown hook 'zoo_modelz' is never called; did you mean 'zoo_models'?"
    (tmp_path / "given.py").write_text(code)
    packages.add("acme", "x = acme_zoo", acme_zoo=code)
    for _ in range(2):  # indexed, then from the index
        registry = Registry.discover([tmp_path / "given.py"])
        assert {entry.qualified_name for entry in registry.list_entries("model", "*/net")} == {"acme/net", "given/net"}
        assert registry.problems == []
        assert registry.warnings == [f"plugin 'acme 1.0': {warning}", f"plugin 'given': {warning}"]


def test_ctrl_c_while_a_plugin_loads_is_no_problem_of_the_plugin(tmp_path: Path) -> None:
    path = tmp_path / "slow.py"
    path.write_text("raise KeyboardInterrupt")
    *_, plugin = find_plugins([path])
    with pytest.raises(KeyboardInterrupt):
        load_specs(plugin)
    path.write_text(f"import zoo\n@zoo.hookimpl\ndef zoo_models(): yield {NET}")
    assert [spec.name for spec in load_specs(plugin)] == ["net"]


def test_a_file_is_loaded_once_under_a_name_of_its_own(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "json.py").write_text("import sys\nassert __name__ in sys.modules\n")
    first, second = (import_file(tmp_path / folder / "json.py") for folder in "ab")
    assert first is not second
    assert first is import_file(tmp_path / "a" / "json.py")
    assert sys.modules["json"] not in (first, second)


def test_the_decorated_file(tmp_path: Path) -> None:
    registry = Registry.discover([PLUGINS / "my_cnn.py"])
    entry = registry.get("model", "my-cnn")
    assert (entry.qualified_name, dict(entry.spec.params)) == ("my-cnn/my-cnn", {"channels": 8})
    model = build_model(entry, input_shape=(1, 4, 4), num_classes=3, params={"channels": 2})
    assert model.layers[0].out_channels == 2
    with pytest.raises(zoo.UnknownNameError):
        Registry.discover().get("model", "my-cnn")


def test_a_manifest_finds_the_module_beside_it_and_no_other(tmp_path: Path) -> None:
    entry = Registry.discover([PLUGINS / "beside" / "registry.toml"]).get("model", "beside/linear")
    assert build_model(entry, input_shape=(1, 2, 2), num_classes=3, params={}).layer.in_features == 4
    assert "linear_model" not in sys.modules
    (tmp_path / "registry.toml").write_text((PLUGINS / "beside" / "registry.toml").read_text())
    entry = Registry.discover([tmp_path / "registry.toml"]).get("model", "linear")
    with pytest.raises(PluginError, match="No module named 'linear_model'"):
        load_factory(entry)


def test_specs_of_decorated_objects_from_elsewhere_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        textwrap.dedent("""
        import types
        import zoo

        class Strange:
            def __getattr__(self, name):
                raise RuntimeError(name)

        strange = Strange()

        def build(): ...
        build.__module__ = "elsewhere"
        zoo.model(name="foreign")(build)

        @zoo.model(name="first")
        class First: ...

        again = First

        class Derived(First): ...

        @zoo.model(name="second")
        class Second(First): ...
        """)
    )
    names = [entry.name for entry in Registry.discover([path]).list_entries("model") if entry.plugin.name == "mine"]
    assert names == ["first", "second"]


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing.py", "cannot be read: No such file"), ("folder.py", "neither a .py file nor"), ("x.txt", "neither a"),
        ("a\0.py", "cannot be read: "), ("x" * 5000 + ".py", "cannot be read: File name too long"),
        ("~nobody-of-that-name/x.py", "RuntimeError"), ("zoo.py", "it is the name of zoo's own"), ("---.py", "name"),
        ("con.py", "device on Windows"), ("\u0430.py", "its name cannot name a plugin"),
    ],
    ids=range(10),
)  # fmt: skip
def test_paths_that_are_no_plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, why: str) -> None:
    (tmp_path / "folder.py").mkdir()
    for name in ("x.txt", "zoo.py", "---.py", "con.py", "\u0430.py"):
        (tmp_path / name).touch()
    where = path if path.startswith("~") else f"{tmp_path}/{path}"
    with pytest.raises(UsageError) as caught:
        find_plugins([where])
    assert why in str(caught.value)
    assert str(caught.value).isprintable()
    if "\0" not in path:
        monkeypatch.setenv("ZOO_PLUGINS", where)
        with pytest.raises(UsageError):
            Registry.discover()


def test_a_manifest_given_by_hand_fails_as_one(tmp_path: Path) -> None:
    path = tmp_path / "registry.toml"
    path.write_text("schema = 3")
    with pytest.raises(ManifestError, match="schema 3 is newer"):
        Registry.discover([path])


def test_one_file_spelt_in_two_ways_is_one_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.py").write_text("import zoo\n@zoo.model(name='net')\nclass Net: ...\n")
    monkeypatch.setenv("ZOO_PLUGINS", str(tmp_path / "mine.py"))
    registry = Registry.discover([tmp_path / "folder" / ".." / "mine.py"])
    assert registry.get("model", "net").plugin.source == tmp_path / "mine.py"
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.py").write_text((tmp_path / "mine.py").read_text())
    with pytest.raises(UsageError, match=r"model 'net' is declared twice in plugin 'mine': .*mine.py. Rename one"):
        Registry.discover([tmp_path / "other" / "mine.py"]).get("model", "net")


def test_a_registry_has_its_plugins_already() -> None:
    for call in (zoo.list_models, zoo.run, lambda **given: zoo.fetch("shapes", **given)):
        with pytest.raises(UsageError, match="registry= and plugins= were both given"):
            call(registry=Registry(), plugins=["nowhere.py"])


def test_zoo_plugins_names_paths(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one, two = PLUGINS / "my_cnn.py", PLUGINS / "beside" / "registry.toml"
    monkeypatch.setenv("ZOO_PLUGINS", os.pathsep.join([str(one), "", str(two), str(one)]))
    assert [plugin.name for plugin in find_plugins([two])][-2:] == ["beside", "my-cnn"]
    assert "my-cnn/my-cnn" in zoo.list_models()
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", "my_cnn")
    assert [plugin.name for plugin in find_plugins()][-1] == "beside"
    monkeypatch.setenv("ZOO_DISABLE_PLUGINS", "all")  # installed ones; these are asked for by name
    assert {"my-cnn", "beside"} < {plugin.name for plugin in find_plugins()}


def test_objects_and_specs_from_python() -> None:
    class Provider:
        @zoo.hookimpl
        def zoo_models(self) -> list[zoo.ModelSpec]:
            return [zoo.ModelSpec(name="net", factory=dict)]

    module = types.ModuleType("some.module_name")
    exec("import zoo\n@zoo.metric(name='score')\ndef score(): ...\nscore.__module__ = 'some.module_name'", vars(module))
    registry = Registry.discover([Provider(), module])
    assert registry.get("model", "provider/net").spec.factory is dict
    assert registry.get("metric", "module-name/score").name == "score"
    with pytest.raises(UsageError, match="cannot name a plugin"):
        plugin_from_object(types.ModuleType("zoo"))
    with pytest.raises(TypeError, match="expected specs, got str"):
        plugin_from_specs("mine", ["net"])
    assert plugin_from_object(object()).name == "object"


def test_a_hook_that_lies_about_itself_is_a_plugin_error() -> None:
    class Strange:
        def __dir__(self) -> list[str]:
            sys.exit(4)

    with pytest.raises(PluginError, match=r"its hooks are not usable|SystemExit"):
        Registry.discover([Strange()])


@pytest.mark.promise("P6")
def test_listing_imports_neither_torch_nor_plugins(packages: Packages) -> None:
    packages.add("acme", "x = acme_zoo:registry.toml", acme_zoo____init__="raise RuntimeError('imported')")
    packages.write("acme_zoo/registry.toml", MANIFEST)
    code = """if True:
        import sys
        import zoo
        print('acme/net' in zoo.list_models(), *sorted({'torch', 'acme_zoo', 'pydantic'} & {*sys.modules}))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "True\n"


def test_problems_are_zoo_errors(packages: Packages) -> None:
    packages.add("acme", "x = nowhere:registry.toml")
    registry = Registry.discover()
    assert [(type(problem), isinstance(problem, ZooError), problem.exit_code) for problem in registry.problems] == [
        (PluginError, True, 5)
    ]


@pytest.mark.slow
def test_who_lacks_the_plugin_of_weights_is_told_how_to_get_it(packages: Packages, monkeypatch, tmp_path: Path) -> None:
    code = """
        import torch
        import zoo

        @zoo.model(name="net")
        class Net(torch.nn.Sequential):
            def __init__(self, *, input_shape, num_classes):
                super().__init__(torch.nn.Flatten(), torch.nn.LazyLinear(num_classes))
                self(torch.zeros(1, *input_shape))
    """
    packages.add("acme", "x = acme_zoo", acme_zoo=code)
    path = packages.write("mine.py", code)
    sizes = {"train_size": 40, "test_size": 20}
    saved = {}
    plugins = {"acme/net": [], "mine/net": [path], "local/net": None}
    advice = {
        "mine/net": f"Give it with plugins=['{path}'] if you trust it",
        "local/net": "Give it again: plugins= or registry=",
    }
    advice["acme/net"] = "It is installed but left out by ZOO_DISABLE_PLUGINS or disabled=..."
    for model, given in plugins.items():
        registry = Registry.discover(given or ())
        if given is None:
            registry.add(zoo.ModelSpec(name="net", factory=import_file(path).Net))
        result = zoo.run(model, epochs=0, dataset_params=sizes, registry=registry)
        saved[model] = result.weights
        assert type(zoo.load_model(result.weights, registry=registry)).__name__ == "Net"
        with monkeypatch.context() as patch:
            patch.setenv("ZOO_DISABLE_PLUGINS", "all")
            with pytest.raises(PluginError) as caught:
                zoo.load_model(result.weights)
        assert str(caught.value).endswith(advice[model])
    (packages.folder / "acme-1.0.dist-info" / "entry_points.txt").unlink()
    with pytest.raises(PluginError, match=r"an installed plugin called .acme.\. .*installing a package runs its code"):
        zoo.load_model(saved["acme/net"])
