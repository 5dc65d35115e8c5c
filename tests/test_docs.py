"""The documents tell the truth: their commands and code run, and docs/cli.md is what `--help` says.

Run as a script, this writes docs/cli.md anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from click.testing import CliRunner

from zoo.cli import cli
from zoo.commands import COMMANDS

ROOT = Path(__file__).parent.parent
CLI = ROOT / "docs" / "cli.md"
START, END = "<!-- made by tests/test_docs.py: start -->", "<!-- end -->"


def blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def made_part() -> str:
    """Return the help of each command as Markdown."""
    parts = []
    for arguments in [[], *([name] for name in COMMANDS)]:
        help_text = CliRunner().invoke(cli, [*arguments, "--help"], prog_name="zoo", terminal_width=100).output
        parts.append(f"## `{' '.join(['zoo', *arguments])}`\n\n```text\n{help_text}```\n")
    return "\n".join(parts)


def test_cli_page_is_what_help_says():
    text = CLI.read_text(encoding="utf-8")
    assert text[text.index(START) + len(START) : text.index(END)].strip() == made_part().strip(), (
        "docs/cli.md is behind the commands: run python tests/test_docs.py"
    )


def test_readme_python_runs_from_top_to_bottom(tmp_path):
    code = "\n".join(blocks(ROOT / "README.md", "python"))
    (tmp_path / "readme.py").write_text(code, encoding="utf-8")
    done = subprocess.run([sys.executable, "readme.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.match(r"0\.\d+ .*weights\.safetensors", done.stdout)


def test_readme_opens_with_two_complete_shell_blocks():
    install, test = blocks(ROOT / "README.md", "sh")[:2]
    for block in (install, test):
        assert block.startswith("python3 -m venv .venv\n")
    assert install.endswith("zoo run\n") and test.endswith("pytest\n")


def test_documented_plugins_work(tmp_path):
    page = ROOT / "docs" / "writing-plugins.md"
    single, hooks = blocks(page, "python")
    (tmp_path / "my_plugin.py").write_text(single, encoding="utf-8")
    (tmp_path / "zoo_wide").mkdir()
    (tmp_path / "zoo_wide" / "hooks.py").write_text(hooks, encoding="utf-8")
    manifest, project = blocks(page, "toml")
    (tmp_path / "zoo_wide" / "registry.toml").write_text(manifest, encoding="utf-8")
    assert tomllib.loads(project)["project"]["entry-points"]["zoo"] == {"wide": "zoo_wide:registry.toml"}
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for line in blocks(page, "sh")[0].splitlines():
        done = subprocess.run(
            line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
    assert "error-rate 0.0" in done.stdout
    listing = "zoo list models --plugin zoo_wide/registry.toml --plugin zoo_wide/hooks.py"
    done = subprocess.run(
        listing, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    for name in ("zoo-wide/wide", "hooks/wide-32", "hooks/wide-128"):
        assert name in done.stdout, done.stderr


def test_links_lead_somewhere():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_commands_in_the_documents_exist():
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        text = page.read_text(encoding="utf-8")
        for command in re.findall(r"(?:^\$ |`|bin/)zoo ([a-z]+)", text, re.MULTILINE):
            assert command in COMMANDS, f"{page.name}: zoo {command}"


def test_the_architecture_page_lists_at_most_seven_files_to_read():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    start = page.index("## Read in this order")
    assert 1 <= len(re.findall(r"^\d+\. ", page[start : page.index("## Words")], re.MULTILINE)) <= 7


if __name__ == "__main__":
    old = CLI.read_text(encoding="utf-8")
    new = f"{old[: old.index(START) + len(START)]}\n\n{made_part()}\n{old[old.index(END) :]}"
    CLI.write_text(new, encoding="utf-8", newline="\n")
