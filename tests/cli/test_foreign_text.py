"""Text of plugins, files and users with characters that drive a terminal: it comes out escaped, whatever prints it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo.cli.main import main

pytestmark = pytest.mark.promise("P10")

EVIL = "a\x1b[31m\r\nQ\x9b\u202e"
PLUGIN = """
import torch, zoo
EVIL = {evil!r}

class Metric:
    def update(self, logits, targets):
        pass
    def compute(self):
        return {{EVIL: 0.5}}
    def reset(self):
        pass

@zoo.metric(name="odd")
def odd(*, num_classes):
    return Metric()

@zoo.dataset(name="rows")
def rows(*, root, size: int = 8):
    if size < 0:
        raise RuntimeError(EVIL + "x" * 5000)
    images = torch.arange(size * 16, dtype=torch.uint8).reshape(size, 1, 4, 4)
    return zoo.DataSplits(train=(images, torch.arange(size) % 2), test=(images, torch.arange(size) % 2),
                          class_names=[EVIL, "other"])
"""


@pytest.fixture
def plugin(own_folder: Path) -> str:
    path = own_folder / "rows.py"
    path.write_text(PLUGIN.format(evil=EVIL), encoding="utf-8")
    return str(path)


def check_printed(text: str) -> None:
    """Check that nothing in it drives a terminal, and that what is foreign keeps to its line."""
    lines = text.split("\n")
    assert all(line.isprintable() for line in lines), [line for line in lines if not line.isprintable()]
    assert not any(line.startswith("Q") for line in lines)


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_what_commands_print_drives_no_terminal(
    form: list[str], plugin: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = own_folder / EVIL
    training = ["run", "--dataset", "rows", "--metric", "odd", "--epochs", "1", "--plugin", plugin]
    assert main([*training, "--runs-dir", str(runs), *form]) == 0
    assert main([*training, "--runs-dir", str(runs), "--seeds", "2", *form]) == 0
    weights = str(sorted(runs.iterdir())[0])
    picture = own_folder / f"{EVIL}.png"
    samples = ["samples", "rows", "--plugin", plugin, "--output"]
    assert main([*samples, str(picture), *form]) == 0
    for command in (
        ["show", weights],
        ["verify", weights],
        ["evaluate", weights, "--metric", "odd", "--per-class", "--plugin", plugin],
        ["predict", weights, str(picture), "--top", "2"],
        ["compare", weights],
        ["adapt", weights, "--num-classes", "3", "--output", f"{EVIL}.safetensors"],
        ["plot", weights, "--kind", "curves", "--output", f"{EVIL}.svg"],
        ["plot", weights, "--kind", "confusion", "--output", f"{EVIL}.svg"],
        ["report", weights, "--output", f"{EVIL}.html"],
        ["show", "rows", "--counts", "--plugin", plugin],
        ["verify", f"{EVIL}.none"],
        ["list", "--plugin", f"{EVIL}.py"],
        ["list", "--search", EVIL],
        ["plugins", EVIL],
        [EVIL],
        ["run", f"--{EVIL}"],
        ["run", "--model", EVIL],
        ["run", "--param", f"{EVIL}={EVIL}"],
        ["samples", "rows", "--split", EVIL, "--plugin", plugin],
    ):
        main([*command, *form])
    out, err = capsys.readouterr()
    check_printed(out)
    check_printed(err)
    assert "bug in zoo" not in err
    assert r"a\x1b[31m\r\nQ\x9b\u202e" in out or form


def test_csv_drives_no_terminal_and_json_is_exact(
    plugin: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--dataset", "rows", "--epochs", "0", "--plugin", plugin, "--runs-dir", EVIL]) == 0
    (weights,) = (own_folder / EVIL).iterdir()
    picture = f"{EVIL}.png"
    assert main(["samples", "rows", "--plugin", plugin, "--output", picture]) == 0
    capsys.readouterr()
    assert main(["predict", str(weights), picture, "--csv", "--top", "2"]) == 0
    assert main(["compare", str(weights), "--csv"]) == 0
    check_printed(capsys.readouterr().out)
    assert main(["predict", str(weights), picture, "--json", "--top", "2"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["path"] == picture
    assert EVIL in {each["label"] for each in row["top"]}


def test_words_of_a_plugin_are_cut(plugin: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["samples", "rows", "--plugin", plugin, "--dataset-param", "size=-1"]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert r"RuntimeError: a\x1b[31m" in line
    assert line.endswith("xxx... (rows.py, line 20)") and len(line) < 420
