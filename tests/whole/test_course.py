"""docs/course.md can be followed literally, with the real FashionMNIST, and shows what is printed.

Run as a script, with ZOO_TEST_DATA set, this writes what the page shows anew.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

import zoo

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "course.md"
BLOCKS = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^```text\n.*?^```$", re.DOTALL | re.MULTILINE)
COLD = (
    "zoo show fashionmnist --counts\n",
    "zoo run --model baseline --dataset fashionmnist --course-style\n",
    "zoo evaluate @last --course-style\n",
    "zoo verify @last\n",
    "zoo report runs/* --output report.html\n",
)
"""One of each kind that is started as users start it."""
PICTURES = (
    "first",
    "grid",
    "grid-by-hand",
    "grid-call",
    "confusion-call",
    "compare",
    "curves",
    "predictions",
    "wrong",
    "confusion",
)
# What another moment or another version prints instead.
VARIES = {
    r"\d{8}-\d{6}-([a-z-]+?)-fashionmnist(-\d+)?": r"STAMP-\1-fashionmnist",
    r"\d[\d.,]* (s|ms|µs)\b": "TIME",
    r"zoo \d+\.\d+\.\d+": "zoo VERSION",
    r"[ ─-]{2,}": " ",
}


SESSION = """
import contextlib, io, json, sys, traceback
names = {"__name__": "__main__"}
answers = sys.stdout
for line in sys.stdin:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(json.loads(line), "page", "exec"), names)
        except BaseException:
            traceback.print_exc()
            answers.write(json.dumps(["failed", printed.getvalue()]) + "\\n")
            sys.exit(1)
    answers.write(json.dumps(["done", printed.getvalue()]) + "\\n")
    answers.flush()
