"""Generated plugins: they install, run and pass their own tests before anything in them is changed."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import json
import re
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Environment

import zoo
from zoo.cli.main import main
from zoo.registry.entries import Registry
from zoo.registry.factories import load_factory
from zoo.registry.params import FIXED
from zoo.registry.templates import NewPlugin, plugin_new
from zoo.storage import files

pytestmark = pytest.mark.slow

PLURALS = {"model": "models", "dataset": "datasets", "metric": "metrics", "loss": "losses"}
KINDS = tuple(PLURALS)
SMALL = ["--dataset-param", "train_size=500", "--dataset-param", "test_size=100"]
# The longest name there can be, a number first, a prefix that is not doubled, a dot that TOML would split at.
NAMES = ("a" * 60, "3d-net", "zoo-net", "net.v1_5")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return an empty folder, the current one."""
    folder = tmp_path / "empty"
    folder.mkdir()
    with contextlib.chdir(folder):
        yield folder


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def installed(
    make_environment: Callable[[], Environment], wheels: dict[str, Path]
) -> tuple[Environment, dict[str, NewPlugin]]:
    """Return an environment with zoo and a generated package of each kind, one from a wheel, two editable."""
    environment = make_environment()
    environment.install(wheels["zoo-torch"])
    made = {kind: plugin_new(f"my-{kind}", kind, output=environment.home / f"zoo-my-{kind}") for kind in KINDS}
    built = environment.home / "dist"
    options = ("--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", built)
    environment.call(sys.executable, "-m", "pip", "wheel", *options, made["model"].path)
    environment.install(*built.glob("*.whl"), *(word for kind in KINDS[1:] for word in ("-e", made[kind].path)))
    return environment, made


def test_the_tests_of_packages_pass_without_warnings(installed):
    environment, made = installed
    folders = [made[kind].path for kind in KINDS]
    options = ("-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", environment.home)
    done = environment.call(environment.warm, "-m", "pytest", *options, *folders)
    assert re.search(r"^[12]\d passed", done.stdout, re.MULTILINE) and "warning" not in done.stdout


