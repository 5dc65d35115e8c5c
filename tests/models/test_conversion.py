"""State dicts of other programs made zoo weights: what is taken, what is refused and in which words."""

from __future__ import annotations

import argparse
import ast
import gzip
import hashlib
import json
import os
import pickle
import zipfile
from pathlib import Path

import numpy
import pytest
import safetensors.torch
import torch
from conftest import ROOT
from torch import nn

import zoo
from zoo.cli.main import main
from zoo.errors import describe

NET = """
import zoo
from torch import nn


@zoo.model(name="net", input_shape=(3, "*", "*"))
class Net(nn.Module):
    def __init__(self, *, input_shape, num_classes, width: int = 4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.fc = nn.Linear(width, num_classes)

    def forward(self, inputs):
        return self.fc(self.body(inputs).flatten(1))


@zoo.model(name="wrapped")
class Wrapped(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.net = Net(**options)

    def forward(self, inputs):
        return self.net(inputs)


@zoo.model(name="tied")
class Tied(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        self.second.weight = self.first.weight
        self.fc = nn.Linear(3, num_classes)

    def forward(self, inputs):
        return self.fc(self.second(self.first(inputs)).mean(dim=(2, 3)))
"""
SHAPE = (3, 16, 16)
PREPROCESS = zoo.Preprocess(resize=20, crop=(16, 16), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
OPTIONS = ["--model", "net", "--plugin", "net.py", "--output", "new.safetensors"]


@pytest.fixture
def net(own_folder: Path) -> nn.Module:
    """Return a model that was trained elsewhere, five classes; the current folder has its plugin."""
    (own_folder / "net.py").write_text(NET, encoding="utf-8")
    torch.manual_seed(3)
    made = zoo.create_model("net", input_shape=SHAPE, num_classes=5, plugins=["net.py"])
    made.body[1](torch.randn(8, 4, 6, 6) * 3 + 1)  # gives the normalisation statistics of its own
    return made.eval()


def convert(file, model="net", **options):
    options = {"input_shape": SHAPE, "output": "new.safetensors", "plugins": ["net.py"], **options}
    return zoo.convert(file, model, **options)


def predict(net, pixels, preprocess=PREPROCESS):
    with torch.inference_mode():
        return net(preprocess(pixels)).softmax(dim=1)


def refuse(error, file, **options):
    """Return what is said of a file that cannot be converted; no file may be written."""
    with pytest.raises(error) as caught:
        convert(file, **options)
    assert not Path("new.safetensors").exists()
    assert str(caught.value).isprintable()
    return str(caught.value)


def save_legacy(state, path):
    torch.save(state, path, _use_new_zipfile_serialization=False)


SAVERS = {"new.pth": torch.save, "old.pt": save_legacy, "plain.safetensors": safetensors.torch.save_file}
NESTED = {
    "alone": lambda state: state,
    "trainer": lambda state: {"epoch": 3, "state_dict": state, "optimizer": {"state": {0: {"step": torch.ones(1)}}}},
    "own word": lambda state: {"student": state, "epoch": 3, "losses": {"train": [0.5]}},
    "deep": lambda state: {"checkpoint": {"model_state_dict": state, "loss": torch.tensor(0.1)}},
    "average": lambda state: {"model": {name: value + 1 for name, value in state.items()}, "model_ema": state},
}


@pytest.mark.parametrize("saver", SAVERS)
def test_the_new_file_predicts_as_the_model_did(net, saver):
    SAVERS[saver](net.state_dict(), saver)
    made = convert(saver, preprocess=PREPROCESS, class_names=list("abcde"))
    assert (made.was, made.model, made.samples, made.difference) == (saver, "net/net", 8, None)
    assert made.taken.tensors == 9 and made.taken.beginning == ("", "")
    predictor = zoo.load("new.safetensors", plugins=["net.py"], verify=True)
    pixels = torch.randint(256, (2, 3, 30, 40), dtype=torch.uint8)
    expected = predict(net, pixels)
    found = predictor(pixels)
    assert torch.allclose(torch.from_numpy(found.probabilities), expected, atol=1e-6)
    assert found[0].label == "abcde"[expected[0].argmax()]
    digest = hashlib.sha256(Path(saver).read_bytes()).hexdigest()
    origin = predictor.metadata["converted_from"]
    assert (Path(origin["path"]).name, origin["digest"], origin["model"]) == (saver, digest, "")
    assert f"{saver}, the file of another program with SHA-256 {digest}" in repr(
        zoo.show("new.safetensors", plugins=["net.py"])
    )


@pytest.mark.parametrize("nested", NESTED)
def test_the_state_dict_of_a_checkpoint_is_found(net, nested):
    torch.save(NESTED[nested](net.state_dict()), "checkpoint.ckpt")
    taken = convert("checkpoint.ckpt").taken
    found = {"alone": "", "trainer": "state_dict", "own word": "student", "average": "model_ema"}
    assert taken.key == found.get(nested, "checkpoint/model_state_dict")
    assert taken.other_keys == (("model",) if nested == "average" else ())
    new = zoo.load_model("new.safetensors", plugins=["net.py"]).state_dict()
    assert all(torch.equal(new[name], value) for name, value in net.state_dict().items())


def test_a_key_says_which_state_dict_is_meant(net):
    state = net.state_dict()
    torch.save({"teacher": state, "student": {name: value + 1 for name, value in state.items()}}, "two.pth")
    assert "it has tensors under 'teacher', 'student'. Say which: key=..." in refuse(zoo.WeightsError, "two.pth")
    assert "Did you mean 'teacher'?" in refuse(zoo.SettingError, "two.pth", key="teachr")
    assert convert("two.pth", key="student").taken.key == "student"
    new = zoo.load_model("new.safetensors", plugins=["net.py"]).state_dict()
    assert torch.equal(new["fc.bias"], state["fc.bias"] + 1)


@pytest.mark.parametrize(
    ("model", "begin", "told"),
    [
        ("net", "module.", ("module.", "")),
        ("net", "_orig_mod.module.model.", ("_orig_mod.module.model.", "")),
        ("wrapped", "", ("", "net.")),
        ("wrapped", "net.", ("", "")),
        ("wrapped", "backbone.", ("backbone.", "net.")),
    ],
)
def test_what_all_names_begin_with_is_found(net, model, begin, told):
    torch.save({f"{begin}{name}": value for name, value in net.state_dict().items()}, "begin.pth")
    assert convert("begin.pth", model).taken.beginning == told
    new = zoo.load_model("new.safetensors", plugins=["net.py"])
    inputs = torch.rand(2, *SHAPE)
    assert torch.equal(new(inputs), net(inputs))


def test_what_is_called_otherwise_is_named_and_renamed(net):
    state = {name.replace("fc.", "head.").replace("body.1.", "body.norm."): v for name, v in net.state_dict().items()}
    torch.save({**state, "fc2.weight": torch.ones(2)}, "renamed.pth")
    said = refuse(zoo.WeightsError, "renamed.pth")
    assert "lacks 6 of 9 tensors: body.1.weight (body.norm.weight is near)" in said
    assert "Say what is called otherwise with rename=..., as body.norm=body.1 and head=fc" in said
    rename = {"head": "fc", "body.norm.": "body.1"}
    said = refuse(zoo.WeightsError, "renamed.pth", rename=rename)
    assert "1 are not of the model: fc2.weight. Leave them out with drop=..., as fc2" in said
    taken = convert("renamed.pth", rename=rename, drop=["fc2"]).taken
    assert taken.left_out == ("fc2.weight",)
    new = zoo.load_model("new.safetensors", plugins=["net.py"])
    assert torch.equal(new.fc.weight, net.fc.weight)
    Path("new.safetensors").unlink()
    assert "no tensor of the file is called so, nor begins so, got 'hea'" in refuse(
        zoo.SettingError, "renamed.pth", rename={"hea": "fc"}
    )
    assert "got 'fc3'" in refuse(zoo.SettingError, "renamed.pth", drop=["fc3"])
    assert "two tensors would be called 'fc2.weight'" in refuse(
        zoo.UsageError, "renamed.pth", rename={"head": "fc2", "body.norm": "body.1"}
    )


def test_of_two_networks_in_one_state_dict_one_must_be_left_out(net):
    both = {f"{side}.{name}": value for side in ("query", "key") for name, value in net.state_dict().items()}
    torch.save(both, "both.pth")
    assert "Leave them out with drop=..., as key" in refuse(zoo.WeightsError, "both.pth")
    assert convert("both.pth", drop=["key"]).taken.beginning == ("query.", "")


def test_a_file_of_another_model_is_told_as_such(net):
    torch.save(nn.ModuleDict({"stem": nn.Conv2d(3, 9, 5), "tail": nn.Linear(9, 2)}).state_dict(), "other.pth")
    said = refuse(zoo.WeightsError, "other.pth")
    assert "lacks 8 of 9 tensors: body.0.weight, body.0.bias, body.1.weight" in said
    assert said.endswith("It may be of another model, or of other params")


def test_counters_of_tools_are_left_out_and_those_of_batches_may_be_missing(net):
    state = {f"module.{name}": value for name, value in net.state_dict().items() if not name.endswith("tracked")}
    torch.save({**state, "n_averaged": torch.tensor(3), "module.fc.total_ops": torch.zeros(1).double()}, "average.pth")
    taken = convert("average.pth").taken
    assert taken.left_out == ("n_averaged", "module.fc.total_ops") and taken.missing == ("body.1.num_batches_tracked",)
    assert taken.beginning == ("module.", "")


def test_shapes_that_differ_are_named(net):
    torch.save(net.state_dict(), "net.pth")
    said = refuse(zoo.WeightsError, "net.pth", params={"width": 6})
    assert "7 tensors have other shapes: body.0.weight is (4, 3, 3, 3), not (6, 3, 3, 3); " in said
    assert "is (4,), not (6,) and 2 more. It may be of other params" in said


# Classes

FIVE = ["cat", "dog", "an apple", "crane", "crane"]
NAMES = {
    "names.txt": "cat\ndog\nan apple\ncrane\ncrane\n\n",
    "list.json": json.dumps(FIVE),
    "table.json": json.dumps({"1": "dog", "0": "cat", "2": "an apple", "3": "crane", "4": "crane"}),
    "pairs.json": json.dumps({str(n): [f"n{n}", name] for n, name in enumerate(FIVE)}),
    "hub.json": json.dumps({"id2label": dict(zip("01234", FIVE, strict=True))}),
    "rows.csv": "4,crane\n0,cat\n1,dog\n2,an apple\n3,crane\n",
    "head.csv": "label,name,index\nx,cat,0\nx,dog,1\nx,an apple,2\nx,crane,3\nx,crane,4\n".replace("label", "code"),
    "column.tsv": "cat\r\ndog\r\nan apple\r\ncrane\r\ncrane\r\n",
    "bom.txt": "\ufeffcat\r\n dog \r\nan apple\ncrane\ncrane",
}


@pytest.mark.parametrize("file", NAMES)
def test_class_names_are_read_in_each_form(net, file):
    torch.save(net.state_dict(), "net.pth")
    Path(file).write_bytes(NAMES[file].encode())
    taken = convert("net.pth", class_names=file).taken
    assert taken.class_names == ("cat", "dog", "an apple", "crane", "crane") and taken.named


@pytest.mark.parametrize(
    ("file", "text", "why"),
    [
        ("few.txt", "a\nb", "class_names: expected 5 names, as fc.weight of the file is (5, 4), got 2"),
        ("gap.txt", "a\n\nc\nd\ne\n", "gap.txt: class 1 has no name"),
        ("empty.txt", "", "empty.txt: it has 0 names, expected 1 to 100000"),
        ("gap.json", '{"0": "a", "2": "b"}', "gap.json: no name for class 1, expected 2 classes from 0 on"),
        ("number.json", "[1, 2]", "expected names as texts, got a int"),
        ("twice.json", '{"0": "a", "0": "b"}', "key '0' appears twice"),
        ("text.json", '"a"', "it holds neither a list nor a table"),
        ("twice.csv", "0,a\n0,b\n", "a class has two names"),
        ("short.csv", "index,name\n0\n", "row 1 of the names has too few columns"),
        ("odd.csv", "a,b,c\nd,e,f\n", "no column is called name, class"),
        ("latin.txt", "caf\xe9", "latin.txt is not UTF-8 text (byte 3)"),
        ("none.txt", None, "none.txt cannot be read: No such file"),
    ],
)
def test_class_names_that_cannot_be_meant_are_refused(net, file, text, why):
    torch.save(net.state_dict(), "net.pth")
    if text is not None:
        Path(file).write_bytes(text.encode("latin-1"))
    said = refuse(zoo.UsageError, "net.pth", class_names=Path(file))
    assert why in said


def test_without_names_classes_are_numbered_as_many_as_the_head_has(net):
    torch.save(net.state_dict(), "net.pth")
    taken = convert("net.pth").taken
    assert taken.class_names == tuple(f"class {number}" for number in range(5)) and not taken.named


# Inputs


def test_the_shape_of_an_input_is_found_or_asked_for(net):
    torch.save(net.state_dict(), "net.pth")
    said = refuse(zoo.UsageError, "net.pth", input_shape=None)
    assert "model 'net' takes 3x*x*: the shape of an input is not clear. Give it with input_shape=" in said
    assert convert("net.pth", input_shape=None, preprocess=PREPROCESS).taken.input_shape == SHAPE
    tuned = zoo.Preprocess(resize=(12, 14))
    made = convert("net.pth", input_shape=None, preprocess=tuned, overwrite=True)
    assert made.taken.input_shape == (3, 12, 14)


# Dtypes


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_become_those_of_the_model(net, dtype):
    state = {name: value.to(dtype) if value.is_floating_point() else value for name, value in net.state_dict().items()}
    if dtype == torch.float64:
        state["fc.bias"] += 1e-12
    torch.save(state, "net.pth")
    taken = convert("net.pth").taken
    assert taken.rounded == ({"fc.bias": "float64 -> float32"} if dtype == torch.float64 else {})
    new = zoo.load_model("new.safetensors", plugins=["net.py"]).state_dict()
    assert {name: value.dtype for name, value in new.items()} == {n: v.dtype for n, v in net.state_dict().items()}
    assert all(torch.equal(new[name], value.to(new[name].dtype)) for name, value in state.items())


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda bias: bias * float("nan"), "5 of its values are not finite"),
        (lambda bias: torch.full((5,), float("inf")), "5 of its values are not finite"),
        (lambda bias: torch.full((5,), 1e300, dtype=torch.float64), "has no numbers as large as some"),
        (lambda bias: bias + 1j, "it is complex64 in the file and float32 in the model"),
        (lambda bias: torch.full((5,), 2**24 + 1, dtype=torch.int32), "its values do not fit"),
        (lambda bias: bias.to_sparse(), "it is torch.sparse_coo, expected plain numbers"),
        (lambda bias: bias.to("meta"), "it is without values, expected plain numbers"),
    ],
)
def test_values_that_are_no_weights_are_refused(net, change, why):
    torch.save({**net.state_dict(), "fc.bias": change(torch.ones(5))}, "net.pth")
    said = refuse(zoo.WeightsError, "net.pth")
    assert said.startswith("net.pth: tensor 'fc.bias': ") and why in said


