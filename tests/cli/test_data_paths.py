"""A path in the place of the name of a data set: what counts as one, from where it is read, and what is recorded."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from pathlib import Path

import pytest
from pictures import draw, make_folder

import zoo
from zoo.cli.main import main

SMALL = ["--input-size", "8x8", "--epochs", "1"]


@pytest.fixture
def photos(own_folder: Path) -> Path:
    make_folder(own_folder / "photos")
    return own_folder / "photos"


def call(capsys: pytest.CaptureFixture[str], *line: str, code: int = 0) -> tuple[str, str]:
    """Return what a command prints to stdout and to stderr."""
    assert main(list(line)) == code
    return capsys.readouterr()


def read_dataset(capsys: pytest.CaptureFixture[str], *line: str) -> dict:
    """Return what the record of a run says of its data."""
    run = json.loads(call(capsys, "run", *SMALL, "--json", *line)[0])["run"]
    return json.loads(Path(run, "run.json").read_text())["dataset"]


def test_a_path_means_the_data_set_that_reads_paths(photos, capsys):
    by_path = read_dataset(capsys, "--dataset", "./photos")
    by_name = read_dataset(capsys, "--dataset", "image-folder", "--dataset-param", "path=photos")
    assert by_path == by_name
    assert (by_path["name"], by_path["params"]["path"]) == ("image-folder", str(photos))
    assert read_dataset(capsys, "--dataset", str(photos), "--dataset-param", "seed=3")["params"]["seed"] == 3
    assert zoo.run(dataset="photos/", epochs=0, input_size=(8, 8)).dataset_params["path"] == str(photos)
    assert len(zoo.load_dataset("./photos").train) == 32
    assert zoo.samples("./photos", count=3).dataset == "image-folder"


def test_what_is_recorded_works_from_anywhere(photos, capsys, tmp_path_factory):
    read_dataset(capsys, "--dataset", "./photos", "--validation", "0.2")
    shown = json.loads(call(capsys, "show", "@last", "--json")[0])
    with contextlib.chdir(tmp_path_factory.mktemp("elsewhere")):
        score = json.loads(call(capsys, "evaluate", "@last", "--json")[0])
        assert (score["dataset"], score["samples"]) == ("image-folder", 8)
        call(capsys, "report", "@last", "--output", "report.html")
        assert "data:image/png" in Path("report.html").read_text()
        call(capsys, "plot", "@last", "--kind", "wrong", "--output", "wrong.png")
        command = next(value for value in _texts(shown) if value.startswith("zoo run"))
        again = json.loads(call(capsys, *shlex.split(command)[1:], "--json")[0])
    assert again["metrics"] == {name: pytest.approx(score["metrics"][name]) for name in again["metrics"]}


def _texts(value: object) -> list[str]:
    if isinstance(value, dict | list):
        return [text for part in (value.values() if isinstance(value, dict) else value) for text in _texts(part)]
    return [value] if isinstance(value, str) else []


def test_another_folder_than_that_of_the_weights(photos, capsys):
    make_folder(photos.parent / "others", 5)
    read_dataset(capsys, "--dataset", "./photos")
    assert json.loads(call(capsys, "evaluate", "@last", "--dataset", "./others", "--json")[0])["samples"] == 4
    tuned = read_dataset(capsys, "--init", "@last", "--dataset", "./others")
    assert tuned["params"]["path"] == str(photos.parent / "others")
    assert json.loads(call(capsys, "evaluate", "@last", "--json")[0])["samples"] == 4


def test_commands_that_name_a_data_set(photos, capsys):
    assert "training samples of 3x8x8" in call(capsys, "check", "--dataset", "./photos", "--input-size", "8x8")[0]
    told = call(capsys, "run", "--dataset", "./photos", "--input-size", "8x8", "--dry-run")[0]
    Path("plan.toml").write_text(told)
    assert read_dataset(capsys, "--config", "plan.toml")["params"]["path"] == str(photos)
    assert "2 owl" not in (counts := call(capsys, "show", "./photos", "--counts")[0]) and "3 owl" in counts
    read_dataset(capsys, "--dataset", "shapes", "--dataset-param", "train_size=50")
    runs = [str(path) for path in Path(os.environ["ZOO_RUNS_DIR"]).iterdir()]
    rows = json.loads(call(capsys, "compare", *runs, "--dataset", "./photos", "--json")[0])
    assert "shapes" not in json.dumps(rows) and "image-folder" in json.dumps(rows)


def test_lists_are_paths_too(photos, capsys):
    rows = [f"photos/{name}/00{number}.png,{name}" for name in ("cat", "dog") for number in range(5)]
    Path("all.csv").write_text("\n".join(["path,label", *rows]))
    assert read_dataset(capsys, "--dataset", "all.csv")["params"]["path"] == str(photos.parent / "all.csv")


def test_a_config_file_has_paths_from_its_own_folder(photos, capsys, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for number, text in enumerate(
        ('dataset = "./photos"', 'dataset = "image-folder"\n[dataset_params]\npath = "photos"')
    ):
        Path(f"run{number}.toml").write_text(text)
        with contextlib.chdir(elsewhere):
            found = read_dataset(capsys, "--config", str(photos.parent / f"run{number}.toml"))
        assert found["params"]["path"] == str(photos)


MANIFEST = """
schema = 1
[datasets.mine]
factory = "zoo_plugins.datasets.image_folder:image_folder"
path_param = "path"
params = { path = "photos", size = 32 }
"""


def test_a_manifest_has_paths_from_its_own_folder(photos, capsys, tmp_path_factory):
    manifest = photos.parent / "registry.toml"
    manifest.write_text(MANIFEST)
    with contextlib.chdir(tmp_path_factory.mktemp("elsewhere")):
        found = read_dataset(capsys, "--plugin", str(manifest), "--dataset", "mine")
        assert (found["name"], found["params"]["path"], found["params"]["size"]) == ("mine", str(photos), 32)
        make_folder(Path("here"), 4)
        given = read_dataset(capsys, "--plugin", str(manifest), "--dataset", "mine", "--dataset-param", "path=here")
        assert given["params"]["path"] == str(Path("here").absolute())
        # A path still means zoo's own.
        assert read_dataset(capsys, "--plugin", str(manifest), "--dataset", "./here")["name"] == "image-folder"
    assert "passed" in call(capsys, "plugin", "test", str(manifest))[0]


def test_a_registered_name_wins(photos, capsys):
    draw(photos.parent / "zoo" / "shapes" / "cat" / "a.png")
    assert read_dataset(capsys, "--dataset", "zoo/shapes", "--dataset-param", "train_size=50")["name"] == "shapes"


REFUSED = {
    ("--dataset", "image-folder"): (2, "pictures of one's own need the path of their folder. Give it in the place of"),
    ("--dataset", "photos"): (2, "no dataset named 'photos'. Did you mean './photos', the folder?"),
    ("--dataset", "./nothing"): (3, "nothing: no such folder"),
    ("--dataset", "nothing.csv"): (3, "nothing.csv: cannot be read: No such file"),
    ("--dataset", "no/such"): (2, "no dataset named 'no/such'"),
    ("--dataset", "https://x.org/photos"): (2, "zoo opens no address"),
    ("--dataset", "./photos", "--dataset-param", "path=x"): (2, "path was given twice, './photos' and 'x'"),
    ("--dataset", "./a.tar", "./b.tar"): (2, "Got unexpected extra argument (./b.tar). Put the pattern into quotes"),
    ("./photos",): (2, "Did you mean 'zoo run --dataset ./photos --input-size 8x8 --epochs 1'?"),
    ("photos",): (2, "Did you mean 'zoo run --dataset ./photos --input-size 8x8 --epochs 1'?"),
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_refused(photos, capsys, line):
    code, words = REFUSED[line]
    assert words in call(capsys, "run", *line, *SMALL, code=code)[1]
