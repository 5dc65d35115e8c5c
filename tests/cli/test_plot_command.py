"""`zoo plot`: pictures of real runs and weights, through the command line and `zoo.plot`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo.cli.main import main
from zoo.results.plots.style import render_figure

pytestmark = pytest.mark.usefixtures("own_folder")

SIZES = {"train_size": 64, "test_size": 40}
BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "matplotlib":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
from zoo.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
PLUGIN = """
import torch

import zoo


@zoo.dataset(name="hostile", description="Classes with names that mean something elsewhere.")
def hostile(*, root):
    split = torch.arange(48, dtype=torch.uint8).reshape(12, 1, 2, 2), torch.arange(12) % 3
    return zoo.DataSplits(train=split, test=split, class_names=("$x^{$", "<b>&", "a\\nb\\x07"))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[zoo.RunResult]:
    """Return two runs of few samples: they make many mistakes."""
    folder = tmp_path_factory.mktemp("runs")
    return [zoo.run(model=model, dataset_params=SIZES, epochs=2, runs_dir=folder) for model in ("baseline", "relu-mlp")]


def read_svg(path: str) -> list[str]:
    return re.findall(r"<text[^>]*>([^<]*)</text>", Path(path).read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["curves", "schedule", "confusion", "predictions", "wrong"])
