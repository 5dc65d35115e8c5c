"""Each command of "Data larger than a machine" in docs/guide/scale.md works, on fewer samples and for one epoch."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from conftest import ROOT

from zoo.cli.main import main

PAGE = (ROOT / "docs" / "guide" / "scale.md").read_text(encoding="utf-8")
SECTION = PAGE[PAGE.index("## Data larger than a machine") :].split("\n## ")[0]
SHORTER = {
    "data": ["--dataset-param", "train_size=200", "--dataset-param", "test_size=60"],
    "run": ["--epochs", "1"],
}


@pytest.mark.slow
def test_each_command_of_the_section_runs(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZOO_RUNS_DIR", "runs")
    (code,) = re.findall(r"^```python\n# (\S+)\n(.*?)^```$", SECTION, re.M | re.S)
    Path(code[0]).write_text(code[1].replace("2000", "200").replace("400", "40"), encoding="utf-8")
    blocks = re.findall(r"^```sh\n(.*?)^```$", SECTION, re.M | re.S)
    commands = [line for block in blocks for line in block.splitlines()]
    assert len(commands) == 7
    for command in commands:
        words = shlex.split(command)[1:]
        more = [] if words[:2] == ["data", "verify"] else SHORTER.get(words[0], [])
        assert main([*words, *more]) == 0, command
    assert sorted(path.name for path in Path("shards").iterdir()) == [
        *("shards.json", "test-000000.tar", "test.index.npy", "train-000000.tar", "train.index.npy")
    ]
