"""Every command has a Python function of its name, and each option a parameter of the same name."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

import zoo
from zoo.cli.commands import COMMANDS
from zoo.cli.main import cli, main
from zoo.cli.wording import NAMES, to_options
from zoo.registry.settings import list_settings

PRINTED = {"debug", "as_json", "as_csv", "as_markdown", "sort", "course_style", "per_class", "verbose", "top"}
"""Options that say how something is printed: the function returns all of it."""
OF_THE_SHELL = ("help", "version", "completion")
"""Commands about the command line itself."""
DRAWN = {"check", "bench", "samples", "compare", "predict", "plot", "embed"}
"""Commands whose `--output` draws or writes what the function returns."""


def find_commands():
    context = click.Context(cli)
    for name in [each for each in COMMANDS if each not in OF_THE_SHELL]:
        command = cli.get_command(context, name)
        if isinstance(command, click.Group):
            if command.invoke_without_command:
                yield name, command
            yield from ((f"{name}_{inner}", each) for inner, each in command.commands.items())
        else:
            yield name, command


@pytest.mark.parametrize(("name", "command"), [*find_commands()])
def test_a_command_is_a_function_of_its_name(name, command):
    function = getattr(zoo, name)
    parameters = inspect.signature(function).parameters
    takes = {*parameters, *(list_settings() if "settings" in parameters else ())}
    skipped = PRINTED | {"disabled", "seeds"} | ({"output"} if name in DRAWN else set())
    given = {parameter.name for parameter in command.params} - skipped
    if name == "run":
        given -= {"dry_run"}  # a function of its own, with the same arguments but for those of a training's pace
        paced = {"checkpoint_every", "max_time", "rank_timeout"}
        assert given - paced <= {*inspect.signature(zoo.dry_run).parameters, *list_settings()}
    if name == "samples":
        given = given - {"grid"} | {"count"}
    if name == "convert":
        steps = {field.name for field in dataclasses.fields(zoo.Preprocess)}
        assert len(given & steps) > 5
        given = given - steps | {"preprocess"}
    # `--plugin` and `--no-plugin` make the registry; functions take both forms.
    assert given <= takes, f"zoo.{name} lacks {given - takes}"
    assert {"plugins", "registry"} <= takes or name.startswith(("plugin_", "runs"))


def test_the_star_takes_no_builtin_away():
    code = "from zoo import *; print(list((1, 2)), show.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 2] show\n"


def test_list_and_plugins_give_what_the_commands_print(capsys):
    assert main(["list", "models"]) == 0
    printed = capsys.readouterr().out
    listing = zoo.list("models")
    assert set(listing.names) == {"baseline", "relu-mlp", "small-resnet", "tinyvgg"}
    assert all(f"  {name}" in printed for name in listing.names)
    assert [*listing.to_dict()["catalogues"]["models"]] == ["timm", "torchvision"]
    assert zoo.list(search="torchvision/resnet18").names == (
        "torchvision/resnet18",
        "torchvision/resnet18.imagenet1k_v1",
    )
    states = {state.name: state for state in zoo.plugins()}
    assert states["zoo"].status == "ok" and "baseline" in states["zoo"].entries["models"]
    assert [state.name for state in zoo.plugins("timm")] == ["timm"]
    with pytest.raises(zoo.UnknownNameError, match="Use one of: models"):
        zoo.list("modls")
    with pytest.raises(zoo.UnknownNameError, match="Did you mean 'timm'"):
        zoo.plugins("tim")


def test_a_message_names_options_on_the_command_line_and_arguments_in_python(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(zoo.StorageError) as caught:
        zoo.run(epochs=0, runs_dir=tmp_path / "file")
    assert str(caught.value).endswith("Choose another folder with runs_dir=...")
    assert main(["run", "--epochs", "0", "--runs-dir", str(tmp_path / "file")]) == 7
    assert capsys.readouterr().err.endswith("Choose another folder with --runs-dir\n")
    with pytest.raises(zoo.DeviceError) as caught:
        zoo.load("baseline@fashionmnist", device="gpu")
    assert str(caught.value).endswith("Use device='cuda' or 'auto'.")
    assert main(["evaluate", "baseline@fashionmnist", "--dataset", "shapes", "--device", "gpu", "--json"]) == 2
    assert '"fix": "Use --device cuda or auto."' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        ("Use runs_dir=... to write elsewhere.", "Use --runs-dir to write elsewhere."),
        ("Try batch_size=8", "Try --batch-size 8"),
        ("Run with offline=False, or wait", "Run without --offline, or wait"),
        ("Give it with plugins=['/a b/c.py'] now", "Give it with --plugin '/a b/c.py' now"),
        ("""Give it with plugins=["it's.py"]""", """Give it with --plugin 'it'"'"'s.py'"""),
        ("Train: zoo.run(model='a', dataset='b/c')", "Train: zoo run --model a --dataset b/c"),
        ("Score it: zoo.evaluate('/a/c', dataset='NAME')", "Score it: zoo evaluate /a/c --dataset NAME"),
        ("Read it: zoo.load(WEIGHTS) or wait", "Read it: zoo.load(WEIGHTS) or wait"),
        ("Declare it: Preprocess(scale=...), or", "Declare it: Preprocess(scale=...), or"),
        ("Look at /runs/lr=0.1/x and ?seed=3", "Look at /runs/lr=0.1/x and ?seed=3"),
    ],
)
def test_wording(said, printed):
    assert to_options(said) == printed


def test_messages_of_the_library_name_no_options():
    """Texts that are raised, not docstrings: the command line changes them to its own words."""
    options = {option for name, command in find_commands() for each in command.params for option in each.opts}
    root = Path(zoo.__file__).parent
    own = {"cli", "repeat.py", "conclusions.py", "colors.py", "templates"}
    sources = [path for path in root.rglob("*.py") if not own & {*path.relative_to(root).parts}]
    spoken, named = [], set()
    for path in sources:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
                spoken += [(path.name, node.value) for _ in re.findall(r"(?<![\w(-])--[a-z]", node.value)]
                named |= {*re.findall(r"\b([a-z_]+)=\.\.\.", node.value)} & {*NAMES}
    assert len(sources) > 80 and len(named) > 8
    assert not spoken
    assert {to_options(f"{name}=...") for name in NAMES} <= options
