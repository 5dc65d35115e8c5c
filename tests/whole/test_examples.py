"""The example of a plugin of one's own, installed as a stranger installs it: its answers to real photographs."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import skimage
import sklearn
from conftest import ROOT, Environment
from PIL import Image

pytestmark = pytest.mark.slow

SCIKIT_IMAGE = Path(skimage.__file__).parent / "data"
SCIKIT_LEARN = Path(sklearn.__file__).parent / "datasets" / "images"
SHOWN = {
    SCIKIT_IMAGE / "chelsea.png": "Egyptian cat",
    SCIKIT_IMAGE / "coffee.png": "espresso",
    SCIKIT_IMAGE / "camera.png": "tripod",
    SCIKIT_IMAGE / "rocket.jpg": "missile",
    SCIKIT_IMAGE / "motorcycle_left.png": "moped",
    SCIKIT_LEARN / "china.jpg": "palace",
    SCIKIT_LEARN / "flower.jpg": "daisy",
}
# Photographs whose left half gives patches to train on, and whose right half those to be told.
CUT = [*(SCIKIT_IMAGE / f"{name}.png" for name in ("chelsea", "coffee", "brick", "grass", "gravel", "coins"))]
CUT += [SCIKIT_LEARN / "china.jpg", SCIKIT_LEARN / "flower.jpg"]
PATCHES = """
import numpy
import torch
import zoo
from PIL import Image


@zoo.dataset(name="patches")
def patches(*, root, files: list, side: int = 64, train: int = 6, test: int = 10):
    splits = {"train": ([], []), "test": ([], [])}
    for label, file in enumerate(files):
        photo = torch.from_numpy(numpy.array(Image.open(file).convert("RGB"))).permute(2, 0, 1)
        middle, draws = photo.shape[2] // 2, numpy.random.default_rng(label)
        for (images, targets), half, count in zip(
            splits.values(), (photo[:, :, :middle], photo[:, :, middle:]), (train, test)
        ):
            for _ in range(count):
                top, left = (draws.integers(0, size - side + 1) for size in half.shape[1:])
                images.append(half[:, top : top + side, left : left + side])
                targets.append(label)
    made = {name: (torch.stack(images), torch.tensor(targets)) for name, (images, targets) in splits.items()}
    return zoo.DataSplits(**made, class_names=[str(label) for label in range(len(files))])
