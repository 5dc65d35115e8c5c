"""Containment: with every kind of broken plugin installed at once, nothing of anybody else's changes by a byte."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from subprocess import CompletedProcess

import pytest
from conftest import ROOT, Environment, Packages

pytestmark = [pytest.mark.slow, pytest.mark.promise("P5")]

HOOK = "import zoo\n@zoo.hookimpl\ndef zoo_models():\n"
NET = "zoo.ModelSpec(name='net', factory='a:b')"
MANIFEST = 'schema = 1\n[models.{}]\nfactory = "{}"\n'
BAD_NAMES = [
    "a/b", "a\\b", "..", "a\0b", "a\nb", "\x1b[31mred", "b\u0430seline", "\uff42aseline", "base\u200bline", "n" * 300,
    "con", "", "-x",
]  # fmt: skip

# Modules that run into trouble when they are imported or asked; what `zoo plugins` must say of each.
MODULES = {
    "raises": ("raise RuntimeError('no luck')", "RuntimeError: no luck"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "ends": ("import os; os._exit(3)", "it ended the process (exit code 3)"),
    "ends-well": ("import os; os._exit(0)", "it ended the process (exit code 0)"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "it ended the process (signal 11"),
    "hangs": ("import time; time.sleep(600)", "it took more than 10 s"),
    "syntax": ("def", "SyntaxError"),
    "needs": ("import surely_not_installed", "No module named 'surely_not_installed'"),
    "hook-raises": (f"{HOOK} raise OSError('late')", "zoo_models() failed: OSError: late"),
    "hook-int": (f"{HOOK} return 3", "expected to yield ModelSpec objects, got int"),
    "hook-none": (f"{HOOK} return None", "expected to yield ModelSpec objects, got NoneType"),
    "hook-str": (f"{HOOK} return 'net'", "expected to yield ModelSpec objects, got str"),
    "hook-half": (f"{HOOK} yield {NET}\n raise OSError('half')", "OSError: half"),
    "hook-endless": (f"import itertools\n{HOOK} return itertools.repeat({NET})", "more than 100000 specs"),
    "names": (f"{HOOK} for name in {BAD_NAMES!r}: yield zoo.ModelSpec(name=name, factory='a:b')", "name: expected"),
    "rewrites": (
        "import builtins, os, sys, zoo.cli.main, zoo.errors, zoo.registry.loading, zoo.registry.entries\n"
        "zoo.registry.entries.Registry.list_entries = lambda *_: []\nzoo.cli.main = print\nbuiltins.print = None\n"
        "os.environ.clear()\nsys.stdout.write('noise')\nsys.stderr.write('noise')\nsys.path.clear()\n"
        "raise RuntimeError('rewritten')\n",
        "RuntimeError: rewritten",
    ),
}
# Whole packages: entry point, files, further metadata.
PACKAGES = {
    "malformed": ("x = pkg:object", {}, "", "expected 'pkg:registry.toml' or 'pkg.hooks'"),
    "no-value": ("x =", {}, "", "expected 'pkg:registry.toml' or 'pkg.hooks'"),
    "gone": ("x = evil_gone.hooks", {}, "", "No module named 'evil_gone'"),
    "gone-too": ("x = evil_gone_too:registry.toml", {}, "", "no such file in the installed package"),
    "toml": ("x = evil_toml:registry.toml", {"evil_toml/registry.toml": "[" * 5000}, "", "is not TOML"),
    "key": (
        "x = evil_key:registry.toml",
        {"evil_key/registry.toml": 'schema = 1\n[models.net]\nfactroy = "a:b"'},
        "",
        "[models.net] factroy: unknown key; did you mean 'factory'?",
    ),
    "schema": ("x = evil_schema:registry.toml", {"evil_schema/registry.toml": "schema = 3"}, "", "schema 3 is newer"),
    "newer": (
        "x = evil_newer", {"evil_newer.py": "raise SystemExit"}, "Requires-Dist: zoo-torch>=99",
        "needs zoo-torch >=99",
    ),
    "older": (
        "x = evil_older", {"evil_older.py": "raise SystemExit"}, "Requires-Dist: zoo-torch<0.1",
        "needs zoo-torch <0.1",
    ),
    **{
        f"name-{number}": (
            f"x = evil_name_{number}:registry.toml",
            {f"evil_name_{number}/registry.toml": MANIFEST.format(json.dumps(name), "a:b")},
            "",
            "name: ",
        )
        for number, name in enumerate(BAD_NAMES)
        if name != "a\0b"  # no TOML at all
    },
}  # fmt: skip
# Plugins that can be listed; their entries are theirs to fail with.
LISTED = {
    "misspelt": (
        "x = evil_misspelt",
        f"{HOOK} yield {NET}\n@zoo.hookimpl\ndef zoo_modelz(): ...",
        "unknown hook 'zoo_modelz'",
    ),
    "twin-a": ("x = evil_twin_a", f"{HOOK} yield zoo.ModelSpec(name='twin', factory='a:b')", ""),
    "twin-b": ("x = evil_twin_b", f"{HOOK} yield zoo.ModelSpec(name='twin', factory='a:b')", ""),
    "shadows": (
        "x = evil_shadows",
        f"{HOOK} yield zoo.ModelSpec(name='baseline', factory='a:b')",
        "model baseline is zoo's own",
    ),
    "models": (
        "x = evil_models",
        """
        import torch
        import zoo

        class Net(torch.nn.Module):
            def __init__(self, *, input_shape, num_classes, kind: str):
                super().__init__()
                if kind == "raises":
                    raise RuntimeError("not today")
                self.kind, self.linear = kind, torch.nn.Linear(784, num_classes)
            def forward(self, inputs):
                logits = self.linear(inputs.flatten(1))
                return {"tuple": (logits,), "nan": logits * float("nan"), "batch": logits[:1],
                        "wide": logits.repeat(1, 2), "classes": logits.argmax(1)}[self.kind]

        def other(*, input_shape, num_classes, kind: str):
            return {} if kind == "dict" else torch.nn.Flatten()

        @zoo.hookimpl
        def zoo_models():
            for kind in ("raises", "tuple", "nan", "batch", "wide", "classes"):
                yield zoo.ModelSpec(name=kind, factory=Net, params={"kind": kind})
            for kind in ("dict", "empty"):
                yield zoo.ModelSpec(name=kind, factory=other, params={"kind": kind})
        """,
        "",
    ),
}  # fmt: skip
ASKED = {
    "raises": "cannot be built: RuntimeError: not today",
    "dict": "expected an nn.Module, got dict",
    "empty": "it has no parameters",
    "tuple": "got a tuple",
    "nan": "values that are not finite",
    "batch": "got 1x10",
    "wide": "got 2x20",
    "classes": "got 2",
}
SMALL = ("--dataset-param", "train_size=320", "--dataset-param", "test_size=100", "--epochs", "1")
COMMANDS = {
    "help": ("--help",),
    "version": ("--version",),
    "list": ("list",),
    "list models": ("list", "models", "--json"),
    "search": ("list", "--search", "*"),
    "show": ("show", "baseline"),
    "show data": ("show", "fashionmnist", "--json"),
    "layers": ("show", "tinyvgg", "--layers"),
    "run": ("run", *SMALL),
    "run with JSON": ("run", "--model", "relu-mlp", "--json", *SMALL),
    "run help": ("run", "--help"),
}


def mask(output: str) -> str:
    """Take out what differs between any two runs: times and the folder, which is named by the time."""
    output = re.sub(r"\d{8}-\d{6}(-\d+)?", "TIME", output)
    return re.sub(r'("(?:seconds|train|test)": )[0-9.e-]+|[0-9.]+ s on', r"\1SECONDS", output)


def without_theirs(output: str) -> str:
    """Take out the lines and objects of plugins that may be listed; what is left must be the same bytes."""
    if output.startswith('{"models"'):
        listed = json.loads(output)
        listed["models"] = [entry for entry in listed["models"] if not entry["name"].startswith("evil-")]
        return json.dumps(listed) + "\n"
    return "".join(line for line in output.splitlines(keepends=True) if not line.startswith("  evil-"))


@pytest.fixture(scope="module")
def environment(make_environment: Callable[[], Environment]) -> Environment:
    environment = make_environment()
    environment.install("-e", ROOT)
    environment.python = environment.warm
    return environment


@pytest.fixture(scope="module")
def before(environment: Environment) -> dict[str, str]:
    """Return what each command prints while nothing else is installed."""
    return {name: call(environment, *command).stdout for name, command in COMMANDS.items()}


def call(environment: Environment, *arguments: str, code: int = 0) -> CompletedProcess[str]:
    return environment.call(environment.python, "-m", "zoo", *arguments, code=code)


@pytest.fixture(scope="module")
def hostile(environment: Environment, before: dict[str, str]) -> Environment:
    """Return the environment with all of them installed."""
    site = Packages(environment.site_packages)
    for name, (code, _) in MODULES.items():
        module = f"evil_{name.replace('-', '_')}"
        site.add(f"evil-{name}", f"x = {module}", **{module: code})
    for name, (entry_point, files, metadata, _) in PACKAGES.items():
        with (site.add(f"evil-{name}", entry_point) / "METADATA").open("a") as file:
            file.write(metadata)
        for path, text in files.items():
            site.write(path, text)
    for name, (entry_point, code, _) in LISTED.items():
        site.add(f"evil-{name}", entry_point, **{f"evil_{name.replace('-', '_')}": code})
    site.add("zoo", "x = evil_models")
    site.add("con", "x = evil_models")
    site.add("evil-\x1b[31m", "x = evil_models")
    # No more than torch itself can be imported beside: see test_plugins for metadata that is no text at all.
    for name, content in {"section": b"[zoo\nx = y", "nothing": b""}.items():
        (site.add(f"evil-file-{name}", "") / "entry_points.txt").write_bytes(content)
    return environment


def expected_causes() -> dict[str, str]:
    causes = {name: why for name, (_, why) in MODULES.items()}
    causes |= {name: why for name, (*_, why) in PACKAGES.items()}
    causes |= {name: why for name, (*_, why) in LISTED.items() if why}
    return {f"evil-{name}": why for name, why in causes.items()}


def test_no_byte_of_anybody_else_changes(hostile: Environment, before: dict[str, str]) -> None:
    help_page = call(hostile, *COMMANDS["help"])
    assert (help_page.stdout, help_page.stderr) == (before["help"], "")
    assert not [*hostile.home.glob("home/cache/index-evil*")], "a help page must not build the index"
    again = ("list", "search", "show")  # the first time the index is built, now it is read
    for name in (*COMMANDS, *again):
        after = call(hostile, *COMMANDS[name])
        assert mask(without_theirs(after.stdout)) == mask(before[name]), name
        assert name.startswith(("list", "search")) or "evil" not in after.stderr, name


def test_each_culprit_is_named_once_with_version_and_cause(hostile: Environment) -> None:
    call(hostile, "list")
    listed = call(hostile, "list")
    told = [line for line in listed.stderr.splitlines() if line.startswith("Warning: plugin ")]
    shown = {plugin["name"]: plugin for plugin in json.loads(call(hostile, "plugins", "--json").stdout)["plugins"]}
    for name, why in expected_causes().items():
        assert shown[name]["version"] == "1.0"
        lines = [line for line in told if f"'{name}' 1.0: " in line or f"'{name} 1.0': " in line]
        assert len(lines) == 1, name
        assert why in lines[0], name
        assert why in " ".join([shown[name]["problem"] or "", *shown[name]["warnings"]]), name
        assert shown[name]["status"] == ("broken" if shown[name]["problem"] else "warning")
    assert listed.stderr.replace("\n", "").isprintable()
    assert len(told) == len(listed.stderr.splitlines())
    assert {name for name in shown if shown[name]["status"] == "ok"} >= {
        "zoo",
        "evil-models",
        "evil-twin-a",
        "evil-twin-b",
    }
    page = call(hostile, "plugins", "evil-raises").stdout
    assert "RuntimeError: no luck" in page and "evil-exits" not in page


def test_who_asks_for_theirs_is_told_what_is_wrong(hostile: Environment) -> None:
    # In one process, to pay for importing torch once.
    broken = [f"evil-{name}" for name in ("raises", "ends", "hook-half", "newer", "toml")]
    models = [*(f"{name}/net" for name in broken), *(f"evil-models/{name}" for name in ASKED), "twin", "nowhere"]
    code = f"""
        import contextlib, io, json
        from zoo.cli.main import main
        said = []
        for name in {models}:
            with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
                said.append((main(["run", "--model", name, *{SMALL}]), out.getvalue(), err.getvalue()))
        print(json.dumps(said))
    """
    said = dict(zip(models, hostile.evaluate(code), strict=True))
    for name in broken:
        exit_code, out, err = said[f"{name}/net"]
        (line,) = [line for line in err.splitlines() if not line.startswith("indexing")]
        assert (exit_code, out) == (5, "")
        assert line.startswith(f"Error: plugin '{name}' 1.0: ") and expected_causes()[name] in line
    for name, why in ASKED.items():
        exit_code, out, err = said[f"evil-models/{name}"]
        (line,) = err.splitlines()
        assert (exit_code, out) == (5, "")
        assert f"'{name}'" in line and why in line
    assert said["twin"][::2] == [
        2,
        "Error: model 'twin' is provided by 2 plugins. Use one of: evil-twin-a/twin, evil-twin-b/twin\n",
    ]
    assert said["nowhere"][0] == 2 and "RuntimeError: no luck" in said["nowhere"][2]


def test_all_of_them_can_be_left_out(hostile: Environment, before: dict[str, str]) -> None:
    quiet = call(hostile, "list", "--no-plugin", "all")
    assert "evil" not in quiet.stdout + quiet.stderr
    names = [argument for name in expected_causes() for argument in ("--no-plugin", name)]
    assert not set(expected_causes()) & set(re.findall(r"evil-[a-z0-9-]+", call(hostile, "list", *names).stderr))
