"""A loaded model: the same predictions from every form of an image, proved, and a warning when images look wrong."""

from __future__ import annotations

import json
import logging
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy
import pytest
import safetensors.torch
import torch
from PIL import Image
from torch import nn

import zoo
from zoo.data.loading import build_dataset
from zoo.errors import DataError, UsageError, WeightsError
from zoo.models.weights import save_table
from zoo.records.header import read_header
from zoo.registry.entries import Registry
from zoo.registry.preprocess import Preprocess
from zoo_plugins.models import baseline

SIZES = {"train_size": 640, "test_size": 200}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> zoo.RunResult:
    return zoo.run(dataset_params=SIZES, epochs=2, runs_dir=tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    """Return the raw test images of the data set the model was trained on."""
    return build_dataset(Registry.discover().get("dataset", "shapes"), root=Path(), params=SIZES).test[0]


def test_a_predictor_has_all_that_the_training_knew(trained: zoo.RunResult) -> None:
    predictor = zoo.load(trained.run)
    assert type(predictor.model).__name__ == "Baseline" and not predictor.model.training
    assert predictor.class_names[:2] == ("disc", "ring") and len(predictor.class_names) == 10
    assert (predictor.preprocess, predictor.params) == (zoo.Preprocess(), {"hidden_units": 10})
    assert (predictor.input_shape, predictor.device) == ((1, 28, 28), torch.device("cpu"))
    assert predictor.metadata["metrics"] == trained.metrics
    assert predictor.metadata["image"] == {"shape": [1, 28, 28], "dtype": "uint8", "range": [0.0, 255.0]}
    assert len(predictor.metadata["golden"]["labels"]) == 8


def test_columns_and_rows_say_the_same(trained: zoo.RunResult, images: torch.Tensor) -> None:
    predictor = zoo.load(trained.weights)
    predictions = predictor(images)
    with torch.no_grad():
        expected = zoo.load_model(trained.weights)(images / 255).softmax(dim=1)
    assert torch.allclose(torch.from_numpy(predictions.probabilities), expected, atol=1e-6)
    assert predictions.indices.tolist() == expected.argmax(dim=1).tolist()
    assert predictions.labels.tolist() == [predictor.class_names[index] for index in predictions.indices]
    assert len(predictions) == len(list(predictions)) == 200
    row = predictions[7]
    assert (row.index, row.label) == (predictions.indices[7], predictions.labels[7])
    assert row.probability == predictions.probabilities[7].max() == predictions.top(3)[7][0].probability
    assert [p.index for p in predictions.top(3)[7]] == expected[7].topk(3).indices.tolist()


def test_every_form_of_an_image_gives_the_same(trained: zoo.RunResult, images: torch.Tensor, tmp_path: Path) -> None:
    predictor = zoo.load(trained.weights)
    expected = predictor(images[:6]).probabilities
    grey = [Image.fromarray(image[0].numpy()) for image in images[:6]]
    for number, image in enumerate(grey):
        image.convert("RGB").save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    unit = images[:6] / 255
    forms = {
        "paths": predictor(paths),
        "texts": predictor(list(map(str, paths))),
        "PIL": predictor(grey),
        "numpy": predictor(images[:6].numpy()),
        "list of arrays": predictor(list(images[:6].numpy())),
        "mixed list": predictor([paths[0], grey[1], images[2], images[3:6]]),
        "floats": predictor(unit, value_range=(0, 1)),
        "doubles": predictor(unit.double().numpy(), value_range=(0, 1)),
        "symmetric": predictor(unit * 2 - 1, value_range=(-1, 1)),
        "16 bits": predictor((images[:6].to(torch.int32) * 257).to(torch.uint16)),
        "channels last": predictor(images[:6].permute(0, 2, 3, 1), channels_last=True),
    }
    for name, predictions in forms.items():
        assert abs(predictions.probabilities - expected).max() < 1e-5, name
    for one in (paths[0], grey[0], images[0], images[0].numpy(), [images[0]]):
        assert abs(predictor(one).probabilities - expected[:1]).max() < 1e-5
    assert len(predictor([])) == len(predictor(images[:0])) == 0


PHOTO = torch.randint(0, 256, (3, 50, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(5))
PICTURE_OF_FORMAT_1 = [
    *(0.203736, 0.182924, 0.05037, 0.227666, 0.09796, 0.070132, 0.061064, 0.041584, 0.035564, 0.029001),
]
"""What zoo 0.1 said of PHOTO as a file."""
CLASSES = {"model": "baseline", "params": {"hidden_units": 4}, "class_names": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("steps", "shape", "raw"),
    [
        ({}, (1, 28, 28), (1, 28, 28)),
        ({}, (3, 28, 28), (3, 28, 28)),
        ({"resize": (20, 24)}, (1, 20, 24), (1, 28, 28)),
        ({"resize": (64, 64), "channels": 3}, (3, 64, 64), (1, 28, 28)),
        ({"resize": 32, "crop": (24, 28), "interpolation": "bicubic"}, (3, 24, 28), (3, 40, 36)),
        ({"crop": (24, 28), "mean": (0.2,), "std": (0.3,)}, (1, 24, 28), (1, 32, 32)),
    ],
)
def test_a_picture_of_any_size_has_one_answer(steps, shape, raw, tmp_path: Path) -> None:
    torch.manual_seed(3)
    module = baseline.Baseline(input_shape=shape, num_classes=3, hidden_units=4)
    images = torch.randint(0, 256, (8, *raw), dtype=torch.uint8)
    path = tmp_path / "w.safetensors"
    zoo.save(module, path, input_shape=shape, preprocess=zoo.Preprocess(**steps), images=images, **CLASSES)
    predictor, colour = zoo.load(path), Image.fromarray(PHOTO.permute(1, 2, 0).numpy())
    colour.save(tmp_path / "colour.png"), colour.convert("L").save(tmp_path / "grey.png")
    grey = torch.from_numpy(numpy.array(colour.convert("L")))[None]
    for name, pixels in (("colour", PHOTO), ("grey", grey)):
        (expected,) = predictor(pixels).probabilities
        forms = {
            "file": predictor(tmp_path / f"{name}.png"),
            "PIL": predictor(Image.open(tmp_path / f"{name}.png")),
            "array": predictor(pixels.permute(1, 2, 0).numpy(), channels_last=True),
            "floats": predictor(pixels / 255, value_range=(0, 1)),
            "mixed": predictor([tmp_path / f"{name}.png", images, pixels]),
        }
        for form, predictions in forms.items():
            for row in (predictions.probabilities[0], predictions.probabilities[-1]):
                assert abs(row - expected).max() < 1e-6, (name, form)
        assert abs(forms["mixed"].probabilities[1:-1] - predictor(images).probabilities).max() < 1e-6


@pytest.mark.promise("P14")
def test_files_of_format_1_fit_and_round_pictures_as_ever(tmp_path: Path) -> None:
    fixtures = Path(__file__).parents[1] / "fixtures" / "weights"
    predictor = zoo.load(fixtures / "format-1-photos.safetensors")
    Image.fromarray(PHOTO.permute(1, 2, 0).numpy()).save(tmp_path / "photo.png")
    shape = predictor.image["shape"]
    fitted = Preprocess(scale=1, resize=shape[1:])(PHOTO[None]).round().to(torch.uint8)
    found = predictor(tmp_path / "photo.png").probabilities
    assert abs(found - predictor(fitted).probabilities).max() < 1e-6
    assert found[0].tolist() == pytest.approx(PICTURE_OF_FORMAT_1, abs=1e-4)
    # A file that is handed on stays what it was, and with it what it makes of a picture.
    zoo.convert(fixtures / "format-1-photos.safetensors", "baseline", output=tmp_path / "handed-on.safetensors")
    handed_on = zoo.load(tmp_path / "handed-on.safetensors", verify=True)
    assert handed_on.weights.format == 1 and (handed_on(tmp_path / "photo.png").probabilities == found).all()
    first = zoo.load(fixtures / "format-1-first.safetensors")
    with pytest.raises(DataError, match="Give the files or PIL images instead"):
        first(PHOTO[:1])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda x: x / 255, "dtype torch.float32: their range is not known. Say what black and white are"),
        (lambda x: x.permute(0, 2, 3, 1), "the channels come last. Say so: channels_last=True"),
        (lambda x: x[0, 0], "expected (1, 28, 28) or (N, 1, 28, 28), got (28, 28). Add the missing axis"),
        (lambda x: x[None], "got (1, 200, 1, 28, 28)"),
        (lambda x: x.expand(-1, 2, -1, -1), "got (200, 2, 28, 28)"),
        (lambda x: x.expand(-1, 4, -1, -1), "got (200, 4, 28, 28)"),
        (lambda x: x[..., :0], "got (200, 1, 28, 0)"),
        (lambda x: x.permute(0, 2, 3, 1)[:, :20], "the channels come last. Say so: channels_last=True"),
        (lambda x: torch.zeros(1, 1, 4, 2**21, dtype=torch.uint8), "a side may have 1048576 pixels at most"),
        (lambda x: x.long(), "images of dtype torch.int64: have no default range"),
        (lambda x: "missing.png", "missing.png"),
    ],
)
def test_what_is_not_clear_is_refused(change, text: str, trained: zoo.RunResult, images: torch.Tensor) -> None:
    with pytest.raises(DataError) as caught:
        zoo.load(trained.weights)(change(images))
    assert text in str(caught.value)


