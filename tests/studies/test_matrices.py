"""A matrix: every pair runs or is told why not, in parts and again, and ends in one table and one page."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shlex
import statistics
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from PIL import Image

import zoo
from zoo.cli.main import main
from zoo.records.runs import read_record

PAIR = ("--models", "baseline", "--datasets", "shapes")
PLUGIN = """
import torch, zoo

def make(channels, side):
    generator = torch.Generator().manual_seed(side)
    images = torch.rand(90, channels, side, side, generator=generator)
    targets = torch.arange(90) % 3
    images += targets.view(-1, 1, 1, 1) / 6
    images = (images * 190).to(torch.uint8)
    train, test = (images[:60], targets[:60]), (images[60:], targets[60:])
    return zoo.DataSplits(train=train, test=test, class_names=["one", "two", "three"])

@zoo.dataset(name="grey", input_shape=(1, 8, 8), num_classes=3, samples={"train": 60, "test": 30})
def grey(*, root):
    return make(1, 8)

@zoo.dataset(name="coloured", input_shape=(3, 12, 12), num_classes=3, samples={"train": 60, "test": 30})
def coloured(*, root):
    return make(3, 12)

@zoo.dataset(name="silent")
def silent(*, root):
    return make(2, 8)

@zoo.model(name="linear")
def linear(*, input_shape, num_classes, bias=True):
    size = torch.Size(input_shape).numel()
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(size, num_classes, bias=bias))

@zoo.model(name="choosy", input_shape=(1, 8, 8))
def choosy(*, input_shape, num_classes):
    return linear(input_shape=input_shape, num_classes=num_classes)

@zoo.model(name="fragile")
def fragile(*, input_shape, num_classes):
    if input_shape[0] == 3:
        raise ValueError("no colours")
    return linear(input_shape=input_shape, num_classes=num_classes)