"""


@pytest.fixture(scope="module")
def stranger(make_environment: Callable[[], Environment], wheels: dict[str, Path]) -> Environment:
    """Return an environment with zoo and the example."""
    environment = make_environment()
    folder = environment.home / "efficientnet-lite"
    shutil.copytree(ROOT / "examples" / "efficientnet-lite", folder)
    environment.install(wheels["zoo-torch"], folder)
    return environment


def test_real_photographs_are_told_and_the_weights_say_what_they_are(stranger: Environment) -> None:
    code = f"""
        import contextlib, io, json
        from zoo.cli.main import main

        def call(*words):
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                code = main([*words])
            assert code == 0, words
            return out.getvalue()

        listed = json.loads(call("list", "weights", "--json"))
        pictures = {[str(path) for path in SHOWN]!r}
        told = call("predict", "efficientnet-lite0@imagenet", *pictures, "--json")
        call("verify", "efficientnet-lite0@imagenet")
        call("embed", "efficientnet-lite0@imagenet", *pictures, "--output", "features.safetensors")
        shown = json.loads(call("show", "efficientnet-lite0@imagenet", "--json"))
        print(json.dumps([listed, [json.loads(line) for line in told.splitlines()], shown]))
    """
    listed, told, shown = stranger.evaluate(code, ZOO_OFFLINE="1")
    assert "zoo-efficientnet-lite/efficientnet-lite0-imagenet" in json.dumps(listed)
    assert {Path(row["path"]): row["label"] for row in told} == SHOWN
    about = shown["metadata"]
    assert about["class_names"][:2] == ["tench", "goldfish"] and len(about["class_names"]) == 1000
    assert about["published"]["license"] == "Apache-2.0"
    # The name of the file that the package brings ends in the first digits of its hash.
    assert about["published"]["sha256"].startswith("57934424")
    assert about["features"] == {"layer": "_fc", "width": 1280}
    assert about["preprocess"]["resize"] == 224 and about["preprocess"]["rounded"] is True


def test_fine_tuning_beats_training_from_scratch(stranger: Environment) -> None:
    (stranger.home / "patches.py").write_text(PATCHES, encoding="utf-8")
    code = f"""
        import json, zoo
        files = {[str(path) for path in CUT]!r}
        options = dict(dataset="patches", dataset_params=dict(files=files), plugins=["patches.py"], runs_dir="runs")
        options |= dict(input_size=96, epochs=2, batch_size=16, threads=1)
        tuned = zoo.run(init="efficientnet-lite0@imagenet", **options)
        scratch = zoo.run(model="efficientnet-lite0", **options)
        print(json.dumps([tuned.metrics["accuracy"], scratch.metrics["accuracy"]]))
    """
    tuned, scratch = stranger.evaluate(code, ZOO_OFFLINE="1")
    # 48 patches are enough for a network that has seen a million pictures, and far too few for one that has seen none.
    assert tuned >= 0.7 and tuned - scratch >= 0.5


PHOTOS = {name: SCIKIT_IMAGE / f"{name}.png" for name in ("chelsea", "coffee")}
PHOTOS |= {name: SCIKIT_LEARN / f"{name}.jpg" for name in ("flower", "china")}
NAMED = {"chelsea": "cats", "coffee": "coffee", "flower": "flowers", "china": "temples"}
SIZES = ((160, 120), (200, 200), (240, 180))


def make_photos(folder: Path) -> None:
    """Write 200 pictures of four classes, of three sizes, one of them cut off, and a new one."""
    draws = numpy.random.default_rng(0)
    for name, path in PHOTOS.items():
        photo = numpy.array(Image.open(path).convert("RGB"))
        (folder / "photos" / NAMED[name]).mkdir(parents=True)
        for number in range(50):
            width, height = SIZES[number % len(SIZES)]
            top, left = draws.integers(photo.shape[0] - height), draws.integers(photo.shape[1] - width)
            part = Image.fromarray(photo[top : top + height, left : left + width])
            part.save(folder / "photos" / NAMED[name] / f"{number:03d}.jpg", quality=90)
    damaged = folder / "photos" / "cats" / "007.jpg"
    damaged.write_bytes(damaged.read_bytes()[:1500])
    Image.open(PHOTOS["chelsea"]).save(folder / "new.jpg")


def level(text: str) -> list[str]:
    """Return the lines of an output without folders, times and numbers."""
    text = re.sub(r"\S*/(?=(weights|pictures|photos|runs)/)", "", text).replace("jpg'", "jpg")
    text = re.sub(r"\d{8}-\d{6}-|(?<=-)[0-9a-f]{16}(?=\.safe)|(?<=pictures/)[0-9a-f]{16}", "", text)
    return [re.sub(r"\d+([.,]\d+)*", "0", line) for line in text.splitlines()]


def test_a_folder_of_pictures_takes_three_commands(stranger: Environment) -> None:
    """Each command of docs/guide/own-images.md runs, and the first three print what the page shows."""
    page = (ROOT / "docs" / "guide" / "own-images.md").read_text(encoding="utf-8")
    make_photos(stranger.home)
    commands = [line for block in re.findall(r"^```sh\n(.*?)^```$", page, re.M | re.S) for line in block.splitlines()]
    _, shown, predicted = re.findall(r"^```text\n(.*?)^```$", page, re.M | re.S)
    assert [command.split()[1] for command in commands] == ["run", "predict", "report", "run", "run", "run", "embed"]
    program = re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S)[0]
    short = [shlex.split(command)[1:] for command in commands]
    for words in short:
        if words[0] == "run":  # a smaller size and an epoch, so that it takes seconds
            words[:] = [word for word in words if word not in ("20", "--epochs", "2", "--input-size", "128x128")]
            words += ["--input-size", "64x64", "--epochs", "1"]
    code = f"""
        import contextlib, io, json, sys
        from zoo.cli.main import main

        told = []
        for words in {short!r}:
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                code = main(words)
            told.append([code, out.getvalue()])
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec({program.replace("epochs=1", "epochs=1, input_size=64")!r})
        print(json.dumps([told, out.getvalue()]))
    """
    told, labels = stranger.evaluate(code, ZOO_OFFLINE="1")
    assert [code for code, _ in told] == [0] * len(told), told
    printed, page_lines = set(level(told[0][1])), level(shown)
    known = [
        line
        for line in page_lines
        if not line.startswith(("fetching", "inputs are made", "epoch", "adapted", "trained"))
    ]
    assert len(known) > 6 and not [line for line in known if line not in printed], printed
    assert level(told[1][1]) == level(predicted) and "cats" in told[1][1]
    assert float(re.search(r"^accuracy ([\d.]+)", told[0][1], re.M)[1]) > 0.9
    assert (stranger.home / "report.html").is_file() and (stranger.home / "coffee.safetensors").is_file()
    assert labels == "['cats']\n"
