"""One entry with a mistake is left out, whatever declares it: the others work, and everybody is told which and why."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Packages

import zoo
import zoo.testing
from zoo.cli.main import main

Entry = tuple[str, dict[str, Any]]
"""A kind and the fields of one of it."""

FACTORY = "zoo_plugins.models.baseline:Baseline"
GOOD = [("model", {"name": name, "factory": FACTORY}) for name in ("first", "last")]
DEVICE = "is the name of a device on Windows"
# What is declared between two good models, and what is told of it.
FLAWED: dict[str, tuple[Entry, str]] = {
    "device": (("model", {"name": "aux"}), f"name: 'aux' {DEVICE}"),
    "device-part": (("model", {"name": "lpt1.v2"}), f"name: 'lpt1.v2' {DEVICE}"),
    "capital": (("model", {"name": "Net"}), "name: expected lower-case letters"),
    "long": (("model", {"name": "a" * 65}), "at most 64"),
    "alias": (("model", {"name": "net", "aliases": ["con"]}), f"name: 'con' {DEVICE}"),
    "unknown": (("model", {"name": "net", "desciption": "x"}), "desciption: unknown"),
    "type": (("model", {"name": "net", "params": 3}), "params: expected a table"),
    "shape": (("model", {"name": "net", "input_shape": [0]}), "input_shape: expected a whole number"),
    "dataset": (("dataset", {"name": "aux"}), f"name: 'aux' {DEVICE}"),
    "metric": (("metric", {"name": "m", "bounds": [1, 0]}), "bounds: expected lowest and highest value"),
    "weights": (
        ("weights", {"name": "w", "model": "first", "dataset": "shapes"}),
        "file, url, loader: expected one of them",
    ),
    "twice": (("model", {"name": "net", "aliases": ["net"]}), "declared twice"),
}


def write_manifest(*entries: Entry) -> str:
    lines = ["schema = 1"]
    for kind, fields in entries:
        lines.append(f"[{plural(kind)}.{json.dumps(fields['name'])}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in fields.items() if key != "name"]
    return "\n".join(lines)


def write_decorators(*entries: Entry) -> str:
    """Return a file with decorators; weights have none, so they come from a hook there too."""
    text = "import zoo\n"
    for number, (kind, fields) in enumerate(entries):
        given = {key: value for key, value in fields.items() if key != "factory"}
        decorated = f"@zoo.{kind}(**{given!r})\ndef make_{number}(**_): ...\n"
        text += decorated if kind != "weights" else write_hooks((kind, fields)).removeprefix("import zoo\n")
    return text


def write_hooks(*entries: Entry) -> str:
    text = "import zoo\n"
    for kind in dict.fromkeys(kind for kind, _ in entries):
        lines = [f"    yield zoo.{kind.title()}Spec(**{fields!r})\n" for found, fields in entries if found == kind]
        text += f"@zoo.hookimpl\ndef zoo_{plural(kind)}():\n{''.join(lines)}"
    return text


def plural(kind: str) -> str:
    return kind if kind == "weights" else f"{kind}s"


FORMS: dict[str, tuple[str, Callable[..., str]]] = {
    "manifest": ("mine/registry.toml", write_manifest),
    "decorators": ("mine.py", write_decorators),
    "hooks": ("mine.py", write_hooks),
}


def declare(form: str, *flawed: Entry) -> str:
    """Write a plugin called `mine` into the current folder, with entries between two good models; return its path."""
    name, make = FORMS[form]
    Path(name).parent.mkdir(exist_ok=True)
    complete = [(kind, fields if kind == "weights" else {"factory": FACTORY, **fields}) for kind, fields in flawed]
    Path(name).write_text(make(GOOD[0], *complete, GOOD[1]), encoding="utf-8")
    return name


def expect_told(name: str, kind: str, why: str, capsys: pytest.CaptureFixture[str], *options: str) -> None:
    """Ask every door for plugin `mine`: two models are there, and what was left out is told with its reason."""
    told = f"{kind} '{name}' is left out: "
    assert main(["list", "models", "--json", *options]) == 0
    out, err = capsys.readouterr()
    assert [entry["name"] for entry in json.loads(out)["models"] if "mine/" in entry["name"]] == [
        "mine/first", "mine/last",
    ]  # fmt: skip
    assert any(line.startswith("Warning: plugin 'mine") and told in line and why in line for line in err.splitlines())
    assert main(["plugins", *options]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if told in line]
    assert lines and all(line.startswith("warning: ") and why in line for line in lines)
    assert main(["plugins", "mine", *options]) == 0
    assert any(told in line and why in line for line in capsys.readouterr().out.splitlines())
    for asked in (name, f"mine/{name}"):
        if kind == "weights":
            assert main(["verify", asked, *options]) == 5
        else:
            assert main(["show", asked, *options]) == 5
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("Error: plugin 'mine") and f": {kind} '{name}': " in line and why in line
    assert main(["show", "mine/first", *options]) == 0
    capsys.readouterr()


@pytest.mark.promise("P5")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", FLAWED)
def test_only_the_entry_with_the_mistake_is_left_out(
    form: str, case: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (kind, fields), why = FLAWED[case]
    expect_told(fields["name"], kind, why, capsys, "--plugin", declare(form, (kind, fields)))


@pytest.mark.parametrize("form", FORMS)
def test_installed_plugins_too_and_until_they_change(
    form: str, own_folder: Path, packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    path = declare(form, ("model", {"name": "aux"}))
    target = "mine_zoo/registry.toml" if form == "manifest" else "mine_zoo/__init__.py"
    packages.add("mine", "x = mine_zoo:registry.toml" if form == "manifest" else "x = mine_zoo")
    text = Path(path).read_text(encoding="utf-8")
    packages.write(target, text)
    for _ in range(2):  # found out, and read from what is kept of it
        expect_told("aux", "model", DEVICE, capsys)
    packages.write(target, text.replace("aux", "better"))
    assert main(["show", "mine/better"]) == 0
    assert main(["list"]) == 0
    assert "left out" not in capsys.readouterr().err


@pytest.mark.promise("P5")
def test_both_of_two_that_share_a_name_are_left_out(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for form in FORMS:
        other = {"name": "net", "aliases": ["x"]} if form == "manifest" else {"name": "x"}
        path = declare(form, ("model", {"name": "x", "description": "one"}), ("model", other))
        expect_told("x", "model", "declared twice", capsys, "--plugin", path)


def test_a_file_of_a_data_set_is_part_of_its_entry(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = "zoo.FileSpec(path='../x', size=3, sha256='0', urls=())"
    Path("mine.py").write_text(
        write_hooks(*GOOD)
        + f"@zoo.dataset(name='pets', files=[{file}])\ndef pets(*, root): ...\n"
        + "@zoo.hookimpl\ndef zoo_datasets():\n"
        + f"    yield zoo.DatasetSpec(name='dogs', factory=pets, files=({file},))\n"
    )
    for name in ("pets", "dogs"):
        expect_told(name, "dataset", "files: path: expected a relative path", capsys, "--plugin", "mine.py")


def test_a_spec_of_another_kind_than_its_hook(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = f"zoo.MetricSpec(name='m', factory={FACTORY!r})"
    Path("mine.py").write_text(
        f"import zoo\n@zoo.hookimpl\ndef zoo_models():\n    yield {spec}\n"
        + "".join(f"    yield zoo.ModelSpec(**{fields!r})\n" for _, fields in GOOD)
    )
    why = "zoo_models() is expected to yield ModelSpec objects, got MetricSpec"
    expect_told("m", "metric", why, capsys, "--plugin", "mine.py")


def test_a_factory_that_cannot_be_found_again_is_a_mistake_of_its_entry(
    packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = "".join(f"    yield zoo.ModelSpec(**{fields!r})\n" for _, fields in GOOD)
    packages.add("mine", "x = mine_zoo")
    packages.write(
        "mine_zoo/__init__.py",
        "import zoo\n@zoo.hookimpl\ndef zoo_models():\n"
        f"    yield zoo.ModelSpec(name='local', factory=lambda **_: None)\n{entries}",
    )
    expect_told("local", "model", "its factory cannot be imported by its name", capsys)


@pytest.mark.parametrize("form", FORMS)
def test_a_plugin_of_which_nothing_is_left_is_broken(
    form: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, make = FORMS[form]
    Path(name).parent.mkdir(exist_ok=True)
    bad = [("model", {"name": name, "factory": FACTORY}) for name in ("aux", "nul")]
    Path(name).write_text(make(*bad))
    assert main(["list", "--plugin", name]) == (4 if form == "manifest" else 5)
    assert f"name: 'aux' {DEVICE}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text",
    [
        "import zoo\nraise OSError('x')\n",
        "import zoo\n@zoo.hookimpl\ndef zoo_datasets(): raise OSError('x')\n",
        "import zoo\n@zoo.hookimpl\ndef zoo_datasets(): yield 'x'\n",
    ],
)
def test_what_is_not_a_mistake_of_one_entry_breaks_the_plugin(
    text: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine.py").write_text(text + write_hooks(*GOOD))
    assert main(["list", "--plugin", "mine.py"]) == 5
    assert capsys.readouterr().err.startswith("Error: plugin 'mine': ")


def test_the_certificate_refuses_what_leaves_something_out(own_folder: Path) -> None:
    Path("mine.py").write_text(write_decorators(("metric", {"name": "aux"}), ("metric", {"name": "m"})))
    with pytest.raises(zoo.testing.CheckError, match="names failed: metric 'aux' is left out: name: 'aux' is the name"):
        zoo.testing.check_plugin("mine.py")


def test_a_spec_made_by_hand_still_raises(own_folder: Path) -> None:
    declare("decorators", ("model", {"name": "aux"}))
    zoo.Registry.discover(["mine.py"])
    with pytest.raises(ValueError, match=DEVICE):
        zoo.ModelSpec(name="aux", factory=FACTORY)
    with pytest.raises(TypeError, match="unexpected keyword argument 'desciption'"):
        zoo.ModelSpec(name="net", factory=FACTORY, desciption="x")
    with pytest.raises(zoo.PluginError, match="model 'net': declared twice"):
        zoo.Registry().add(*[zoo.ModelSpec(name="net", factory=FACTORY)] * 2)