"""
"""A Python that runs the blocks it is sent one after the other, as one program."""


class Follower:
    """Somebody who follows the page in a folder: shell blocks as a person types them, Python blocks as one program."""

    def __init__(self, folder: Path, data: Path, unpacked: Path) -> None:
        path = os.pathsep.join(filter(None, sys.path))
        settings = {"ZOO_DATA_DIR": str(data), "ZOO_OFFLINE": "1", "ZOO_HOME": str(folder / "home"), "PYTHONPATH": path}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ZOO_")}
        self.options = {
            "cwd": folder,
            "env": {**kept, "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "agg", **settings},
            "text": True,
            "encoding": "utf-8",
        }
        # What torchvision would download into the folder `data`.
        (folder / "data").symlink_to(unpacked)
        command = [sys.executable, "-c", SESSION]
        # One thread, as zoo chooses for such small steps: where a neighbour is busy, two wait for each other.
        options = {**self.options, "env": {**self.options["env"], "OMP_NUM_THREADS": "1"}}
        self.session = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

    def follow(self, language: str, text: str, python: str) -> str:
        """Run a block; return what the terminal shows."""
        if language == "python":
            assert self.session.stdin and self.session.stdout
            self.session.stdin.write(f"{json.dumps(text)}\n")
            self.session.stdin.flush()
            state, printed = json.loads(self.session.stdout.readline())
            assert state == "done", text
            return str(printed)
        zoo = f'zoo() {{ "{python}" -m zoo "$@"; }}\n'
        done = subprocess.run(
            ["bash", "-euc", zoo + text],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=1200,
            check=False,
            **self.options,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout

    def close(self) -> None:
        """End the program."""
        self.session.communicate(timeout=600)


def level(text: str, *, digits: bool) -> list[str]:
    """Return the lines of an output without what varies from run to run; without `digits` those are one as another."""
    for pattern, name in VARIES.items():
        text = re.sub(pattern, name, text)
    if not digits:
        text = re.sub(r"\d", "0", text)
    return [line.strip() for line in text.splitlines()]


def read_blocks() -> list[tuple[str, str, str | None]]:
    """Return the language and the text of each block that is run, and what the page shows of its output."""
    found = BLOCKS.findall(PAGE.read_text(encoding="utf-8"))
    shown = [text if language == "text" else None for language, text in found[1:]] + [None]
    return [(*block, after) for block, after in zip(found, shown, strict=True) if block[0] != "text"]


def walk(folder: Path, data: Path, unpacked: Path, warm_python: str = sys.executable) -> list[tuple[str, str, str]]:
    """Follow the page; return each block that was run, what the page shows after it, and what was printed.

    The shell blocks in COLD are run as users start them, the others by `warm_python`.
    """
    follower, walked = Follower(folder, data, unpacked), []
    try:
        for language, text, shown in read_blocks():
            printed = follower.follow(language, text, sys.executable if text in COLD else warm_python)
            walked.append((text, shown or "", printed))
    finally:
        follower.close()
    return walked


@pytest.fixture(scope="module")
def walked(
    tmp_path_factory: pytest.TempPathFactory, fashionmnist_root: Path, unpacked_fashionmnist: Path, warm_python: str
) -> tuple[Path, list[tuple[str, str, str]]]:
    folder = tmp_path_factory.mktemp("course")
    return folder, walk(folder, fashionmnist_root, unpacked_fashionmnist, warm_python)


def test_every_output_is_what_the_page_shows(walked):
    _, blocks = walked
    assert len(blocks) == len(read_blocks()) > 30
    for command, shown, printed in blocks:
        # Convolutions round differently on other processors; all else is promised to the last digit.
        exact = not re.search(r"tinyvgg|compare runs|zoo.compare|verify @last", command) or "--layers" in command
        assert level(printed, digits=exact) == level(shown, digits=exact), command


def test_by_hand_by_command_and_by_call_give_the_same_digits(walked):
    _, blocks = walked
    printed = {command: text for command, _, text in blocks}
    by_hand = next(text for command, text in printed.items() if "train(baseline.to(device)" in command)
    by_command = printed["zoo run --model baseline --dataset fashionmnist --course-style\n"]
    by_call = next(
        text for command, text in printed.items() if 'zoo.run("baseline", "fashionmnist", epochs=3' in command
    )
    numbers = [re.findall(r"\d\.\d{5}|\d\d\.\d\d(?= %)", text) for text in (by_hand, by_command, by_call)]
    expected = ["0.59039", "0.50954", "82.04", "0.47633", "0.47989", "83.20", "0.45503", "0.47664", "83.43"]
    assert numbers[0] == expected and numbers[1][:9] == expected
    assert numbers[2] == expected * 2  # by zoo.run, and by the loop over zoo's model and batches
    for command, text in printed.items():
        if "torch.equal" in command or "isclose" in command:
            assert "True" in text and "False" not in text, command


def test_the_table_of_the_chapter_says_what_was_printed(walked):
    _, blocks = walked
    printed = " ".join(text for _, _, text in blocks)
    rows = re.findall(r"^\| \[.*?\]\(#(.*?)\) \| (.*?) \| (.*?) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    headings = re.findall(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), re.M)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert len(rows) == 13
    for anchor, command, call, digits in rows:
        assert anchor in anchors
        assert re.fullmatch(r"`zoo ([a-z]+) .*`|`zoo run.*`", command), command
        assert hasattr(zoo, re.match(r"`zoo\.([a-z_]+)\(", call)[1]), call
        for digit in re.findall(r"`(.*?)`", digits):
            assert digit in printed, digit


def test_the_numbers_of_the_chapter_are_there(walked):
    _, blocks = walked
    printed = {command.splitlines()[0]: text for command, _, text in blocks}
    assert "train: 1875 batches of 32, inputs [32, 1, 28, 28]" in printed["zoo show fashionmnist --counts"]
    compared = printed["zoo compare runs/* --course-style --output compare.png"]
    for text in ("8,341", "83.41 %", "83.43 %", "8,398", "83.98 %", "one seed each says nothing about the models"):
        assert text in compared, text
    accuracy = float(re.search(r"tinyvgg@fashionmnist +42 .*? ([\d.]+) %", compared)[1])
    assert 84 < accuracy < 88
    over_seeds = printed["zoo run --model baseline --dataset fashionmnist --seeds 3 --runs-dir seeds"]
    assert "relu-mlp@fashionmnist and baseline@fashionmnist cannot be told apart" in over_seeds
    confused = printed["zoo evaluate runs/*-baseline-* --per-class"]
    assert "183 of 1000 Shirt were taken for T-shirt/top" in confused


def test_every_picture_of_the_chapter_is_there(walked):
    folder, _ = walked
    for name in PICTURES:
        with Image.open(folder / f"{name}.png") as picture:
            assert min(picture.size) > 150 and picture.convert("L").getextrema()[0] < 128
    assert {path.stem for path in folder.glob("*.png")} == set(PICTURES)
    assert "Ankle boot" in (folder / "report.html").read_text(encoding="utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        folder, data = Path(temporary, "walk"), Path(os.environ["ZOO_TEST_DATA"])
        raw = Path(temporary, "unpacked", "FashionMNIST", "raw")
        folder.mkdir()
        raw.mkdir(parents=True)
        for packed in (data / "FashionMNIST" / "raw").glob("*.gz"):
            (raw / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
        walked_now = walk(folder, data, raw.parents[1])
    outputs = iter(
        [output for (_, _, shown), (_, _, output) in zip(read_blocks(), walked_now, strict=True) if shown is not None]
    )
    page = SHOWN.sub(lambda _: f"```text\n{next(outputs)}```", PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page, encoding="utf-8", newline="\n")