def test_a_tensor_that_the_model_ties_must_be_one_in_the_file_too(own_folder):
    (own_folder / "net.py").write_text(NET, encoding="utf-8")
    tied = zoo.create_model("tied", input_shape=SHAPE, num_classes=2, plugins=["net.py"])
    torch.save(tied.state_dict(), "tied.pth")
    convert("tied.pth", "tied", output="tied.safetensors")
    torch.save({**tied.state_dict(), "second.weight": torch.ones(3, 3, 1, 1)}, "untied.pth")
    assert "ties it to a tensor that has other values" in refuse(zoo.WeightsError, "untied.pth", model="tied")


# Files of strangers


class Bomb:
    """A pickle of this makes a folder when somebody loads it."""

    def __reduce__(self):
        return os.mkdir, ("trap",)


def make_strange(state):
    """Write files that hold no state dict that zoo reads; return what must be said of each."""
    said = {}

    def add(name, why, data=None):
        said[name] = why
        if data is not None:
            Path(name).write_bytes(data)

    torch.save({"model": state, "x": Bomb()}, "bomb.pth")
    add("bomb.pth", "its pickle asks for posix.mkdir: that is code")
    save_legacy({"model": state, "x": Bomb()}, "old-bomb.pth")
    add("old-bomb.pth", "its pickle asks for posix.mkdir: that is code")
    torch.save({"model": state, "args": argparse.Namespace(), "best": numpy.float64(3)}, "args.pth")
    add("args.pth", "asks for argparse.Namespace, numpy._core.multiarray.scalar, numpy.dtype: that is code")
    torch.save(nn.Linear(2, 2), "module.pth")
    add("module.pth", "asks for torch.nn.modules.linear.Linear: that is code")
    add("pickle.pkl", "it is a Python pickle, which can run code", pickle.dumps({"x": Bomb()}))
    with zipfile.ZipFile("script.pt", "w") as archive:
        for name in ("data.pkl", "constants.pkl", "code/__torch__/net.py"):
            archive.writestr(f"script/{name}", b"")
    add("script.pt", "it is a TorchScript archive: a program together with its weights")
    numpy.savez("arrays.npz", numpy.zeros(3))
    add("arrays.npz", "it is a NumPy archive that torch.save did not write")
    with zipfile.ZipFile("other.zip", "w") as archive:
        archive.writestr("weights/readme.txt", "x")
    add("other.zip", "it is a zip archive that torch.save did not write")
    torch.save(state, "good.pth")
    good = Path("good.pth").read_bytes()
    add("cut.pth", "cut.pth is damaged: it is no whole archive", good[: len(good) // 2])
    save_legacy(state, "old.pth")
    add("old-cut.pth", "old-cut.pth is damaged: RuntimeError: unexpected EOF", Path("old.pth").read_bytes()[:-10])
    with zipfile.ZipFile("good.pth") as source, zipfile.ZipFile("packed.pth", "w", zipfile.ZIP_DEFLATED) as packed:
        for name in source.namelist():
            packed.writestr(name, source.read(name))
    add("packed.pth", "it becomes more than its size when it is read")
    add("page.pth", "it is a web page: a failed download?", b"<!DOCTYPE html><html>login</html>")
    add("pointer.bin", "it is a git-LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    add("packed.gz", "it is a gzip file", gzip.compress(good))
    add("model.safetensors.index.json", "it is the index of weights in several files", b'{"weight_map": {}}')
    add("empty.pth", "it is empty", b"")
    add("noise.pth", "its header would be", bytes(range(256)) * 8)
    for name, content, why in (
        ("list.pth", [1, 2], "it holds a list, expected a table of tensors by name"),
        ("tensor.pth", torch.ones(2), "it holds a Tensor, expected a table of tensors by name"),
        ("none.pth", {"epoch": 3, "log": {}}, "it holds no tensors under names, only 'epoch', 'log'"),
    ):
        torch.save(content, name)
        add(name, why)
    Path("parts").mkdir()
    Path("parts/.metadata").touch()
    add(
        "parts",
        "it is a checkpoint of torch.distributed in parts. Convert what this makes: python -m torch.dist",
    )
    Path("hub").mkdir()
    Path("hub/pytorch_model.bin").touch()
    add("hub", "it has pytorch_model.bin. Give the file: hub/pytorch_model.bin")
    Path("shards").mkdir()
    Path("shards/model.safetensors.index.json").touch()
    add("shards", "it is the index of weights in several files")
    add("gone.pth", "no weights at 'gone.pth': no such file")
    os.mkfifo("pipe.pth")
    add("pipe.pth", "it is a pipe, not a regular file")
    return said


@pytest.mark.promise("P3")
def test_files_of_strangers_are_named_and_nothing_in_them_runs(net, capsys):
    for name, why in make_strange(net.state_dict()).items():
        assert main(["convert", name, *OPTIONS, "--input-shape", "3x16x16"]) == 4, name
        said = capsys.readouterr().err
        assert len(said.splitlines()) == 1 and why in said, (name, said)
        assert not Path("new.safetensors").exists()
    assert not Path("trap").exists()
    pickle.loads(pickle.dumps(Bomb()))
    assert Path("trap").exists(), "the trap works"


def test_a_table_that_holds_itself_ends_the_search(net):
    endless = {"a": 1}
    endless["model"] = endless
    torch.save(endless, "endless.pth")
    assert "only 'a', 'model'" in refuse(zoo.WeightsError, "endless.pth")


def test_a_tensor_of_any_size_costs_nothing_before_its_shape_is_compared(net):
    huge = torch.ones(1).expand(10**12)
    torch.save({**net.state_dict(), "body.0.bias": huge}, "huge.pth")
    assert "body.0.bias is (1000000000000,), not (4,)" in refuse(zoo.WeightsError, "huge.pth")
    torch.save({**net.state_dict(), "fc.weight": torch.ones(1, 4).expand(10**9, 4), "fc.bias": huge}, "classes.pth")
    assert "fc.weight is (1000000000, 4)" in refuse(zoo.WeightsError, "classes.pth", class_names=["a", "b"])


@pytest.mark.promise("P3")
def test_pickles_are_read_in_listed_places_and_weights_only():
    found = {}
    for top in ("zoo", "plugins"):
        for path in (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                    *("torch.load", "pickle.load", "pickle.loads", "pickle.Unpickler", "torch.jit.load"),
                    *("torch.hub.load_state_dict_from_url", "joblib.load", "numpy.load"),
                ):
                    found.setdefault(path.relative_to(ROOT).as_posix(), []).append(ast.unparse(node))
    # numpy reads arrays too, and pickles only where that is allowed.
    arrays = [call for path in found for call in found[path] if call.startswith("numpy.load")]
    assert len(arrays) == 4 and all("allow_pickle=False" in call for call in arrays)
    assert {path: calls for path, calls in found.items() if not calls[0].startswith("numpy.load")} == {
        "zoo/models/state_dicts.py": ["torch.load(file, map_location='cpu', weights_only=True)"],
        # The files that torchvision publishes, whose hashes it knows.
        "plugins/zoo_plugins/torchvision/weights.py": ["torch.load(path, map_location='cpu', weights_only=True)"],
        # A check copies a data set that this process has made, as workers get it.
        "zoo/checks/dataset/contract.py": ["pickle.loads(pickle.dumps(split))"],
    }


# The command


def test_the_command_takes_it_all_in_words(net, capsys):
    state = {f"module.{name.replace('fc.', 'head.')}": value.double() for name, value in net.state_dict().items()}
    torch.save({"model": state, "model_ema": {**state, "n_averaged": torch.tensor(1)}, "epoch": 3}, "net.pth")
    Path("names.txt").write_text("cat\ndog\nhen\ncow\npig\n", encoding="utf-8")
    steps = ["--resize", "20", "--crop", "16", "--mean", "0.5,0.4,0.3", "--std", "0.2,0.3,0.4"]
    command = [
        "convert",
        "net.pth",
        *OPTIONS,
        *steps,
        "--class-names",
        "names.txt",
        "--rename",
        "module.head=module.fc",
    ]
    assert main(command) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "net.pth -> net/net",
        "tensors     9 under 'model_ema', not 'model'",
        "names       without the module. before them",
        "left out    n_averaged",
        "classes     5: cat, dog, hen ...",
        "inputs      3x16x16",
        "preprocess  resize=20, interpolation=bilinear, crop=16x16, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)",
        "proof       8 golden samples of noise, replayed from the new file",
        "weights     new.safetensors",
    ]
    pixels = torch.randint(256, (1, 3, 20, 33), dtype=torch.uint8)
    found = zoo.predict("new.safetensors", pixels, plugins=["net.py"])
    assert torch.allclose(torch.from_numpy(found.probabilities), predict(net, pixels), atol=1e-6)
    before = Path("new.safetensors").read_bytes()
    assert main(command) == 2
    assert "output 'new.safetensors' exists. Write to another file with --output" in capsys.readouterr().err
    assert Path("new.safetensors").read_bytes() == before
    assert main([*command, "--overwrite", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["taken"]["class_names"][1] == "dog" and told["difference"] is None
    assert main(["verify", "new.safetensors", "--plugin", "net.py"]) == 0


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--resize", "20"], "preprocess: crop: expected (height, width) after the resize of one side to 20"),
        (["--resize", "a"], "--resize: expected whole numbers above 0, as 224x224, got 'a'"),
        (["--crop", "1x2x3"], "--crop: expected N or HxW"),
        (["--mean", "1,x"], "--mean: expected numbers with commas between them"),
        (["--mean", "0.5,0.5,0.5"], "preprocess: mean and std: expected as many of each"),
        (["--rename", "head"], "--rename: expected NAME=VALUE, got 'head'"),
        (["--input-shape", "1x16x16"], "input_shape: expected 3x*x* for model 'net'"),
        (["--param", "wide=3"], "has no setting 'wide'. Did you mean 'width'?"),
        (["--key", "model"], "key: net.pth has no tables, got 'model'"),
        (["--crop", "16", "--model", "nett"], "Did you mean 'net'?"),
    ],
)
def test_what_is_said_wrongly_is_told(net, capsys, options, why):
    torch.save(net.state_dict(), "net.pth")
    shape = [] if "--input-shape" in options else ["--input-shape", "3x16x16"]
    assert main(["convert", "net.pth", *OPTIONS, *shape, *options]) == 2
    assert why in capsys.readouterr().err


def test_zoo_weights_say_themselves_what_they_take(net, capsys):
    torch.save(net.state_dict(), "net.pth")
    convert("net.pth", output="zoo.safetensors")
    said = refuse(zoo.UsageError, "zoo.safetensors", class_names=list("abcde"))
    assert "zoo.safetensors is zoo weights" in said and "Leave out class_names, input_shape" in said
    command = ["convert", "zoo.safetensors", *OPTIONS[2:]]
    for spelling in ("--as", "--model"):
        assert main([*command, spelling, "net/net", "--overwrite"]) == 0
        assert capsys.readouterr().out.startswith("net/net -> net/net\n8 golden samples replayed, ")


def test_the_advice_for_a_pickle_leads_here(net):
    torch.save(net.state_dict(), "net.pth")
    with pytest.raises(zoo.WeightsError, match=r"Make zoo weights of the state dict in it: zoo\.convert") as caught:
        zoo.load("net.pth", plugins=["net.py"])
    assert "which can run code" in describe(caught.value)
