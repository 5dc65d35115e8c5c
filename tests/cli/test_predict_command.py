"""Saved weights on the command line: evaluate, predict, verify and show, through their own door and real files."""

from __future__ import annotations

import csv
import io
import json
import pickle
import re
import shutil
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy
import pytest
import safetensors.torch
import torch
from PIL import Image

import zoo
from zoo.cli.main import main
from zoo.data.loading import build_dataset
from zoo.models.weights import save_table
from zoo.records.header import read_header
from zoo.registry.entries import Registry

pytestmark = pytest.mark.usefixtures("own_folder")

SIZES = {"train_size": 2000, "test_size": 200}
HEAVY = {"torch", "torchvision", "numpy", "pydantic", "requests", "PIL", "tqdm", "zoo_plugins", "safetensors"}
PLAIN_ROW = re.compile(r"(\S+) +([a-z]+) +([01]\.\d{4})")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> zoo.RunResult:
    learns = {"optimizer": "adam", "lr": 0.01}  # with so few samples, SGD at 0.1 has hardly begun after three epochs
    return zoo.run("tinyvgg", dataset_params=SIZES, epochs=3, **learns, runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def weights(trained: zoo.RunResult) -> str:
    return str(trained.weights)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Return the raw test images of the data set the model was trained on."""
    return build_dataset(Registry.discover().get("dataset", "shapes"), root=Path(), params=SIZES).test[0]


@pytest.fixture
def pictures(images: torch.Tensor, tmp_path: Path) -> Path:
    """Return a folder with 70 of them as PNG, more than a batch."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(70):
        Image.fromarray(images[number, 0].numpy()).save(folder / f"{number:02}.png")
    return folder


def read_rows(text: str) -> list[tuple[str, str, str]]:
    found = [PLAIN_ROW.fullmatch(line) for line in text.splitlines()]
    assert all(found), text
    return [match.groups() for match in found if match]


def only_line(text: str) -> str:
    (line,) = text.splitlines()
    return line


@contextmanager
def zoo_process(python: str, *arguments: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run zoo with pipes; it is ended after ten minutes, so that a wait for what never comes fails."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([python, "-m", "zoo", *map(str, arguments)], **pipes) as process:
        limit = threading.Timer(600, process.kill)
        limit.start()
        try:
            yield process
            process.wait()
        finally:
            limit.cancel()


@pytest.mark.slow
def test_evaluate_prints_what_the_api_gives(capsys, trained, weights):
    assert main(["evaluate", weights]) == 0
    shown = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert list(shown) == ["model", "weights", "dataset", "samples", "loss", "accuracy"]
    assert (shown["model"], shown["weights"], shown["dataset"]) == ("tinyvgg", weights, "shapes")
    assert shown["samples"] == "200" and float(shown["accuracy"]) == trained.metrics["accuracy"] > 0.8
    assert float(shown["loss"]) == pytest.approx(trained.metrics["loss"], rel=1e-5)
    arguments = ["--dataset", "shapes", "--dataset-param", "test_size=64", "--dataset-param", "seed=3", "--threads=1"]
    assert main(["evaluate", weights, *arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    expected = zoo.evaluate(weights, "shapes", dataset_params={"test_size": 64, "seed": 3}).to_dict()
    assert printed.keys() == expected.keys() - {"per_class"} and printed["samples"] == 64
    assert printed["metrics"] == pytest.approx(expected["metrics"], rel=1e-6)


def test_evaluate_shows_each_class_and_what_is_confused(capsys, trained, weights):
    result = zoo.evaluate(weights)
    outcomes = result.outcomes
    assert outcomes.accuracy == trained.metrics["accuracy"] < 1
    assert main(["evaluate", weights, "--per-class", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed.keys() - result.to_dict().keys() == {"confusion", "most_confused"}
    assert printed["confusion"] == outcomes.matrix.tolist()
    assert printed["per_class"] == result.to_dict()["per_class"]
    assert sum(score["support"] for score in printed["per_class"]) == 200
    first, *others = printed["most_confused"]
    names = list(outcomes.class_names)
    assert first["count"] == max(
        count
        for target, row in enumerate(printed["confusion"])
        for predicted, count in enumerate(row)
        if target != predicted
    )
    assert outcomes.matrix[names.index(first["target"]), names.index(first["predicted"])] == first["count"]
    assert all(pair["target"] != pair["predicted"] and pair["count"] <= first["count"] for pair in others)

    assert main(["evaluate", weights, "--per-class"]) == 0
    facts, table, pairs = capsys.readouterr().out.split("\n\n")
    assert facts.splitlines()[-1].split() == ["accuracy", f"{outcomes.accuracy:.6g}"]
    header, *rows = (line.split() for line in table.splitlines())
    assert header == ["class", "precision", "recall", "f1", "support"]
    for row, score in zip(rows, result.per_class, strict=True):
        numbers = ["-" if each is None else f"{each:.4f}" for each in (score.precision, score.recall, score.f1)]
        assert row == [*score.name.split(), *numbers, str(score.support)]
    support = result.per_class[names.index(first["target"])].support
    sentence = f"{first['count']} of {support} {first['target']} were taken for {first['predicted']}"
    assert pairs.splitlines()[0] == sentence and len(pairs.splitlines()) == 1 + len(others)


def test_predictions_are_no_weights(capsys, trained):
    path = str(trained.run / "predictions.safetensors")
    for command in ("show", "evaluate", "verify"):
        assert main([command, path]) == 4
        expected = f"Error: {path} holds predictions, not weights. Give the weights file beside it\n"
        assert capsys.readouterr().err == expected


def test_every_form_of_an_image_has_the_label_of_its_tensor(capsys, weights, images, tmp_path):
    expected = zoo.load(weights)(images[:8]).labels.tolist()
    grey = [Image.fromarray(image[0].numpy()) for image in images[:8]]
    forms = {
        "same": grey,
        "rgb": [image.convert("RGB") for image in grey],
        "bigger": [image.resize((140, 140), Image.Resampling.NEAREST) for image in grey],
        "wide": [image.convert("RGB").resize((280, 84), Image.Resampling.NEAREST) for image in grey],
    }
    for name, pictures in forms.items():
        for number, picture in enumerate(pictures):
            picture.save(tmp_path / f"{name}{number}.png")
        assert main(["predict", weights, *(f"{name}{number}.png" for number in range(8))]) == 0
        rows = read_rows(capsys.readouterr().out)
        assert [label for _, label, _ in rows] == expected, name
        assert [path for path, _, _ in rows] == [f"{name}{number}.png" for number in range(8)]
    assert len(set(expected)) > 4


def test_a_folder_gives_aligned_rows_and_json_the_same_in_full(capsys, weights, images, pictures):
    expected = zoo.load(weights)(images[:70])
    (pictures / "more").mkdir()
    shutil.copy(pictures / "00.png", pictures / "more")
    (pictures / "notes.txt").write_text("no image")
    assert main(["predict", weights, "pictures"]) == 0
    out, err = capsys.readouterr()
    rows = read_rows(out)
    assert err == ""
    starts = [PLAIN_ROW.fullmatch(line).span(3) for line in out.splitlines()]
    assert len(set(starts[:64])) == 1
    assert [path for path, _, _ in rows] == [*(f"pictures/{n:02}.png" for n in range(70)), "pictures/more/00.png"]
    assert [label for _, label, _ in rows[:70]] == expected.labels.tolist()
    assert main(["predict", weights, "pictures", "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [list(row) for row in objects] == [["path", "label", "index", "probability"]] * 71
    assert [(row["path"], row["label"], f"{row['probability']:.4f}") for row in objects] == rows
    assert [row["index"] for row in objects[:70]] == expected.indices.tolist()


def test_top_gives_more_classes_in_every_form(capsys, weights, images, pictures):
    best = zoo.load(weights)(images[:2]).top(3)
    paths = ["pictures/00.png", "pictures/01.png"]
    assert main(["predict", weights, *paths, "--top", "3"]) == 0
    for line, path, three in zip(capsys.readouterr().out.splitlines(), paths, best, strict=True):
        assert line.split() == [path, *(text for one in three for text in (one.label, f"{one.probability:.4f}"))]
    assert main(["predict", weights, *paths, "--top", "3", "--json"]) == 0
    for line, three in zip(capsys.readouterr().out.splitlines(), best, strict=True):
        row = json.loads(line)
        assert [one["label"] for one in row["top"]] == [one.label for one in three]
        assert row["top"][0] == {key: row[key] for key in ("label", "index", "probability")}
    assert main(["predict", weights, *paths, "--top", "99", "--csv"]) == 0
    table = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(table[0]) == ["path", "rank", "label", "index", "probability"]
    assert [row["rank"] for row in table] == [str(rank) for rank in range(1, 11)] * 2
    assert [row["label"] for row in table[:3]] == [one.label for one in best[0]]
    assert sum(float(row["probability"]) for row in table[:10]) == pytest.approx(1)


def test_names_are_exact_in_json_and_harmless_for_terminals(capsysbinary, weights, pictures):
    names = ['a, "b".png', "\x1b[31mred\r\n.png", "größe  2.png", "=1+1.png"]
    for name in names:
        shutil.copy(pictures / "00.png", name)
    assert main(["predict", weights, *names, "--csv"]) == 0
    out = capsysbinary.readouterr().out.decode()
    table = list(csv.reader(io.StringIO(out, newline="")))
    harmless = [name.replace("\x1b", r"\x1b").replace("\r\n", r"\r\n") for name in names]
    assert table[0] == ["path", "label", "index", "probability"] and [row[0] for row in table[1:]] == harmless
    assert not set("\x1b\r") & set(out)
    assert main(["predict", weights, *names, "--json"]) == 0
    assert [json.loads(line)["path"] for line in capsysbinary.readouterr().out.splitlines()] == names
    assert main(["predict", weights, *names]) == 0
    out = capsysbinary.readouterr().out.decode()
    assert out.count("\n") == 4 and not set("\x1b\r") & set(out)
    assert out.splitlines()[1].startswith(r"\x1b[31mred\r\n.png ") and "größe  2.png " in out
    Path(names[1]).write_text("no image")
    for more in ([], ["missing\x1b.png"]):
        assert main(["predict", weights, *names, *more]) == 3
        assert b"\x1b" not in capsysbinary.readouterr().err


@pytest.mark.slow
def test_rows_come_while_later_images_are_not_there_yet(weights, pictures, warm_python):
    data = (pictures / "00.png").read_bytes()
    for number in range(64, 70):
        (pictures / f"{number}.png").unlink()
    with zoo_process(warm_python, "predict", weights, pictures, "-") as process:
        first = [process.stdout.readline() for _ in range(64)]
        rest, err = process.communicate(data)
    assert (process.returncode, err) == (0, b"")
    label = read_rows(first[0].decode())[0][1]
    assert read_rows(rest.decode())[0][:2] == ("-", label)


@pytest.mark.promise("P13")
@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error_message(weights, pictures, warm_python):
    for number in range(64, 70):
        (pictures / f"{number}.png").unlink()
    with zoo_process(warm_python, "predict", weights, pictures, "-") as process:
        # 64 rows are a batch; the last image comes when nobody reads any more.
        assert [process.stdout.readline() for _ in range(64)]
        process.stdout.close()
        process.stdin.write((pictures / "00.png").read_bytes())
        process.stdin.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, b"")


@pytest.mark.promise("P10")
@pytest.mark.parametrize("form", ["plain", "--json", "--csv"])
def test_bad_images_are_named_and_the_others_predicted(capsys, weights, pictures, form):
    (pictures / "05.png").write_text("hello")
    (pictures / "66.png").write_bytes((pictures / "66.png").read_bytes()[:100])
    (pictures / "69.png").write_bytes(b"")
    (pictures / "empty").mkdir()
    arguments = [] if form == "plain" else [form]
    assert main(["predict", weights, "pictures", "pictures/empty", *arguments]) == 3
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 67 + (form == "--csv") and "05.png" not in out and "68.png" in out
    if form == "--json":
        errors = [json.loads(line)["error"] for line in err.splitlines()]
        assert {tuple(error) for error in errors} == {("exit", "what", "why", "fix")}
        assert {error["exit"] for error in errors} == {3}
        lines = [f"Error: {error['what']}: {error['why']}" for error in errors]
    else:
        lines = err.splitlines()
    for line, text in zip(
        lines,
        [
            "Error: 'pictures/05.png': not an image",
            "Error: 'pictures/66.png': a damaged image",
            "Error: 'pictures/69.png': not an image",
            "Error: 'pictures/empty': a folder without images",
        ],
        strict=True,
    ):
        assert line.startswith(text)


def test_a_warning_about_the_images_comes_once(capsys, weights, pictures):
    for path in pictures.iterdir():
        Image.eval(Image.open(path), lambda value: 255 - value).save(path)
    for number in range(70, 140):
        shutil.copy(pictures / "00.png", pictures / f"{number}.png")
    for _ in range(2):
        assert main(["predict", weights, "pictures", "--json"]) == 0
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == 140
        assert only_line(err).startswith("Warning: the images may be not what tinyvgg was trained on")


def test_what_is_odd_about_single_images_is_said_of_each(capsys, weights, images):
    frames = [Image.fromarray(image[0].numpy()) for image in images[:2]]
    for name in ("a.gif", "b.gif"):
        frames[0].save(name, save_all=True, append_images=frames[1:])
    assert main(["predict", weights, "a.gif", "b.gif"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["'a.gif'", "'b.gif'"]


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (5, 3, 2), (70, 6, 6)])
def test_output_is_a_picture_of_the_predictions(capsys, weights, images, pictures, count, columns, rows):
    assert main(["predict", weights, *sorted(map(str, pictures.iterdir()))[:count], "--output", "grid.PNG"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == count and err.endswith("picture: grid.PNG\n")
    with Image.open("grid.PNG") as grid:
        assert (grid.format, grid.mode) == ("PNG", "RGB")
        assert grid.size == (12 + columns * 140, 12 + rows * 172)
        pixels = numpy.array(grid)
    # The first image is drawn in its place, its text below it, and the margin is empty.
    cell = pixels[12:140, 12:140, 0][2 :: 128 // 28 + 1]
    assert cell.std() > 20 and (pixels[142:170, 12:140] < 128).any() and (pixels[:12] == 255).all()
    small = Image.fromarray(pixels[12:140, 12:140, 0]).resize((28, 28), Image.Resampling.BOX)
    assert numpy.abs(numpy.array(small).astype(int) - images[0, 0].numpy()).mean() < 12
    assert list(Path().glob("*.part")) == list(Path().glob(".*.part")) == []


def test_a_picture_holds_every_kind_of_image(capsys, weights, images):
    wide = Image.fromarray(images[0, 0].numpy().astype("uint16") * 256)
    wide.save("deep.png")
    Image.fromarray(images[1, 0].numpy()).convert("RGB").resize((900, 30)).save("wide.jpg")
    Image.new("RGB", (1, 4000), "red").save("line.png")
    (Path("bad.png")).write_text("hello")
    paths = ["deep.png", "bad.png", "wide.jpg", "line.png"]
    assert main(["predict", weights, *paths, "--output", "grid.png"]) == 3
    with Image.open("grid.png") as grid:
        pixels = numpy.array(grid)
        assert grid.size == (12 + 2 * 140, 12 + 2 * 172)
    small = Image.fromarray(pixels[12:140, 12:140, 0]).resize((28, 28), Image.Resampling.BOX)
    assert numpy.abs(numpy.array(small).astype(int) - images[0, 0].numpy()).mean() < 12
    assert (pixels[184:312, 75:77] == (255, 0, 0)).all(axis=2).any()


def test_a_picture_that_cannot_be_written_costs_no_row(capsys, weights, pictures):
    arguments = ["predict", weights, "pictures/00.png", "--output"]
    Path("grid.png").mkdir()
    for target in ("nowhere/grid.png", "grid.png"):
        assert main([*arguments, target]) == 7
        out, err = capsys.readouterr()
        assert len(out.splitlines()) == 1 and "Write elsewhere with --output." in only_line(err)
    assert main(["predict", weights, "nothing.png", "--output", "other.png"]) == 3
    assert not Path("other.png").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        ("predict W", 2, "Error: Missing argument"),
        ("predict W a.png --json --csv", 2, None),
        ("predict W a.png --top 0", 2, "Error: Invalid value for '--top'"),
        ("predict W a.png --output grid.jpg", 2, "Error: --output: expected the name of a .png file, got 'grid.jpg'"),
        ("predict W https://x.org/a.png", 2, "Error: 'https://x.org/a.png' is a URL. Download it first"),
        ("predict W a.png --device gpu", 2, "Error: device 'gpu' was asked for"),
        ("predict W nothing.png", 3, "Error: 'nothing.png': cannot be read: No such file or directory"),
        ("predict W folder", 3, "Error: 'folder': a folder without images"),
        ("predict nothing.safetensors a.png", 4, "nothing.safetensors"),
        ("evaluate W --metric acuracy", 2, "Error: no metric named 'acuracy'. Did you mean 'accuracy'?"),
        ("evaluate W --dataset shape", 2, "Error: no dataset named 'shape'. Did you mean 'shapes'?"),
        ("evaluate W --dataset fashionmnist --offline", 6, "Error: cannot download fashionmnist"),
        ("evaluate W --dataset-param 3", 2, "Error: --dataset-param: expected NAME=VALUE, got '3'"),
        ("evaluate W --threads x", 2, "Error: threads: "),
        ("evaluate nothing.safetensors", 4, "nothing.safetensors"),
        ("verify nothing.safetensors", 4, "nothing.safetensors"),
        (
            "verify W a.png",
            2,
            "Error: Got unexpected extra argument (a.png). As in: zoo verify @last. See: zoo verify --help",
        ),
        ("show nothing.safetensors", 4, "nothing.safetensors"),
        ("show W --layers", 2, "Error: layers and weights were both given"),
        ("show nothing", 2, "Error: no entry named 'nothing'"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(capsys, weights, pictures, arguments, code, line):
    shutil.copy(pictures / "00.png", "a.png")
    Path("folder").mkdir()
    assert main([weights if word == "W" else word for word in arguments.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    if line is None:
        assert json.loads(err)["error"]["what"] == "--csv and --json were both given"
    else:
        assert line in only_line(err)


@pytest.mark.slow
def test_nothing_on_stdin_is_an_error(weights, warm_python):
    with zoo_process(warm_python, "predict", weights, "-") as process:
        out, err = process.communicate(b"")
    assert (process.returncode, out) == (3, b"") and only_line(err.decode()).startswith("Error: stdin: not an image")


def test_a_model_of_a_plugin_file_needs_that_file(capsys, pictures, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import torch\nimport zoo\n\n"
        "@zoo.model(name='mine')\n"
        "class Mine(torch.nn.Sequential):\n"
        "    def __init__(self, *, input_shape, num_classes):\n"
        "        super().__init__(torch.nn.Flatten(), torch.nn.LazyLinear(num_classes))\n"
        "        self(torch.zeros(1, *input_shape))\n"
    )
    run = zoo.run(model="mine", plugins=["mine.py"], dataset_params=SIZES, epochs=1)
    for words in (["predict", str(run.run), "pictures/00.png"], ["evaluate", str(run.run)], ["verify", str(run.run)]):
        assert main([*words, "--plugin", "mine.py"]) == 0
        assert capsys.readouterr().out
        assert main(words) == 5
        assert "Give it with --plugin" in only_line(capsys.readouterr().err)
    # What the header says needs no plugin.
    assert main(["show", str(run.run)]) == 0
    assert "weights of mine of plugin mine" in capsys.readouterr().out


def test_verify_says_what_was_checked(capsys, trained, weights):
    assert main(["verify", str(trained.run)]) == 0
    *checks, last = capsys.readouterr().out.splitlines()
    names = [re.split(" {2,}", line)[0] for line in checks]
    assert names == ["header", "digests", "model", "golden samples"] and "8 replayed" in checks[3]
    assert last == f"verified {weights}"
    assert main(["verify", weights, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == {"path": weights, "checks": zoo.verify(weights).checks}


def rewrite(path: str, **changes: object) -> bytes:
    """Return a weights file with other metadata."""
    data, header = Path(path).read_bytes(), read_header(Path(path))
    table = json.loads(data[8 : header.data_start])
    table["__metadata__"]["zoo"] = json.dumps({**header.metadata, **changes})
    text = json.dumps(table).encode()
    return struct.pack("<Q", len(text)) + text + data[header.data_start :]


DAMAGES = {
    "cut": lambda path: Path(path).read_bytes()[:-100],
    "cut in the header": lambda path: Path(path).read_bytes()[:50],
    "longer": lambda path: Path(path).read_bytes() + b"more",
    "empty": lambda path: b"",
    "a pickle": lambda path: pickle.dumps({"a": 1}),
    "a web page": lambda path: b"<!DOCTYPE html><html>",
    "noise": lambda path: bytes(range(256)) * 9,
    "of a newer zoo": lambda path: rewrite(path, format=99),
    "without classes": lambda path: rewrite(path, class_names=[]),
    "with another shape": lambda path: rewrite(path, input_shape=[3, 28, 28]),
}


@pytest.mark.promise("P10")
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_ends_every_command_with_one_line(capsys, weights, pictures, damage):
    Path("bad.safetensors").write_bytes(DAMAGES[damage](weights))
    for words in ("predict", "evaluate", "verify", "show"):
        more = ["pictures"] if words == "predict" else []
        assert main([words, "bad.safetensors", *more]) == 4
        out, err = capsys.readouterr()
        assert out == "" and only_line(err).startswith("Error: bad.safetensors ")


@pytest.mark.parametrize("size", [0, 10**9, 2**62, 10**20])
def test_params_that_no_model_can_be_built_with_are_the_files_fault(capsys, weights, pictures, size):
    """Where memory is promised without limit, the tensors are found not to fit instead."""
    Path("huge.safetensors").write_bytes(rewrite(weights, params={"hidden_units": size}, digests=None))
    for arguments in (["predict", "huge.safetensors", "pictures"], ["verify", "huge.safetensors"]):
        assert main(arguments) in (zoo.WeightsError.exit_code, zoo.OutOfMemoryError.exit_code)
        out, err = capsys.readouterr()
        assert out == "" and only_line(err).startswith("Error: huge.safetensors")


def test_verify_tells_tensors_classes_and_params_that_were_changed(capsys, weights):
    data = bytearray(Path(weights).read_bytes())
    data[-3] ^= 1
    names = ["ring", "disc", *read_header(Path(weights)).metadata["class_names"][2:]]
    for text, what in (
        (bytes(data), "tensors"),
        (rewrite(weights, class_names=names), "class_names"),
        (rewrite(weights, params={"hidden_units": 11}), "params"),
    ):
        Path("bad.safetensors").write_bytes(text)
        assert main(["verify", "bad.safetensors"]) == 4
        assert f"its {what} is" in (line := only_line(capsys.readouterr().err)) or f"its {what} are" in line
        assert main(["show", "bad.safetensors"]) == 0
        capsys.readouterr()


@pytest.mark.promise("P11")
@pytest.mark.parametrize("form", ["plain", "--json", "--csv"])
def test_probabilities_that_are_no_numbers_are_never_printed(capsys, weights, pictures, form):
    predictor = zoo.load(weights)
    with torch.no_grad():
        for parameter in predictor.model.parameters():
            parameter.fill_(3e38)
    metadata = {key: value for key, value in predictor.metadata.items() if key not in ("golden", "digests", "format")}
    save_table(Path("huge.safetensors"), predictor.model, {**metadata, "image": None})
    assert main(["predict", "huge.safetensors", "pictures/00.png", *([] if form == "plain" else [form])]) == 4
    out, err = capsys.readouterr()
    assert "nan" not in out and "not finite" in only_line(err)


def test_weights_for_other_inputs_than_images_say_so(capsys, pictures):
    model = torch.nn.Module()
    model.layer_stack = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 10), torch.nn.Linear(10, 2))
    metadata = {
        "model": "baseline",
        "plugin": {"name": "zoo", "version": "0", "source": "installed"},
        "params": {},
        "input_shape": [4],
        "class_names": ["a", "b"],
        "preprocess": zoo.Preprocess().to_dict(),
    }
    save_table(Path("flat.safetensors"), model, metadata)
    assert main(["predict", "flat.safetensors", "pictures"]) == 3
    assert "is for inputs of shape 4" in only_line(capsys.readouterr().err)


def test_show_says_what_the_header_says(capsys, trained, weights):
    metadata = read_header(Path(weights)).metadata
    values = sum(tensor.numel() for tensor in trained_tensors(weights).values())
    for reference in (weights, str(trained.run)):
        assert main(["show", reference]) == 0
        title, *lines = capsys.readouterr().out.splitlines()
        assert title == f"{weights}: weights of tinyvgg of plugin zoo {zoo.__version__}"
        shown = dict(re.split(" {2,}", line.strip(), maxsplit=1) for line in lines)
        assert shown["params"] == "hidden_units=10" and shown["input shape"] == "1x28x28"
        assert shown["images"] == "1x28x28 uint8, 0 to 255"
        assert shown["classes"].startswith("10: disc, ring, ") and shown["dataset"] == "shapes"
        assert shown["dataset digest"] == metadata["dataset"]["digest"]
        assert f"accuracy={trained.metrics['accuracy']:.6g}" in shown["metrics"] and "lr=0.01" in shown["trained with"]
        assert (shown["seed"], shown["threads"], shown["format"]) == ("42", "1", "2")
        assert f"torch={torch.__version__}" in shown["versions"] and shown["golden samples"] == "8"
        assert shown["tensors"] == f"10 with {values:,} values" and "preprocess" in shown
    assert main(["show", weights, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed) == {"path", "size", "metadata", "tensors", "repeat"}
    assert printed["size"] == Path(weights).stat().st_size
    golden = printed["metadata"].pop("golden")
    assert golden.keys() == metadata.pop("golden").keys() - {"images"} and printed["metadata"] == metadata
    shapes = {name: list(tensor.shape) for name, tensor in trained_tensors(weights).items()}
    assert {name: tensor["shape"] for name, tensor in printed["tensors"].items()} == shapes


def trained_tensors(path: str) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(path)


def test_show_of_another_programs_file_lists_its_tensors(capsys):
    tensors = {"body.weight": torch.zeros(3, 4), "count": torch.tensor(1)}
    safetensors.torch.save_file(tensors, "other.safetensors", {"made by": "somebody"})
    assert main(["show", "other.safetensors"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"body\.weight +F32 +3x4\n", out) and re.search(r"count +I64 +scalar\n", out)
    assert "of another program" in out and "2 with 13 values" in out
    assert main(["show", "other.safetensors", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["metadata"] == {} and printed["tensors"]["count"] == {"dtype": "I64", "shape": []}
    assert main(["verify", "other.safetensors"]) == 4
    assert "was not written by zoo" in only_line(capsys.readouterr().err)


def test_show_keeps_foreign_text_on_its_line(capsys, weights):
    evil = "\x1b[2Jevil\n"
    names = [evil, *map(str, range(30))]
    table = {"train_config": {evil: evil}, "metrics": {evil: 1}, "versions": {"zoo": evil}, "params": {"a": [evil, {}]}}
    dataset = {"name": evil, "params": {evil: evil}, "digest": {"not": None}}
    data = rewrite(weights, class_names=names, dataset=dataset, image=None, golden=None, digests=None, **table)
    Path("evil.safetensors").write_bytes(data)
    assert main(["show", "evil.safetensors"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and out.count(r"\x1b[2Jevil\n") >= 6 and "and 11 more" in out
    assert all(line.startswith("  ") for line in out.splitlines()[1:])


def test_the_size_of_a_file_does_not_matter(capsys):
    header = json.dumps({"huge": {"dtype": "F32", "shape": [2**30, 2**3], "data_offsets": [0, 2**35]}}).encode()
    with Path("huge.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + 2**35)
    assert main(["show", "huge.safetensors"]) == 0
    assert f"1 with {2**33:,} values" in capsys.readouterr().out


@pytest.mark.promise("P6")
def test_show_of_weights_imports_nothing_heavy(weights):
    code = (
        "import sys; from zoo.cli.main import main; code = main(sys.argv[1:]);"
        f"print(sorted({HEAVY!r} & {{name.partition('.')[0] for name in sys.modules}}), code, file=sys.stderr)"
    )
    for arguments in (["show", weights], ["show", weights, "--json"], ["predict", "--help"], ["evaluate", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1:] == ["[] 0"]


def test_a_file_wins_over_an_entry_and_a_folder_of_data_does_not(capsys, weights):
    Path("shapes").mkdir()
    assert main(["show", "shapes"]) == 0
    assert "dataset of plugin zoo" in capsys.readouterr().out
    shutil.copy(weights, "baseline")
    assert main(["show", "baseline"]) == 0
    assert "weights of tinyvgg" in capsys.readouterr().out
    shutil.copy(weights, "shapes/weights.safetensors")
    assert main(["show", "shapes"]) == 0
    assert "weights of tinyvgg" in capsys.readouterr().out
    for name in ("", "x" * 5000, "a\0b"):
        assert main(["show", name]) == 2
        assert "no entry named" in only_line(capsys.readouterr().err)


def test_registered_weights_are_shown_and_not_fetched(capsys, weights, trained):
    Path("registry.toml").write_text(
        "schema = 1\n[weights.far]\nmodel = 'baseline'\ndataset = 'shapes'\nurl = 'https://127.0.0.1:1/a.safetensors'\n"
        f"size = 4096\nsha256 = '{'a' * 64}'\nlicense = 'MIT'\nmetrics = {{ accuracy = 0.9 }}\n"
        "[weights.near]\nmodel = 'tinyvgg'\ndataset = 'shapes'\nfile = 'near.safetensors'\n"
    )
    shutil.copy(weights, "near.safetensors")
    for name in ("far", "baseline@shapes"):
        assert main(["show", name, "--plugin", "registry.toml"]) == 0
        out = capsys.readouterr().out
        for text in (
            "weights of plugin",
            "accuracy=0.9",
            "4096 bytes in 1 file: https://127.0.0.1:1/",
            "a" * 64,
            "MIT",
        ):
            assert text in out
    assert main(["show", "baseline@shapes", "--plugin", "registry.toml", "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)["entries"]
    assert (entry["kind"], entry["name"], entry["metrics"]) == ("weights", "far", {"accuracy": 0.9})
    assert main(["show", "near", "--plugin", "registry.toml"]) == 0
    assert re.search(r"file +near\.safetensors", capsys.readouterr().out)
    assert main(["show", "tinyvgg@shapes", "--plugin", "registry.toml"]) == 0
    assert "near.safetensors: weights of tinyvgg" in capsys.readouterr().out
    assert main(["predict", "baseline@shapes", "registry.toml", "--plugin", "registry.toml", "--offline"]) == 6
    assert "cannot download far" in only_line(capsys.readouterr().err)


def test_every_command_takes_every_reference(capsys, trained, pictures):
    runs = ["--runs-dir", str(trained.run.parent)]
    for reference in ("@last", "tinyvgg@shapes", str(trained.run), str(trained.weights)):
        for words in (
            ["predict", reference, "pictures/00.png"],
            *([w, reference] for w in ("evaluate", "verify", "show")),
        ):
            assert main([*words, *runs]) == 0
            assert capsys.readouterr().err == ""
    for words in (["predict", "@last", "pictures"], ["evaluate", "@last"], ["verify", "@last"], ["show", "@last"]):
        assert main([*words, "--runs-dir", "none"]) == 4
        out, err = capsys.readouterr()
        assert out == "" and "no finished run in none" in only_line(err)