def test_each_kind_is_written_and_equals_python(
    runs: list[zoo.RunResult], capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    options = ["--grid", "2x3", "--seed", "7"]
    assert main(["plot", str(runs[0].run), "--kind", kind, "--output", "picture.svg", *options]) == 0
    assert capsys.readouterr().out == "picture: picture.svg\n"
    figure = zoo.plot(runs[0].run, kind, grid=(2, 3), seed=7)
    assert Path("picture.svg").read_bytes() == render_figure(figure, "svg")
    assert main(["plot", str(runs[0].weights), "--kind", kind, "--output", "picture.png", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"kind": kind, "output": "picture.png"}
    assert Path("picture.png").read_bytes().startswith(b"\x89PNG")


def test_curves_are_those_of_the_runs(runs: list[zoo.RunResult]) -> None:
    figure = zoo.plot([run.run for run in runs], "curves")
    for axes, name in zip(figure.axes, ("loss", "accuracy"), strict=True):
        solid = [list(line.get_ydata()) for line in axes.lines if line.get_linestyle() == "-"]
        assert solid == [[epoch["test"][name] for epoch in run.history] for run in runs]
    arguments = [str(run.run) for run in runs]
    assert main(["plot", *arguments, "--kind", "curves", "--output", "both.svg"]) == 0
    assert {"baseline@shapes", "relu-mlp@shapes", "train", "test", "epoch"} <= set(read_svg("both.svg"))


def test_the_matrix_is_that_of_the_predictions(runs: list[zoo.RunResult]) -> None:
    (result,) = zoo.read_results([runs[0].run])
    assert result.outcomes is not None
    assert main(["plot", str(runs[0].run), "--kind", "confusion", "--output", "matrix.svg"]) == 0
    texts = read_svg("matrix.svg")
    matrix = result.outcomes.matrix
    counts = sorted(int(text) for text in texts if text.isdecimal())
    assert counts == sorted(int(count) for count in matrix.flatten() if count)
    right = int(matrix.diagonal().sum())
    assert f"baseline on shapes, test: {right} of 40 right ({right / 40:.2%})" in texts
    assert all(texts.count(name) == 2 for name in result.outcomes.class_names)


def test_the_seed_chooses_the_predictions(runs: list[zoo.RunResult]) -> None:
    def titles(seed: int) -> list[str]:
        return [axes.get_title() for axes in zoo.plot(runs[0].run, "predictions", seed=seed).axes]

    assert len(titles(1)) == 9 and titles(1) == titles(1) != titles(2)
    (result,) = zoo.read_results([runs[0].run])
    assert result.outcomes is not None
    everything = [axes.get_title() for axes in zoo.plot(runs[0].run, "predictions", grid=(5, 10)).axes]
    right = int(result.outcomes.correct.sum())
    assert [title[0] for title in everything].count("✓") == right and len(everything) == 40


def test_a_prediction_lies_over_its_own_image(runs: list[zoo.RunResult]) -> None:
    (result,) = zoo.read_results([runs[0].run])
    assert result.outcomes is not None
    figure = zoo.plot(runs[0].run, "wrong", grid=(1, 4))
    indices = zoo.find_wrong(result.outcomes, 4)
    images = zoo.read_samples(result, indices)
    for axes, index, image in zip(figure.axes, indices, images, strict=True):
        name = result.outcomes.class_names[int(result.outcomes.targets[index])]
        assert f"truth {name} {float(result.outcomes.target_probabilities[index]):.3f}" in axes.get_title()
        assert (axes.images[0].get_array() * 255).round().astype(int).tolist() == image[0].tolist()


def test_names_of_a_plugin_are_text(tmp_path: Path) -> None:
    plugin = tmp_path / "hostile.py"
    plugin.write_text(PLUGIN, encoding="utf-8")
    run = zoo.run(dataset="hostile", epochs=0, plugins=[plugin])
    for kind in ("confusion", "predictions", "wrong"):
        arguments = ["plot", str(run.run), "--plugin", str(plugin), "--kind", kind, "--output", f"{kind}.svg"]
        assert main(arguments) == 0
    texts = read_svg("confusion.svg")
    assert all(texts.count(name) == 2 for name in ("$x^{$", "&lt;b&gt;&amp;", r"a b\x07"))
    assert any("truth $x^{$" in text for text in read_svg("wrong.svg"))


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        ("--kind curve --output a.png", 2, "no kind of picture named 'curve'. Did you mean 'curves'?"),
        ("--kind pie --output a.png", 2, "Use one of: curves, schedule, confusion, predictions, wrong"),
        ("--kind curves --output a.jpg", 2, "expected the name of a .png, .svg or .pdf file, got 'a.jpg'"),
        ("--kind wrong --output a.png --grid 3x", 2, "--grid: expected ROWSxCOLUMNS, as 3x3, got '3x'"),
        ("--kind wrong --output a.png --grid 0x3", 2, "grid: expected 1 to 400 cells"),
        ("--kind confusion --output nowhere/a.png", 7, "cannot save the picture to nowhere/a.png"),
        ("--output a.png", 2, "--kind"),
        ("--kind curves", 2, "--output"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(
    runs: list[zoo.RunResult], capsys: pytest.CaptureFixture[str], options: str, code: int, line: str
) -> None:
    assert main(["plot", str(runs[0].run), *options.split()]) == code
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1 and line in err
    assert list(Path().iterdir()) == []


def test_what_cannot_be_drawn_is_said(
    runs: list[zoo.RunResult], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    both = [str(run.run) for run in runs]
    assert main(["plot", *both, "--kind", "confusion", "--output", "a.png"]) == 2
    assert "confusion: expected one reference, got 2" in capsys.readouterr().err
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(runs[0].weights.read_bytes())
    assert main(["plot", str(alone), "--kind", "curves", "--output", "a.png"]) == 2
    assert "no curves of baseline@shapes: it is weights alone" in capsys.readouterr().err
    assert main(["plot", "nothing.safetensors", "--kind", "curves", "--output", "a.png"]) == 4
    assert not Path("a.png").exists()
    # But what they predict can be found out.
    assert main(["plot", str(alone), "--kind", "confusion", "--output", "alone.svg"]) == 0
    assert main(["plot", both[0], "--kind", "confusion", "--output", "run.svg"]) == 0
    assert Path("alone.svg").read_bytes() == Path("run.svg").read_bytes()


def test_a_model_without_mistakes_has_none_to_show(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    plugin = tmp_path / "easy.py"
    plugin.write_text(
        "import torch\nimport zoo\n\n@zoo.dataset(name='easy')\ndef easy(*, root):\n"
        "    targets = torch.arange(64) % 2\n"
        "    split = targets.view(-1, 1, 1, 1).expand(-1, 1, 2, 2).to(torch.uint8) * 255, targets\n"
        "    return zoo.DataSplits(train=split, test=split, class_names=('black', 'white'))\n",
        encoding="utf-8",
    )
    run = zoo.run(dataset="easy", epochs=20, plugins=[plugin])
    assert run.metrics["accuracy"] == 1
    arguments = ["plot", str(run.run), "--plugin", str(plugin), "--output", "a.png", "--kind"]
    assert main([*arguments, "wrong"]) == 2
    assert "has no mistakes to show: all 64 are right" in capsys.readouterr().err
    assert main([*arguments, "predictions"]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("command", ["plot", "samples"])
def test_without_matplotlib_it_says_what_to_install(runs: list[zoo.RunResult], command: str, warm_python: str) -> None:
    arguments = {"plot": ["plot", str(runs[0].run), "--kind", "confusion"], "samples": ["samples", "shapes"]}[command]
    done = subprocess.run(
        [warm_python, "-c", BLOCKED, *arguments, "--output", "a.png"],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        "Error: pictures need matplotlib: ModuleNotFoundError: No module named 'matplotlib'. "
        "Install it: pip install 'zoo-torch[plots]'\n"
    )
    assert list(Path().iterdir()) == []


@pytest.mark.slow
def test_without_matplotlib_samples_are_listed_and_images_predicted(
    runs: list[zoo.RunResult], warm_python: str
) -> None:
    from PIL import Image

    Image.new("L", (28, 28)).save("shoe.png")
    for arguments in (
        ["samples", "shapes", "--grid", "1x1"],
        ["predict", str(runs[0].run), "shoe.png", "--output=g.png"],
    ):
        done = subprocess.run(
            [warm_python, "-c", BLOCKED, *arguments], capture_output=True, text=True, check=False, timeout=600
        )
        assert done.returncode == 0, done.stderr
    assert Path("g.png").exists()


def test_help_and_listings_import_neither_torch_nor_matplotlib() -> None:
    code = (
        "import sys\nfrom zoo.cli.main import main\n"
        "for words in (['plot', '--help'], ['samples', '--help'], ['list']):\n    main(words)\n"
        "print(sorted({'torch', 'matplotlib', 'numpy'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.splitlines()[-1] == "[]"


def test_real_clothes_are_confused_as_the_weights_do(fashionmnist_root: Path) -> None:
    arguments = ["plot", "baseline@fashionmnist", "--data-dir", str(fashionmnist_root), "--offline"]
    assert main([*arguments, "--kind", "confusion", "--output", "matrix.svg"]) == 0
    texts = read_svg("matrix.svg")
    (result,) = zoo.read_results(["baseline@fashionmnist"], data_dir=fashionmnist_root, offline=True)
    assert result.outcomes is not None
    right = int(result.outcomes.correct.sum())
    assert f"baseline on fashionmnist, test: {right} of 10000 right ({right / 10000:.2%})" in texts
    # Shirts and T-shirts are what every model of this data takes for each other.
    assert any(
        re.fullmatch(r"\d+ times (Shirt was taken for T-shirt/top|T-shirt/top .* Shirt)", text) for text in texts
    )
