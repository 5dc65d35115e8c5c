"""Features of images: which they are for each kind of model, and the file that keeps them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest
import safetensors
import safetensors.numpy
import timm
import torch
import torchvision
from PIL import Image
from torch import nn

import zoo
from zoo.cli.main import main
from zoo.records.header import read_header

NETS = """
import torch
import zoo
from torch import nn


@zoo.model(name="net")
class Net(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.aside = nn.Linear(6, 6)
        self.fc = nn.Linear(6, num_classes)

    def forward(self, inputs):
        return self.fc(self.body(inputs) + self.aside(self.body(inputs)))


@zoo.model(name="own")
class Own(Net):
    def forward_features(self, inputs):
        return self.body(inputs)

    def forward_head(self, features, pre_logits: bool = False):
        return features * 2 if pre_logits else self.fc(features * 2)

    def forward(self, inputs):
        return self.forward_head(self.forward_features(inputs))


@zoo.model(name="twice")
class Twice(Net):
    def __init__(self, *, input_shape, num_classes):
        super().__init__(input_shape=input_shape, num_classes=num_classes)
        self.first, self.fc = nn.Linear(6, num_classes), nn.Linear(num_classes, num_classes)

    def forward(self, inputs):
        return self.fc(self.fc(self.first(self.body(inputs))))


@zoo.model(name="tokens")
class Tokens(Net):
    def forward(self, inputs):
        return self.fc(self.body[0](inputs).flatten(2).transpose(1, 2)).mean(dim=1)


@zoo.model(name="distances")
class Distances(Net):
    def __init__(self, *, input_shape, num_classes):
        super().__init__(input_shape=input_shape, num_classes=num_classes)
        self.centres = nn.Parameter(torch.rand(num_classes, 6))
        self.fc = nn.Identity()

    def forward(self, inputs):
        return -torch.cdist(self.aside(self.body(inputs)), self.centres)
"""
SHAPE = (3, 32, 32)
PREPROCESS = zoo.Preprocess(resize=(32, 32), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


@pytest.fixture(scope="module")
def nets(tmp_path_factory):
    """Return a folder with the plugin file, weights of each of its models, and pictures."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "nets.py").write_text(NETS, encoding="utf-8")
    options = {"plugins": [str(folder / "nets.py")], "input_shape": SHAPE}
    for name in ("net", "own", "twice", "tokens", "distances"):
        made = zoo.create_model(f"nets/{name}", num_classes=5, seed=1, **options)
        file = folder / f"{name}.safetensors"
        zoo.save(made, file, model=f"nets/{name}", class_names=list("abcde"), preprocess=PREPROCESS, **options)
    pictures = folder / "pictures"
    (pictures / "more").mkdir(parents=True)
    for number, (name, size) in enumerate({"b.png": (40, 30), "a.png": (64, 64), "more/c.jpg": (33, 50)}.items()):
        pixels = numpy.random.default_rng(number).integers(256, size=(*size[::-1], 3), dtype=numpy.uint8)
        Image.fromarray(pixels).save(pictures / name)
    (pictures / "bad.png").write_bytes(b"no picture")
    return SimpleNamespace(folder=folder, pictures=pictures, plugin=str(folder / "nets.py"))


def load(nets, name):
    return zoo.load(nets.folder / f"{name}.safetensors", plugins=[nets.plugin])


def make_images(count=3):
    return torch.randint(256, (count, 3, 48, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


# Which features


def test_the_features_are_what_goes_into_the_last_linear_layer(nets):
    predictor = load(nets, "net")
    found = predictor.embed(make_images())
    assert found.shape == (3, 6) and found.dtype == numpy.float32
    with torch.inference_mode():
        inputs, model = PREPROCESS(make_images()), predictor.model
        logits = torch.from_numpy(found) @ model.fc.weight.T + model.fc.bias
        assert torch.allclose(logits, model(inputs), atol=1e-5)
    assert (predictor.features.layer, predictor.features.width) == ("fc", 6)
    assert torch.allclose(logits.softmax(dim=1), torch.from_numpy(predictor(make_images()).probabilities), atol=1e-6)
    assert predictor.embed([]).shape == (0, 6)
    as_floats = predictor.embed(make_images() / 255, value_range=(0, 1))
    assert numpy.allclose(as_floats, found, atol=1e-5)


def test_of_several_linear_layers_the_last_one_that_ran_counts(nets):
    predictor = load(nets, "twice")
    model = predictor.model
    with torch.inference_mode():
        expected = model.fc(model.first(model.body(PREPROCESS(make_images()))))
    assert torch.allclose(torch.from_numpy(predictor.embed(make_images())), expected, atol=1e-6)
    assert predictor.features.layer == "fc"


def test_a_model_with_features_of_its_own_gives_those(nets):
    predictor = load(nets, "own")
    with torch.inference_mode():
        expected = predictor.model.body(PREPROCESS(make_images())) * 2
    assert torch.allclose(torch.from_numpy(predictor.embed(make_images())), expected, atol=1e-6)
    assert (predictor.features.layer, predictor.features.width) == ("forward_head(pre_logits=True)", 6)


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet"])
def test_models_of_timm_give_the_features_of_timm(tmp_path, name):
    made = timm.create_model(name, num_classes=4).eval()
    options = {"model": f"timm/{name}", "input_shape": (3, 160, 160), "class_names": list("abcd")}
    zoo.save(made, tmp_path / "w.safetensors", **options)
    images = torch.randint(256, (2, 3, 160, 160), dtype=torch.uint8)
    with torch.inference_mode():
        expected = made.forward_head(made.forward_features(images / 255), pre_logits=True)
    predictor = zoo.load(tmp_path / "w.safetensors")
    assert predictor.features.width == made.head_hidden_size
    assert torch.allclose(torch.from_numpy(predictor.embed(images)), expected, atol=1e-5)


def test_a_head_of_1x1_convolution_gives_the_mean_over_its_places(tmp_path):
    made = torchvision.models.squeezenet1_1(num_classes=4).eval()
    options = {"model": "torchvision/squeezenet1_1", "input_shape": (3, 64, 64), "class_names": list("abcd")}
    zoo.save(made, tmp_path / "w.safetensors", **options)
    predictor = zoo.load(tmp_path / "w.safetensors")
    images = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        expected = made.features(images / 255).mean(dim=(2, 3))
    assert (predictor.features.layer, predictor.features.width) == ("classifier.1", 512)
    assert torch.allclose(torch.from_numpy(predictor.embed(images)), expected, atol=1e-5)


def test_tokens_are_averaged(nets):
    predictor = load(nets, "tokens")
    with torch.inference_mode():
        expected = predictor.model.body[0](PREPROCESS(make_images())).mean(dim=(2, 3))
    assert torch.allclose(torch.from_numpy(predictor.embed(make_images())), expected, atol=1e-5)


def test_a_model_without_linear_head_has_none_and_is_saved_all_the_same(nets, capsys):
    file = nets.folder / "distances.safetensors"
    assert "features" not in read_header(file).metadata
    with pytest.raises(zoo.UsageError, match=r"no nn\.Linear and no convolution of 1x1 gives its 5 logits") as caught:
        zoo.embed(file, make_images(), plugins=[nets.plugin])
    assert "the last one with parameters is aside, a Linear" in str(caught.value)
    assert "forward_features(inputs)" in caught.value.fix
    options = ["--output", str(nets.folder / "no.safetensors"), "--plugin", nets.plugin]
    assert main(["embed", str(file), str(nets.pictures / "a.png"), *options]) == 2
    assert not (nets.folder / "no.safetensors").exists()


# What weights say of them


def test_show_says_the_width_and_imports_nothing_heavy(nets):
    code = (
        "import sys; from zoo.cli.main import main; code = main(['show', sys.argv[1]]);"
        "print(code, sorted({'torch', 'numpy', 'safetensors'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, str(nets.folder / "net.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "  features        6 from fc\n" in done.stdout
    assert done.stdout.splitlines()[-1] == "0 []"
    assert load(nets, "own").metadata["features"] == {"layer": "forward_head(pre_logits=True)", "width": 6}


def test_a_trained_model_says_it_too(tmp_path):
    run = zoo.run(model="tinyvgg", dataset_params={"train_size": 20, "test_size": 20}, epochs=0, runs_dir=tmp_path)
    width = read_header(run.weights).metadata["features"]["width"]
    assert width == zoo.load(run.weights).embed(torch.zeros(1, 1, 28, 28, dtype=torch.uint8)).shape[1] > 10


# The file


def embed(nets, *images, output="features.safetensors", name="net"):
    command = ["embed", str(nets.folder / f"{name}.safetensors"), *map(str, images), "--plugin", nets.plugin]
    return main([*command, "--output", output])


def test_the_command_writes_what_can_be_read_and_names_the_rest(nets, own_folder, capsys):
    assert embed(nets, nets.pictures) == 3
    printed = capsys.readouterr()
    assert printed.out == "3 images, 6 features each, from fc of nets/net\nembeddings: features.safetensors\n"
    assert "bad.png': not an image" in printed.err and len(printed.err.splitlines()) == 1
    with safetensors.safe_open("features.safetensors", "numpy") as file:
        assert [*file.keys()] == ["features"]
        features, told = file.get_tensor("features"), file.metadata()
    paths = [str(nets.pictures / name) for name in ("a.png", "b.png", "more/c.jpg")]
    assert json.loads(told["paths"]) == paths
    weights = nets.folder / "net.safetensors"
    digest = read_header(weights).metadata["digests"]["tensors"]
    facts = {"reference": str(weights), "model": "nets/net", "digest": digest, "layer": "fc"}
    assert json.loads(told["zoo"]) == {"format": 1, "embeddings": facts}
    assert numpy.array_equal(features, load(nets, "net").embed(paths))
    made = zoo.embed(weights, paths, plugins=[nets.plugin])
    assert numpy.array_equal(made.features, features) and made.paths == tuple(paths) and len(made) == 3
    assert vars(made.origin) == facts and "3 x 6 of nets/net" in repr(made)
    made.save("again.safetensors")
    assert Path("again.safetensors").read_bytes() == Path("features.safetensors").read_bytes()
    assert zoo.embed(weights, make_images(), plugins=[nets.plugin]).paths == ()
    assert main(["show", "features.safetensors"]) == 4
    assert "features.safetensors holds embeddings, not weights" in capsys.readouterr().err


def test_where_nothing_can_be_read_there_is_no_file(nets, own_folder, capsys):
    assert embed(nets, nets.pictures / "bad.png") == 3
    assert not Path("features.safetensors").exists()
    assert embed(nets, nets.pictures / "a.png", output="none/features.safetensors") == 7
    assert "cannot save embeddings to none/features.safetensors" in capsys.readouterr().err
    assert embed(nets, nets.pictures / "a.png", output="features.npy") == 2
    assert "--output: expected the name of a .safetensors file" in capsys.readouterr().err


def test_stdin_is_one_image_and_json_says_what_was_made(nets, own_folder, capsys, monkeypatch):
    data = (nets.pictures / "a.png").read_bytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    command = ["embed", str(nets.folder / "net.safetensors"), "-", "--plugin", nets.plugin, "--json"]
    assert main([*command, "--output", "x.safetensors"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["images"], told["width"], told["output"]) == (1, 6, "x.safetensors")
    assert read_header(Path("x.safetensors")).tensors["features"].shape == (1, 6)


def test_names_that_do_not_fit_the_header_are_refused(nets, own_folder, monkeypatch):
    monkeypatch.setattr("zoo.models.embedding.MAX_PATHS", 30)
    assert embed(nets, nets.pictures / "a.png") == 2
    made = zoo.embed(nets.folder / "net.safetensors", nets.pictures / "a.png", plugins=[nets.plugin])
    with pytest.raises(zoo.UsageError, match="Embed them in parts"):
        made.save("features.safetensors")
    assert not Path("features.safetensors").exists()


def test_features_that_are_not_finite_are_refused(nets, own_folder):
    predictor = load(nets, "own")
    nn.init.constant_(predictor.model.body[0].bias, float("inf"))
    with pytest.raises(zoo.WeightsError, match="it gives features that are not finite"):
        predictor.embed(make_images())