def test_a_prediction_is_in_float32_on_a_gpu_too(trained: zoo.RunResult, images: torch.Tensor) -> None:
    convolutions, seen = torch.backends.cudnn.conv, []
    predictor, before = zoo.load(trained.weights), convolutions.fp32_precision
    predictor.model.register_forward_hook(lambda *_: seen.append(convolutions.fp32_precision))
    predictor(images[:2])
    seen.clear()  # of the first call also the pass that tries the layout
    predictor(images[:2])
    assert seen == ["ieee"] != [before]
    assert convolutions.fp32_precision == before


def test_values_that_are_no_number_are_refused(trained: zoo.RunResult, images: torch.Tensor) -> None:
    predictor, broken = zoo.load(trained.weights), images / 255
    broken[3, 0, 5, 5] = float("nan")
    with pytest.raises(DataError, match="not finite"):
        predictor(broken, value_range=(0, 1))
    with pytest.raises(DataError, match="value_range"):
        predictor(images / 255, value_range=(1, 1))


@pytest.mark.slow
def test_weights_of_fashionmnist_give_the_same_8341_in_a_process_without_the_data(
    fashionmnist_root: Path, tmp_path: Path, warm_python: str
) -> None:
    result = zoo.run(dataset="fashionmnist", data_dir=fashionmnist_root)
    assert result.metrics["accuracy"] == 0.8341
    entry = Registry.discover().get("dataset", "fashionmnist")
    raw, targets = build_dataset(entry, root=fashionmnist_root, params={}).test
    numpy.savez(tmp_path / "test.npz", raw=raw.numpy(), targets=targets.numpy())
    for number in range(20):
        picture = Image.fromarray(raw[number, 0].numpy()).convert("RGB")
        picture.resize((140, 140), Image.Resampling.NEAREST).save(tmp_path / f"{number:02}.png")
    code = """
        import json, pathlib, sys
        import numpy
        import zoo
        test = numpy.load("test.npz")
        predictor = zoo.load(sys.argv[1], verify=True)
        predictions = predictor(test["raw"])
        pictures = predictor(sorted(pathlib.Path().glob("*.png")))
        print(json.dumps([int((predictions.indices == test["targets"]).sum()),
                          (pictures.labels == predictions.labels[:20]).tolist()]))
    """
    command = [warm_python, "-c", "\n".join(line.strip() for line in code.splitlines()), str(result.weights)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    right, same = json.loads(done.stdout)
    assert right == 8341
    assert same == [True] * 20


SHIPPED = [entry for entry in Registry.discover().list_entries("weights", "*") if entry.is_first_party]


@pytest.mark.slow
@pytest.mark.parametrize("entry", SHIPPED, ids=lambda entry: entry.name)
def test_shipped_weights_are_as_good_as_they_say(entry, fashionmnist_root: Path, monkeypatch) -> None:
    reference = f"{entry.spec.model}@{entry.spec.dataset}"
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    checks = zoo.verify(entry.name).checks
    assert checks["golden samples"].startswith("8 replayed")
    found = zoo.evaluate(reference, data_dir=fashionmnist_root)
    assert found.samples == 10_000
    assert {name: round(value, 4) for name, value in found.metrics.items()} == dict(entry.spec.metrics)
    assert f"{round(found.metrics['accuracy'] * 10_000)} of 10,000 right" in entry.spec.description
    # Until there was `decay_all`, all parameters were decayed.
    settings = {"decay_all": True, **zoo.load(reference).metadata["train_config"]}
    registry = Registry.discover()
    recipe = re.search(r"^zoo run --recipe (\S+): ", entry.spec.description)
    maker = registry.get("recipe", recipe[1]) if recipe else registry.get("model", entry.spec.model)
    assert {name: settings[name] for name in maker.spec.train} == dict(maker.spec.train), "made by this command"
    if recipe:
        assert {name: round(value, 4) for name, value in maker.spec.expect.items()} == dict(entry.spec.metrics)
        assert (maker.spec.model, maker.spec.dataset) == (entry.spec.model, entry.spec.dataset)


@pytest.mark.slow
def test_the_shipped_baseline_is_what_its_command_gives(fashionmnist_root: Path) -> None:
    result = zoo.run("baseline", "fashionmnist", data_dir=fashionmnist_root, threads=1)
    ours, shipped = zoo.load_model(result.weights).state_dict(), zoo.load_model("baseline-fashionmnist").state_dict()
    assert all(torch.allclose(ours[name], shipped[name], atol=1e-4) for name in shipped)


def warned(caplog: pytest.LogCaptureFixture, call) -> bool:
    caplog.clear()
    call()
    return any("may be not what" in message for message in caplog.messages)


def test_inverted_and_wrongly_scaled_batches_are_noticed(
    fashionmnist_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    predictor = zoo.load(zoo.run(dataset="fashionmnist", data_dir=fashionmnist_root, epochs=0).weights)
    entry = Registry.discover().get("dataset", "fashionmnist")
    raw, targets = build_dataset(entry, root=fashionmnist_root, params={}).test
    order = torch.randperm(len(raw), generator=torch.Generator().manual_seed(0))
    batches = [raw[part] for part in order[:6400].split(32)]
    wrong = {
        "inverted": lambda x: predictor(255 - x),
        "divided twice": lambda x: predictor(x / 255, value_range=(0, 255)),
        "not divided": lambda x: predictor(x.float(), value_range=(0, 1)),
        "symmetric": lambda x: predictor(x / 127.5 - 1, value_range=(0, 1)),
        "half as bright": lambda x: predictor(x // 2),
    }
    with caplog.at_level(logging.WARNING, "zoo"):
        for name, call in wrong.items():
            caught = sum(warned(caplog, lambda batch=batch, call=call: call(batch)) for batch in batches)
            assert caught >= 0.99 * len(batches), name
        clean = sum(warned(caplog, lambda batch=batch: predictor(batch)) for batch in batches)
        assert clean <= 0.01 * len(batches)
        # All of one class is no random batch, and nothing is wrong with it.
        assert not [c for c in range(10) if warned(caplog, lambda c=c: predictor(raw[targets == c][:32]))]


@pytest.mark.parametrize("dataset", ["fashionmnist", "shapes"])
def test_a_single_wrong_picture_is_noticed_and_a_clean_one_is_not(
    dataset: str, fashionmnist_root: Path, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    result = zoo.run(dataset=dataset, data_dir=fashionmnist_root, epochs=0, runs_dir=tmp_path)
    predictor = zoo.load(result.weights)
    raw, _ = build_dataset(Registry.discover().get("dataset", dataset), root=fashionmnist_root, params={}).test
    raw = raw[torch.randperm(len(raw), generator=torch.Generator().manual_seed(1))[:800]]
    wrong = {
        "inverted": lambda x: predictor(255 - x),
        "divided twice": lambda x: predictor(x / 255, value_range=(0, 255)),
        "not divided": lambda x: predictor(x.float(), value_range=(0, 1)),
        "symmetric": lambda x: predictor(x / 127.5 - 1, value_range=(0, 1)),
        "from a half to one": lambda x: predictor(x / 255, value_range=(-1, 1)),
    }
    with caplog.at_level(logging.WARNING, "zoo"):
        for name, call in wrong.items():
            assert sum(warned(caplog, lambda image=image, call=call: call(image)) for image in raw[:100]) >= 90, name
        assert sum(warned(caplog, lambda image=image: predictor(image)) for image in raw) <= 8
    rates = predictor.weights.statistics.warned
    assert rates["clean"] <= 0.01 and min(rates[name] for name in ("inverted", "unscaled", "scaled twice")) >= 0.9


def test_a_warning_does_not_block_the_answer(trained: zoo.RunResult, images: torch.Tensor, caplog) -> None:
    predictor = zoo.load(trained.weights)
    with caplog.at_level(logging.WARNING, "zoo"):
        predictions = predictor(images.float(), value_range=(0, 1))
    (message,) = caplog.messages
    assert "baseline" in message and "they look unscaled: values of 0 to " in message
    assert len(predictions) == 200


@pytest.fixture
def copy(trained: zoo.RunResult, tmp_path: Path) -> Path:
    return Path(shutil.copy(trained.weights, tmp_path / "copy.safetensors"))


def rewrite(path: Path, change) -> None:
    """Change the metadata by hand, and leave all digests as they were."""
    header = read_header(path)
    change(header.metadata)
    tensors = safetensors.torch.load_file(path, backend="pread")
    safetensors.torch.save_file(tensors, path, metadata={"zoo": json.dumps(header.metadata)})


def reseal(path: Path, change) -> None:
    """Change the metadata and save them with digests that fit: only the golden samples can tell."""
    header = read_header(path)
    change(header.metadata)
    model = nn.Module()
    for name, value in safetensors.torch.load_file(path, backend="pread").items():
        parent = model
        for part in name.split(".")[:-1]:
            if not hasattr(parent, part):
                parent.add_module(part, nn.Module())
            parent = getattr(parent, part)
        parent.register_buffer(name.rpartition(".")[2], value)
    header.metadata.pop("digests")
    save_table(path, model, header.metadata)


def swap(metadata: dict) -> None:
    names = metadata["class_names"]
    names[3], names[5] = names[5], names[3]


def swap_used(metadata: dict) -> None:
    used = metadata["class_names"].index(metadata["golden"]["labels"][0])
    other = (used + 1) % 10
    names = metadata["class_names"]
    names[used], names[other] = names[other], names[used]


def refused(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        zoo.verify(path)
    with pytest.raises(WeightsError):
        zoo.load(path, verify=True)
    return str(caught.value)


def test_a_good_file_is_verified(trained: zoo.RunResult) -> None:
    checks = zoo.verify(trained.run).checks
    assert checks["header"].startswith("format 2, 4 tensors, ")
    assert checks["digests"] == "tensors, model, params, input_shape, image, class_names, preprocess"
    assert checks["golden samples"].startswith("8 replayed, probabilities within ")


@pytest.mark.promise("P4")
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (swap, "class_names"),
        (lambda m: m["preprocess"].update(mean=[0.1], std=[1.0]), "preprocess"),
        (lambda m: m["preprocess"].update(scale=254.0), "preprocess"),
        (lambda m: m["params"].update(hidden_units=11), "params"),
        (lambda m: m.update(model="relu-mlp"), "model"),
        (lambda m: m["image"].update(range=[0, 254]), "image"),
    ],
)
def test_a_change_of_the_metadata_is_caught_and_named(change, name: str, copy: Path) -> None:
    rewrite(copy, change)
    assert refused(copy).endswith(f"has changed since it was saved: its {name} is not what was saved")


@pytest.mark.promise("P4")
def test_any_byte_of_the_tensors_is_watched(copy: Path) -> None:
    whole = copy.read_bytes()
    start = 8 + struct.unpack("<Q", whole[:8])[0]
    for place in (start, start + 1, (start + len(whole)) // 2, len(whole) - 1):
        changed = bytearray(whole)
        changed[place] ^= 1
        copy.write_bytes(changed)
        assert "its tensors is not what was saved" in refused(copy).replace("are not", "is not")


@pytest.mark.promise("P4")
@pytest.mark.parametrize(
    ("change", "text"),
    [
        (swap_used, "class_names: class"),
        (lambda m: m["preprocess"].update(mean=[0.1], std=[1.0]), "a probability of its golden samples is off by"),
        (lambda m: m["preprocess"].update(scale=200.0), "a probability of its golden samples is off by"),
        (lambda m: m.update(model="relu-mlp"), "lacks 2 of 4 tensors"),
        (lambda m: m["params"].update(hidden_units=11), "in the model"),
    ],
)
def test_the_golden_samples_tell_what_digests_do_not(change, text: str, copy: Path) -> None:
    reseal(copy, lambda metadata: None)
    zoo.verify(copy)
    reseal(copy, change)
    assert text in refused(copy)


def move_probability(by: float):
    """Return a change of the metadata that moves one probability of the first golden sample, and another back."""

    def change(metadata: dict) -> None:
        row = metadata["golden"]["probabilities"][0]
        first, second = sorted(range(len(row)), key=row.__getitem__)[-2:]
        row[first], row[second] = row[first] - by, row[second] + by

    return change


@pytest.mark.parametrize(("by", "right"), [(1e-3, False), (2e-4, False), (1e-5, True)])
def test_a_golden_probability_may_be_off_by_a_ten_thousandth(by: float, right: bool, copy: Path) -> None:
    reseal(copy, move_probability(by))
    if right:
        assert zoo.verify(copy).checks["golden samples"].startswith("8 replayed")
    else:
        assert f"off by {by:.1g}"[:9] in refused(copy)


class Baseline(nn.Module):
    """The registered model's twin, as another program would have it."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layer_stack = nn.Sequential(nn.Flatten(), *layers)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layer_stack(inputs)


def test_saving_what_was_trained_elsewhere(images: torch.Tensor, tmp_path: Path) -> None:
    torch.manual_seed(3)
    net = Baseline(nn.Linear(784, 10), nn.Linear(10, 4))
    preprocess = zoo.Preprocess(mean=(0.3,), std=(0.2,))
    names = ["a", "b", "c", "d"]
    facts = {"model": "baseline", "input_shape": (1, 28, 28), "class_names": names, "preprocess": preprocess}
    path = zoo.save(net, tmp_path / "net.safetensors", **facts, images=images, metrics={"accuracy": 0.5}, seed=3)
    predictor = zoo.load(path, verify=True)
    with torch.no_grad():
        expected = net.layer_stack(preprocess(images)).softmax(dim=1)
    assert torch.allclose(torch.from_numpy(predictor(images).probabilities), expected, atol=1e-6)
    assert (predictor.class_names, predictor.metadata["metrics"]) == (tuple(names), {"accuracy": 0.5})
    assert "statistics" in predictor.metadata
    # Without images the proof is noise, and there is nothing to compare inputs with.
    zoo.verify(zoo.save(net, tmp_path / "noise.safetensors", **facts))
    assert "statistics" not in read_header(tmp_path / "noise.safetensors").metadata

    good = path.read_bytes()
    for change, text in (
        ({"params": {"hidden_units": 12}}, "in the model"),
        ({"model": "relu-mlp"}, "was not saved: the file lacks 2 of 4 tensors"),
        ({"class_names": names[:3]}, "needs float logits of 2x3 for inputs of 2x1x28x28, got 2x4"),
    ):
        with pytest.raises((WeightsError, UsageError), match=text):
            zoo.save(net, path, **{**facts, **change}, images=images)
        assert path.read_bytes() == good
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".")] == []


def test_a_model_that_keeps_something_elsewhere_is_not_taken_for_proven(tmp_path: Path, caplog) -> None:
    plugin = tmp_path / "forgetful.py"
    plugin.write_text(
        "import torch\nimport zoo\n\n\n@zoo.model(name='forgetful')\nclass Forgetful(torch.nn.Module):\n"
        "    def __init__(self, *, input_shape, num_classes):\n        super().__init__()\n"
        "        self.linear, self.calls = torch.nn.Linear(784, num_classes), 0.0\n\n"
        "    def forward(self, inputs):\n        self.calls += self.training\n"
        "        return self.linear(inputs.flatten(1)) * (1 + self.calls)\n"
    )
    with caplog.at_level(logging.WARNING, "zoo"):
        result = zoo.run("forgetful", epochs=1, dataset_params=SIZES, plugins=[plugin])
    assert "it keeps something outside its state dict" in caplog.text
    assert zoo.verify(result.weights, plugins=[plugin]).checks["golden samples"].startswith("none in this file")


def test_images_too_large_for_the_file_are_kept_with_a_stride(tmp_path: Path) -> None:
    big = torch.randint(0, 256, (3, 3, 700, 500), dtype=torch.uint8)
    path = zoo.save(
        Baseline(nn.Linear(3 * 700 * 500, 2), nn.Linear(2, 3)),
        tmp_path / "big.safetensors",
        model="baseline",
        params={"hidden_units": 2},
        input_shape=(3, 700, 500),
        class_names=["a", "b", "c"],
        images=big,
    )
    golden = read_header(path).metadata["golden"]
    assert golden["stride"] > 1 and len(json.dumps(golden)) < 256 * 1024
    zoo.verify(path)


# Written once, by the releases and in the forms their names say; a file is added, never replaced.
KEPT = {
    "format-1-first": [9, 6, 9, 9],
    "format-1-proven": [9, 6, 9, 9],
    "format-1-photos": [1, 3, 9, 1],
    "format-2-crop": [1, 0, 1, 0],
}


@pytest.mark.promise("P14")
@pytest.mark.parametrize("name", KEPT)
def test_files_of_every_release_load_for_ever(name: str) -> None:
    path = Path(__file__).parents[1] / "fixtures" / "weights" / f"{name}.safetensors"
    predictor = zoo.load(path, verify=True)
    generator = torch.Generator().manual_seed(7)
    shape = (4, *predictor.image["shape"])
    raw = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    raw[1] //= 4
    raw[2, ..., :10] = 255
    assert predictor(raw).indices.tolist() == KEPT[name]


@pytest.mark.promise("P14")
def test_every_kept_file_is_tested() -> None:
    assert {path.stem for path in (Path(__file__).parents[1] / "fixtures" / "weights").iterdir()} == set(KEPT)
