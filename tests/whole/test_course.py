"""docs/course.md can be followed literally, with the real FashionMNIST, and shows what is printed.

Run as a script, with ZOO_TEST_DATA set, this writes what the page shows anew.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "course.md"
BLOCKS = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^```text\n.*?^```$", re.DOTALL | re.MULTILINE)
COLD = (
    "zoo show fashionmnist --counts\n",
    "zoo run --model baseline --dataset fashionmnist\n",
    "zoo evaluate @last\n",
    "zoo verify @last\n",
    "zoo report runs/* --output report.html\n",
)
"""One of each kind that is started as users start it."""
PICTURES = ("first", "grid", "compare", "curves", "predictions", "wrong", "confusion")
# What another moment or another version prints instead.
VARIES = {
    r"\d{8}-\d{6}-([a-z-]+?)-fashionmnist(-\d+)?": r"STAMP-\1-fashionmnist",
    r"\d[\d.,]* (s|ms|µs)\b": "TIME",
    r"zoo \d+\.\d+\.\d+": "zoo VERSION",
    r"[ ─-]{2,}": " ",
}


def follow(folder: Path, data: Path, language: str, text: str, python: str) -> str:
    """Run a block in a folder as a person does; return what the terminal shows."""
    path = os.pathsep.join(filter(None, sys.path))
    settings = {"ZOO_DATA_DIR": str(data), "ZOO_OFFLINE": "1", "ZOO_HOME": str(folder / "home"), "PYTHONPATH": path}
    kept = {key: value for key, value in os.environ.items() if not key.startswith("ZOO_")}
    if language == "sh":
        zoo = f'zoo() {{ "{python}" -m zoo "$@"; }}\n'
        command = ["bash", "-euc", zoo + text]
    else:
        command = [python, "-c", text]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**kept, "CUDA_VISIBLE_DEVICES": "", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=1200,
        check=False,
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}"
    return done.stdout


def level(text: str, *, digits: bool) -> list[str]:
    """Return the lines of an output without what varies from run to run; without `digits` those are one as another."""
    for pattern, name in VARIES.items():
        text = re.sub(pattern, name, text)
    if not digits:
        text = re.sub(r"\d", "0", text)
    return [line.strip() for line in text.splitlines()]


def walk(folder: Path, data: Path, warm_python: str = sys.executable) -> list[tuple[str, str, str]]:
    """Follow the page; return each block that was run, what the page shows after it, and what was printed.

    The blocks in COLD are run as users start them, the others by `warm_python`.
    """
    found = BLOCKS.findall(PAGE.read_text(encoding="utf-8"))
    assert [language for language, _ in found[1::2]] == ["text"] * (len(found) // 2) and len(found) % 2 == 0
    walked = []
    for (language, command), (_, shown) in zip(found[::2], found[1::2], strict=True):
        python = sys.executable if command in COLD else warm_python
        walked.append((command, shown, follow(folder, data, language, command, python)))
    return walked


@pytest.fixture(scope="module")
def walked(
    tmp_path_factory: pytest.TempPathFactory, fashionmnist_root: Path, warm_python: str
) -> tuple[Path, list[tuple[str, str, str]]]:
    folder = tmp_path_factory.mktemp("course")
    return folder, walk(folder, fashionmnist_root, warm_python)


def test_every_output_is_what_the_page_shows(walked):
    _, blocks = walked
    trained = False
    for command, shown, printed in blocks:
        trained = trained or "tinyvgg" in command
        # Convolutions round differently on other processors; all else is promised to the last digit.
        exact = not trained or "baseline" in command
        assert level(printed, digits=exact) == level(shown, digits=exact), command


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
        outputs = iter(walk(Path(temporary), Path(os.environ["ZOO_TEST_DATA"])))
        page = PAGE.read_text(encoding="utf-8")
        page = SHOWN.sub(lambda _: f"```text\n{next(outputs)[2]}```", page)
    PAGE.write_text(page, encoding="utf-8", newline="\n")
