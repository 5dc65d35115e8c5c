"""What shells offer: through click's protocol, and in a real bash, typed into a terminal."""

from __future__ import annotations

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from zoo.cli.completion import SHELLS
from zoo.cli.main import main

HEAVY = {"torch", "torchvision", "numpy", "pydantic", "PIL", "tqdm", "safetensors", "zoo_plugins"}
RUN = "20261101-120000-tinyvgg-shapes"


@pytest.fixture
def place(own_folder, monkeypatch):
    """Return the current folder, which has a run with weights, one without, and a plugin."""
    monkeypatch.delenv("ZOO_RUNS_DIR")
    for name in (RUN, "20261101-130000-stopped"):
        (own_folder / "runs" / name).mkdir(parents=True)
        (own_folder / "runs" / name / "run.json").write_text("{}")
    (own_folder / "runs" / RUN / "weights.safetensors").touch()
    (own_folder / "mine.toml").write_text("schema = 1\n[models.mynet]\nfactory = 'a:b'\n")
    return own_folder


def offer(capsys, monkeypatch, line):
    """Return what is offered for the last word of a line, each with its type."""
    words = line.split()
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(words) - (not line.endswith(" "))))
    monkeypatch.setenv("_ZOO_COMPLETE", "bash_complete")
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("zoo pl", ["plot", "plugins", "plugin"]),
        ("zoo help ev", ["evaluate"]),
        ("zoo run --mo", ["--model", "--momentum", "--monitor"]),
        ("zoo run --model t", ["tinyvgg", "timm/", "torchvision/"]),
        ("zoo run --model torchvision/resnet18", ["torchvision/resnet18"]),
        ("zoo run --plugin mine.toml --model my", ["mynet"]),
        ("zoo run --plugin mine.toml --model mi", ["mine/mynet"]),
        ("zoo run --model tinyvgg --dataset f", ["fashionmnist"]),
        ("zoo run --dataset=s", ["shapes"]),
        ("zoo run --metric a", ["accuracy"]),
        ("zoo run --optimizer a", ["adam", "adamw"]),
        ("zoo samples s", ["shapes"]),
        ("zoo samples shapes --split v", ["validation"]),
        ("zoo predict tinyvgg@", ["tinyvgg@fashionmnist"]),
        ("zoo predict @", ["@last", "@best"]),
        ("zoo run --init @l", ["@last"]),
        ("zoo run --recipe course-b", ["course-baseline"]),
        ("zoo check --rec", ["--recipe"]),
        ("zoo compare @last relu-mlp-", ["relu-mlp-fashionmnist"]),
        ("zoo evaluate runs/", [f"runs/{RUN}"]),
        ("zoo show sha", ["shapes"]),
        ("zoo list m", ["models", "metrics"]),
        ("zoo plot @last --kind c", ["curves", "confusion"]),
        ("zoo plugin t", ["test"]),
        ("zoo plugin new x --kind me", ["metric"]),
        ("zoo runs re", ["rename", "remove"]),
        ("zoo runs show 20261101-13", ["20261101-130000-stopped"]),
        ("zoo runs remove @", ["@last"]),
        ("zoo runs --status fi", ["finished"]),
        ("zoo plugins zo", ["zoo"]),
        ("zoo completion z", ["zsh"]),
        ("zoo nosuch --", ["--version", "--help"]),
        ("zoo run --no-such thing --mode", ["--model"]),
    ],
)
def test_words_that_begin_so_are_offered(capsys, monkeypatch, place, line, words):
    offered = [line.removeprefix("plain,") for line in offer(capsys, monkeypatch, line) if line.startswith("plain,")]
    # Of a plugin with hundreds of models one stands for all.
    found = dict.fromkeys(
        re.sub(r"^(timm|torchvision)/.*", r"\1/", word) if "/" not in line else word for word in offered
    )
    if line == "zoo show sha":
        assert "shapes" in found
    else:
        assert [*found] == words or set(found) == set(words)


def test_options_are_offered_where_nothing_is_typed_yet(capsys, monkeypatch, place):
    assert {"plain,--model", "plain,--epochs", "plain,--help"} <= set(offer(capsys, monkeypatch, "zoo run "))