def test_packages_do_what_their_readme_says(installed):
    environment, made = installed
    commands = {}
    for kind in KINDS:
        readme = (made[kind].path / "README.md").read_text(encoding="utf-8")
        (block,) = re.findall(r"^```sh\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
        install, run, test = block.splitlines()
        assert (install, test) == ("pip install -e '.[test]'", "python -m pytest")
        path = made[kind].path
        assert made[kind].commands == (f"pip install -e '{path}[test]'", run, f"python -m pytest {path}")
        commands[kind] = run
    commands["all"] = "zoo run --model my-model --dataset my-dataset --metric accuracy --metric my-metric"
    # One process, because each has to import torch.
    code = """
        import contextlib, io, json, sys
        from zoo.cli.main import main
        printed = {}
        for name, words in json.loads(sys.argv[1]).items():
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                assert main(words) == 0
            printed[name] = json.loads(out.getvalue())
        print(json.dumps(printed))
    """
    lines = {
        name: [*command.split()[1:], "--epochs", "1", "--json", *(SMALL if "shapes" in command else [])]
        for name, command in commands.items()
    }
    done = environment.call(environment.python, "-W", "error", "-c", textwrap.dedent(code), json.dumps(lines))
    results = json.loads(done.stdout)
    assert (results["model"]["model"], results["dataset"]["dataset"]) == ("my-model", "my-dataset")
    assert "my-metric" in results["metric"]["metrics"] and "my-loss" in results["loss"]["metrics"]
    scores = results["all"]["metrics"]
    assert scores["accuracy"] > 0.5 and scores["my-metric"] == pytest.approx(1 - scores["accuracy"])


def test_installed_packages_are_listed_and_go(installed):
    environment, _ = installed
    listed = json.loads(environment.call(environment.bin / "zoo", "list", "--json").stdout)
    for kind in KINDS:
        names = [entry["name"] for entry in listed[PLURALS[kind]] if entry["plugin"]["name"] == f"zoo-my-{kind}"]
        assert names == [f"zoo-my-{kind}/my-{kind}"]
    plugins = json.loads(environment.call(environment.bin / "zoo", "plugins", "--json").stdout)["plugins"]
    states = [(p["name"], p["version"], p["status"]) for p in plugins if p["name"].startswith("zoo-my")]
    assert sorted(states) == [(f"zoo-my-{kind}", "0.1.0", "ok") for kind in sorted(KINDS)]
    environment.uninstall(*(f"zoo-my-{kind}" for kind in KINDS))
    for command in ("list", "plugins"):
        assert "zoo-my" not in environment.call(environment.bin / "zoo", command).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_file_runs_as_printed(folder, capsys, kind):
    name = f"my-{kind}"
    assert main(["plugin", "new", name, "--kind", kind, "--single-file"]) == 0
    first, second, command = capsys.readouterr().out.splitlines()
    assert (first, second) == (f"wrote my_{kind}.py", "next")
    assert names_in(folder) == [f"my_{kind}.py"]
    assert command.split()[:4] == ["zoo", "run", "--plugin", f"my_{kind}.py"]
    words = command.split()[2:]
    chosen = dict(zip(words[::2], words[1::2], strict=True))
    assert chosen[f"--{kind}"] == name
    small = [] if kind == "dataset" else SMALL
    assert main(["run", *words, "--epochs", "1", "--json", *small]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["history"] and all(
        "it never predicts" in line or "it is right" in line for line in err.splitlines() if "Warning" in line
    )
    assert main(["list", "--plugin", f"my_{kind}.py"]) == 0
    assert f"my-{kind}/my-{kind}" in capsys.readouterr().out


@pytest.mark.parametrize("kind", KINDS)
def test_both_forms_declare_the_same_and_what_the_factory_takes(folder, kind):
    single = plugin_new("my-thing", kind, single_file=True)
    package = plugin_new("my-thing", kind)
    manifest = package.path / "zoo_my_thing" / "registry.toml"
    (by_decorator,) = Registry.discover([single.path]).list_entries(kind, "my-thing/*")
    (by_manifest,) = Registry.discover([manifest]).list_entries(kind, "zoo-my-thing/*")
    for field in (declared.name for declared in dataclasses.fields(by_manifest.spec)):
        if field != "factory":
            assert getattr(by_manifest.spec, field) == getattr(by_decorator.spec, field), field
    factory = load_factory(by_decorator)
    assert by_manifest.spec.factory == f"zoo_my_thing.{kind}:{factory.__name__}"
    taken = inspect.signature(factory).parameters
    assert {name: p.default for name, p in taken.items() if name not in FIXED[kind]} == dict(by_decorator.spec.params)
    assert by_decorator.spec.description
    # Apart from the decorator and the import that it needs, the code is the same.
    code = (package.path / "zoo_my_thing" / f"{kind}.py").read_text(encoding="utf-8")
    lines = single.path.read_text(encoding="utf-8").splitlines()
    assert set(code.splitlines()) <= set(lines)


@pytest.mark.parametrize("kind", KINDS)
def test_the_thing_itself_is_at_most_twenty_lines(folder, kind):
    """Lines of code: neither blank, nor comment, nor docstring, nor import."""
    source = plugin_new("my-thing", kind, single_file=True).path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    skipped = {
        number
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        for number in range(node.lineno, node.end_lineno + 1)
    }
    code = [
        line
        for number, line in enumerate(source.splitlines(), start=1)
        if number not in skipped and line.strip() and not line.strip().startswith("#")
    ]
    assert 10 < len(code) <= 20, "\n".join(code)


def test_generated_code_is_clean_whatever_the_name(folder):
    for kind in KINDS:
        for number, name in enumerate(NAMES):
            made = plugin_new(name, kind, output=Path(f"{kind}-{number}"))
            project = tomllib.loads((made.path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
            bare = name.removeprefix("zoo-")
            assert project["name"] == f"zoo-{re.sub('[-_.]', '-', bare)}"
            ((point, value),) = project["entry-points"]["zoo"].items()
            assert value == f"{point}:registry.toml" and (made.path / point / "registry.toml").is_file()
            registry = Registry.discover([made.path / point / "registry.toml"])
            assert bare in [entry.name for entry in registry.list_entries(kind)]
            if name != "3d-net":
                plugin_new(name, kind, single_file=True, output=Path(f"single_{kind}_{number}.py"))
    for command in (["format", "--check"], ["check"]):
        for folders in ([], [str(path) for path in folder.iterdir() if path.is_dir()]):
            done = subprocess.run(
                [sys.executable, "-m", "ruff", *command, "--no-cache", "--line-length", "120", *folders],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("My-CNN --kind model", "got 'My-CNN'. Did you mean 'my-cnn'?"),
        ("größe --kind metric", "name: expected lower-case letters"),
        ("con --kind model", "name: 'con' is the name of a device on Windows"),
        ("zoo-con --kind model", "name: 'con' is the name of a device on Windows"),
        (f"{'a' * 61} --kind model", "at most 64, got 'zoo-aaa"),
        ("baseline --kind model", "zoo itself has a model called 'baseline'"),
        ("zoo-shapes --kind dataset --single-file", "zoo itself has a dataset called 'shapes'"),
        ("torch --kind model", "'zoo-torch' is zoo's own"),
        ("plugins --kind model", "'zoo-plugins' is zoo's own"),
        ("torch --kind model --single-file", "file 'torch.py': it would hide the module 'torch'"),
        ("zoo --kind model --single-file", "file 'zoo.py': it would hide the module 'zoo'"),
        ("json --kind model --single-file", "file 'json.py': it would hide the module 'json'"),
        ("class --kind model --single-file", "file 'class.py': expected a module that Python can import"),
        ("3d --kind model --single-file", "file '3d.py': expected a module that Python can import"),
        ("x --kind model --single-file --output x.txt", "file 'x.txt': expected a module that Python can import"),
        ("x --kind model --single-file --output a-b.py", "file 'a-b.py': expected a module that Python can import"),
        ("x --kind modle", "'modle' is not one of 'model', 'dataset', 'metric', 'loss'. See: zoo plugin new --help"),
        ("x", "Missing option '--kind'"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_one_line(folder, capsys, arguments, line):
    assert main(["plugin", "new", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and line in err.replace("\n", " ")
    assert names_in(folder) == []


@pytest.mark.parametrize("options", [[], ["--single-file"]])
@pytest.mark.parametrize("there", ["file", "folder", "link"])
def test_nothing_that_exists_is_overwritten(folder, capsys, options, there):
    target = folder / ("net.py" if options else "zoo-net")
    if there == "file":
        target.write_text("mine", encoding="utf-8")
    elif there == "folder":
        target.mkdir()
    else:
        target.symlink_to(folder / "nowhere")
    before = target.lstat()
    assert main(["plugin", "new", "net", "--kind", "model", *options]) == 2
    assert f"Error: '{target.name}' exists: nothing is overwritten. Use --output for another place\n" == (
        capsys.readouterr().err
    )
    assert names_in(folder) == [target.name] and target.lstat().st_mtime_ns == before.st_mtime_ns
    elsewhere = ["--output", f"other/{target.name}"]
    assert main(["plugin", "new", "net", "--kind", "model", *options, *elsewhere, "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written["path"] == f"other/{target.name}" and f"other/{target.name}" in written["next"][0]
    place = Path(written["path"]).parent if options else Path(written["path"])
    assert sorted(written["files"]) == sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file())


@pytest.mark.parametrize("options", [[], ["--single-file"]])
def test_a_folder_that_cannot_be_written_is_named(folder, capsys, options):
    (folder / "taken").write_text("a file", encoding="utf-8")
    arguments = ["plugin", "new", "net", "--kind", "model", *options, "--output", "taken/net.py"]
    assert main(arguments) == 7
    out, err = capsys.readouterr()
    assert out == "" and err == "Error: cannot write to taken: not a folder. Use --output for another place\n"
    assert names_in(folder) == ["taken"]


@pytest.mark.parametrize("error", [zoo.StorageError("x", "the disk is full", files.ELSEWHERE), KeyboardInterrupt()])
def test_a_write_that_ends_early_leaves_nothing(folder, capsys, monkeypatch, error):
    whole, calls = files.write_file, []

    def write_some(path: Path, data: bytes, *, what: str) -> None:
        calls.append(path)
        if len(calls) == 4:
            raise error
        whole(path, data, what=what)

    monkeypatch.setattr(files, "write_file", write_some)
    code = main(["plugin", "new", "net", "--kind", "model"])
    assert len(calls) == 4 and names_in(folder) == []
    assert code == (7 if isinstance(error, zoo.StorageError) else 130)
    if code == 7:
        expected = "Error: cannot write zoo-net: the disk is full. Use --output for another place.\n"
        assert capsys.readouterr().err == expected


def test_a_folder_that_appears_meanwhile_is_not_touched(folder, monkeypatch):
    whole = files.write_file

    def write(path: Path, data: bytes, *, what: str) -> None:
        (folder / "zoo-net").mkdir(exist_ok=True)
        (folder / "zoo-net" / "mine").touch()
        whole(path, data, what=what)

    monkeypatch.setattr(files, "write_file", write)
    with pytest.raises(zoo.StorageError, match="cannot write zoo-net"):
        plugin_new("net", "model")
    assert [path.name for path in folder.rglob("*")] == ["zoo-net", "mine"]


def test_paths_that_a_shell_would_split_are_quoted(folder):
    made = plugin_new("net", "model", output=folder / "a b" / "net")
    assert made.commands[0] == f"pip install -e '{folder}/a b/net[test]'"
    assert plugin_new("net", "model", single_file=True, output="a b/n.py").commands == (
        "zoo run --plugin 'a b/n.py' --model net --dataset shapes",
    )


def test_writing_a_plugin_imports_nothing_heavy(folder):
    code = (
        "import sys; from zoo.cli.main import main; code = main(['plugin', 'new', 'net', '--kind', 'dataset']);"
        "print(sorted({'torch', 'numpy', 'zoo_plugins', 'pydantic'} & set(sys.modules)), code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1:] == ["[] 0"]