"""


@pytest.fixture
def plugin(own_folder: Path) -> Path:
    path = own_folder / "pictures.py"
    path.write_text(PLUGIN)
    return path


def ask(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    capsys.readouterr()
    assert main(["matrix", *arguments, "--json"]) == code
    printed = capsys.readouterr()
    return json.loads(printed.out) if not code else json.loads(printed.err.splitlines()[-1])["error"]


@pytest.mark.slow
def test_three_models_on_three_data_sets_with_three_seeds_are_one_page(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = plugin.with_name("study.toml")
    config.write_text(
        "models = ['linear', 'baseline', 'relu-mlp']\ndatasets = ['grey', 'coloured', 'shapes']\nseeds = 3\n"
        "plugins = ['pictures.py']\n[train]\nepochs = 2\nbatch_size = 16\n[dataset_params.shapes]\ntrain_size = 60\n"
        "test_size = 30\n[params.baseline]\nhidden_units = 4\n"
    )
    found = ask(capsys, "--study", str(config), "--output", "all")
    assert len(found["cells"]) == 27 and {cell["status"] for cell in found["cells"]} == {"finished"}
    # All pairs have their first seed before any has its second.
    assert [cell["seed"] for cell in found["cells"]] == [42] * 9 + [43] * 9 + [44] * 9
    for cell in found["cells"]:
        record = read_record(Path(cell["run"], "run.json"))
        assert (record.seed, record.metrics) == (cell["seed"], cell["metrics"])
        assert record.params.get("hidden_units") == {"baseline": 4, "relu-mlp": 10}.get(cell["model"])
    with Path(found["table"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["accuracy"]) for row in rows] == [cell["metrics"]["accuracy"] for cell in found["cells"]]
    page = Path(found["page"]).read_text(encoding="utf-8")
    assert "<title>3 models, 3 data sets, 3 seeds</title>" in page and "mean over the seeds" in page
    assert all(name in page for name in ("linear", "baseline", "relu-mlp", "coloured", "shapes")) and "<script" in page
    # In words, and without a single training: the mean and the deviation of three seeds.
    assert main(["matrix", "--study", str(config), "--output", "all"]) == 0
    said = capsys.readouterr()
    scores = [cell["metrics"]["accuracy"] for cell in found["cells"] if cell["name"].startswith("baseline-shapes")]
    assert f"{statistics.fmean(scores):.4f} ± {statistics.stdev(scores):.4f}" in said.out
    assert f'<td class="n">{statistics.fmean(scores):.4f} ± {statistics.stdev(scores):.4f}</td>' in page
    assert "report: all/report.html" in said.out and "seed 4" not in said.err


@pytest.mark.slow
def test_a_pair_that_does_not_fit_is_told_and_more_can_be_asked_for(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--plugin", str(plugin), "--epochs", "1", "--output", "some"]
    found = ask(capsys, *words, "--models", "linear,choosy", "--datasets", "grey,silent")
    statuses = {(cell["model"], cell["dataset"]): cell["status"] for cell in found["cells"]}
    assert statuses == {
        ("pictures/linear", "pictures/grey"): "finished",
        ("pictures/linear", "pictures/silent"): "finished",
        ("pictures/choosy", "pictures/grey"): "finished",
        ("pictures/choosy", "pictures/silent"): "unfit",
    }
    why = found["cells"][3]["why"]
    assert "model 'choosy' does not fit dataset 'silent'" in why  # it says so when it is loaded, before a step
    assert not read_record(Path(found["cells"][3]["run"], "run.json")).history
    # What the declared shapes tell is known before anything is loaded, and has no run.
    first = Path("some/pictures-linear-pictures-grey-seed42/weights.safetensors").stat().st_mtime_ns
    capsys.readouterr()
    more = ["--models", "linear,choosy", "--datasets", "grey,fashionmnist", "--seeds", "2", "--dry-run"]
    planned = ask(capsys, *words, *more)
    todo = [
        cell["seed"] for cell in planned["cells"] if cell["status"] == "waiting" and cell["dataset"].endswith("grey")
    ]
    assert todo == [43, 43] and not Path("some/pictures-linear-pictures-grey-seed43").exists()
    assert all(cell["seconds"] > 0 for cell in planned["cells"] if cell["dataset"].endswith("grey"))
    assert main(["matrix", *words, "--models", "linear,choosy", "--datasets", "grey", "--seeds", "2"]) == 0
    said = capsys.readouterr()
    assert re.findall(r"^pictures/(\w+) on pictures/grey, seed (\d+): accuracy", said.err, re.M) == [
        ("linear", "43"),
        ("choosy", "43"),
    ]
    assert Path("some/pictures-linear-pictures-grey-seed42/weights.safetensors").stat().st_mtime_ns == first
    # A part of it plans its own cells alone.
    part = ["--models", "linear,choosy", "--datasets", "grey", "--seeds", "3", "--dry-run", "--part", "1/2"]
    assert [cell["name"] for cell in ask(capsys, *words, *part)["cells"] if cell["status"] == "waiting"] == [
        "pictures-linear-pictures-grey-seed44"
    ]
    # Other settings are another matrix, and so are scores that the finished cells lack.
    assert main(["matrix", *words, "--models", "linear", "--datasets", "grey", "--metric", "f1-macro"]) == 2
    assert "metric f1-macro differs" in capsys.readouterr().err
    assert main(["matrix", *words, "--models", "linear", "--datasets", "grey", "--lr", "0.01"]) == 2
    assert "train.lr differs (0.1 -> 0.01). Ask for the same, or choose another folder with --output" in (
        capsys.readouterr().err
    )


def test_a_cell_that_fails_is_told_and_the_exit_code_is_that_of_its_error(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["matrix", "--plugin", str(plugin), "--models", "fragile,linear", "--datasets", "coloured,grey"]
    words += ["--epochs", "1", "--output", "frail"]
    assert main(words) == 5
    said = capsys.readouterr()
    why = "plugin 'pictures': model 'fragile' cannot be built: ValueError: no colours"
    assert f"pictures/fragile on pictures/coloured: failed: {why}" in said.out and "report: " in said.out
    first = "the first one, pictures/fragile on pictures/coloured with seed 42"
    assert said.err.splitlines()[-1].startswith(f"Error: 1 of 4 cells failed: {first}: {why}")
    assert main([*words, "--part", "2/2"]) == 0  # what failed is of the other part


def test_parts_cover_the_matrix_and_slurm_says_which(
    plugin: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "--plugin",
        str(plugin),
        "--epochs",
        "1",
        "--models",
        "linear,baseline",
        "--datasets",
        "grey",
        "--seeds",
        "2",
    ]
    done: list[set[str]] = []
    for task in ("5", "6", "7"):
        for name, value in (("ID", task), ("COUNT", "3"), ("MIN", "5")):
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
        found = ask(capsys, *words, "--output", "parts")
        assert found["part"] == [int(task) - 4, 3]
        now = {cell["name"] for cell in found["cells"] if cell["status"] == "finished"}
        done.append(now - set().union(*done))
        assert bool(found["page"]) == (task == "7")  # the last one to end writes it
    assert [len(each) for each in done] == [2, 1, 1] and len(set().union(*done)) == 4
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "9")
    assert "has no place in it" in ask(capsys, *words, code=2)["what"]
    assert ask(capsys, *words, "--output", "parts", "--part", "1/1")["part"] == [1, 1]
    for wrong in ("0/2", "3/2", "2", "a/b"):
        assert "expected a part and their number" in ask(capsys, *words, "--part", wrong, code=2)["what"]


def test_a_recipe_is_followed_by_all_and_its_params_by_its_own(
    plugin: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin.with_name("registry.toml").write_text(
        "schema = 2\n[recipes.short]\nmodel = 'baseline'\ndataset = 'shapes'\n"
        "[recipes.short.params]\nhidden_units = 3\n[recipes.short.dataset_params]\ntrain_size = 60\ntest_size = 30\n"
        "[recipes.short.train]\nepochs = 1\noptimizer = 'adam'\nlr = 0.02\n"
    )
    words = ["--plugin", "registry.toml", "--plugin", str(plugin), "--recipe", "short", "--datasets", "shapes,grey"]
    found = ask(capsys, *words, "--models", "baseline,relu-mlp", "--output", "followed", "--batch-size", "20")
    for cell in found["cells"]:
        record = read_record(Path(cell["run"], "run.json"))
        told = record.train_config
        assert (told["epochs"], told["optimizer"], told["lr"], told["batch_size"]) == (1, "adam", 0.02, 20)
        assert record.params["hidden_units"] == (3 if cell["model"] == "baseline" else 10)
        assert record.dataset is not None and record.dataset.samples["train"] == 60
    # A finished cell of other data is another one.
    with pytest.raises(zoo.UsageError, match=r"dataset_params.train_size differs \(60 -> 80\)"):
        more = {"plugins": ["registry.toml"], "output": "followed", "batch_size": 20}
        zoo.matrix(["baseline"], ["shapes"], recipe="short", dataset_params={"shapes": {"train_size": 80}}, **more)
    # As in a run, the rate of a recipe belongs to its optimizer.
    other = ask(capsys, *words, "--models", "baseline", "--output", "other", "--optimizer", "sgd")
    assert read_record(Path(other["cells"][0]["run"], "run.json")).train_config["lr"] == 0.1


def test_a_folder_of_pictures_is_a_data_set_of_a_matrix(own_folder: Path) -> None:
    for split, label, number in itertools.product(("train", "test"), ("dark", "light"), range(4)):
        path = Path("photos", split, label, f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        shade = 30 + number + 100 * (split == "test") // 9 + 180 * (label == "light")
        Image.new("L", (8, 8), shade).save(path)
    (cell,) = zoo.matrix(["baseline"], ["./photos"], epochs=1, batch_size=2, output="paths").cells
    assert (cell.dataset, cell.status) == ("./photos", "finished") and cell.run is not None
    data = read_record(cell.run / "run.json").dataset
    assert data is not None and str(Path("photos").absolute()) in (data.params or {}).values()


def test_what_is_wrong_with_a_matrix_is_told_before_it_begins(plugin: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {
        ("--datasets", "shapes"): "a matrix of no models. Name some, --models baseline say",
        ("--models", "baseline", "--datasets", "shapse"): "Did you mean 'shapes'?",
        (*PAIR, "--lr", "-1"): "lr: must be above 0",
        (*PAIR, "--seeds", "0"): "seeds: must be a whole number of at least 1",
        (*PAIR, "--jobs", "none"): "--jobs: expected a whole number",
        (*PAIR, "--recipe", "x"): "no recipe named 'x'",
        ("--study", "none.toml"): "cannot be read",
        (*PAIR, "--processes", "2"): "each training of it is one process, and processes=2 were asked for",
        (*PAIR, "--param", "hidden_units=4"): "--param: expected MODEL.NAME=VALUE",
        (*PAIR, "--param", "tinyvgg.hidden_units=4"): "params of 'tinyvgg': that model is not part of this matrix",
        (*PAIR, "--class-weights", "1,2"): "baseline on shapes: class_weights: must be 10 numbers",
    }
    for words, said in wrong.items():
        assert main(["matrix", *words, "--output", "wrong"]) == 2, words
        assert said in capsys.readouterr().err, words
    texts = {
        "model = 'a'": "no key 'model'. Did you mean 'models'?",
        "models = 'a'": "expected a list of texts",
        "[train]\nlrr = 1": "study wrong.toml: training has no setting 'lrr'. Did you mean 'lr'?",
        "models = ['baseline']\ndatasets = ['shapes']\n[params.baselin]\nx = 1": "no model named 'baselin'",
        "models = ['baseline']\ndatasets = ['shapes']\n[params.tinyvgg]\nx = 1": "is not part of this matrix",
    }
    for text, said in texts.items():
        Path("wrong.toml").write_text(text)
        assert main(["matrix", "--study", "wrong.toml", "--output", "wrong"]) == 2
        assert said in capsys.readouterr().err
    assert not Path("wrong").exists()
    with pytest.raises(zoo.UsageError, match="a matrix of no datasets"):
        zoo.matrix(["baseline"])
    # Two cells with one folder would be taken for each other.
    names = "a", "a-x-b", "c", "b-x-c"
    Path("x.py").write_text(
        PLUGIN.replace('"linear"', '"a"')
        .replace('"choosy", input_shape=(1, 8, 8)', '"a-x-b"')
        .replace('"grey"', '"c"')
        .replace('"coloured"', '"b-x-c"')
    )
    with pytest.raises(
        zoo.UsageError, match="x/a-x-b on x/c and x/a on x/b-x-c would have the same folder, x-a-x-b-x-c"
    ):
        zoo.matrix(names[:2], names[2:], plugins=["x.py"], output="wrong")


@pytest.mark.slow
@pytest.mark.usefixtures("warm_children")
def test_the_guide_shows_what_works(
    own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOO_RUNS_DIR", "runs")
    page = (ROOT / "docs" / "guide" / "scale.md").read_text(encoding="utf-8")
    section = page[page.index("## A matrix") :]
    section = section[: section.find("\n## ", 5)] if "\n## " in section[5:] else section
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```$", section, re.M | re.S) for line in block.splitlines()]
    plan, train, array = lines
    for line in (plan, train):
        assert main([*shlex.split(line)[1:], "--epochs", "1", "--seeds", "1"]) == 0
    assert re.search(r"^about .+ one after the other", capsys.readouterr().out, re.M)
    config = re.search(r"^```toml\n(.*?)^```$", section, re.M | re.S)
    assert config is not None
    Path("study.toml").write_text(config[1].replace("2000", "60").replace("seeds = 3", "seeds = 1"))
    words = shlex.split(shlex.split(array)[-1])
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "1")
    assert main([word.replace("/shared/", "") for word in words[1:]]) == 0
    record = read_record(Path("study/baseline-shapes-seed42/run.json"))
    assert record.params["hidden_units"] == 32 and record.train_config["epochs"] == 3
    assert zoo.matrix(["baseline", "relu-mlp"], ["shapes"], epochs=1).page == Path("runs/matrix/report.html").absolute()