@pytest.mark.parametrize("line", ["zoo predict @last ", "zoo run --plugin ", "zoo report @last --output "])
def test_the_shell_itself_offers_files(capsys, monkeypatch, place, line):
    assert offer(capsys, monkeypatch, line) == ["file,"]
    assert offer(capsys, monkeypatch, "zoo run --data-dir ") == ["dir,"]


def test_a_broken_plugin_says_nothing_into_the_line(capsys, monkeypatch, place):
    (place / "broken.toml").write_text("schema = ")
    monkeypatch.setenv("_ZOO_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "zoo run --plugin broken.toml --model t")
    monkeypatch.setenv("COMP_CWORD", "5")
    assert main([]) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.promise("P6")
def test_nothing_heavy_is_imported(place):
    code = (
        "import sys; from zoo.cli.main import main; code = main([]);"
        f"print(sorted({HEAVY!r} & {{name.partition('.')[0] for name in sys.modules}}), code, file=sys.stderr)"
    )
    for line in ("zoo run --model t", "zoo predict ", "zoo show "):
        settings = {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split())), "_ZOO_COMPLETE": "bash_complete"}
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, **settings}, capture_output=True, text=True, check=True
        )
        assert done.stderr.splitlines()[-1:] == ["[] 0"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script(capsys, shell):
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert err == "" and f"_ZOO_COMPLETE={shell}_complete" in out
    if program := shutil.which(shell):
        subprocess.run([program, "-n", "-c", out], check=True)


@pytest.fixture
def own_zoo(place, monkeypatch):
    """Put a program called zoo first on the path: this one where a shell asks it, else it prints what it was given."""
    (place / "bin").mkdir()
    (place / "bin" / "zoo").write_text(
        f"""#!/bin/sh
        if [ -n "$_ZOO_COMPLETE" ] || [ "$1" = completion ]; then exec {sys.executable} -m zoo "$@"; fi
        echo "given <$*>"
        """
    )
    (place / "bin" / "zoo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash here")
def test_a_line_is_completed_in_a_terminal_with_bash(own_zoo):
    lines = {
        "zoo pred\t": "predict",
        "zoo predict tinyvgg@fa\t": "predict tinyvgg@fashionmnist",
        "zoo evaluate @la\t": "evaluate @last",
        "zoo run --dataset=fas\t": "run --dataset=fashionmnist",
        "zoo run --init=tinyvgg@\t": "run --init=tinyvgg@fashionmnist",
        "zoo run --init tinyvgg@\t": "run --init tinyvgg@fashionmnist",
        f"zoo show runs/{RUN[:12]}\t": f"show runs/{RUN}",
        "zoo report @last --output bi\t": "report @last --output bin/",
        "zoo samples sha\t--split val\t": "samples shapes --split validation",
    }
    pid, master = pty.fork()
    if pid == 0:
        os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
    type_in(master, 'eval "$(zoo completion bash)"; echo "rea""dy>"\n', "ready>")
    found = {}
    for line in lines:
        shown = type_in(master, f"{line}\n", ">\r\n")
        found[line] = re.findall(r"given <(.*)>", shown)[-1].strip()
    os.close(master)
    os.waitpid(pid, 0)
    assert found == lines


def type_in(master: int, text: str, until: str) -> str:
    """Type into a terminal; return what it shows up to that text."""
    os.write(master, text.encode())
    shown = ""
    while until not in shown:
        shown += os.read(master, 65536).decode()
    return shown


def test_the_script_is_where_help_says(capsys):
    assert main(["completion", "--help"]) == 0
    assert 'eval "$(zoo completion bash)"' in " ".join(capsys.readouterr().out.split())


def test_an_unknown_instruction_is_refused(capsys, monkeypatch):
    monkeypatch.setenv("_ZOO_COMPLETE", "tcsh_complete")
    assert main([]) == 1
    assert capsys.readouterr() == ("", "")


def test_the_folder_of_runs_may_be_named(capsys, monkeypatch, place):
    Path("runs").rename("elsewhere")
    assert offer(capsys, monkeypatch, "zoo show --runs-dir elsewhere else")[1:] == [f"plain,elsewhere/{RUN}"]
