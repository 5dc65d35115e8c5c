"""Fine-tuning: `--init`, `--freeze` and `zoo adapt`, with real runs, and what they say when something does not fit."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import shutil
import signal

import pytest
import safetensors.torch
import torch
from torch import nn

import zoo
from zoo.cli.main import main
from zoo.errors import SeveralErrors
from zoo.models.freezing import freeze
from zoo.models.transfer import transfer_tensors
from zoo.records.header import read_header
from zoo.registry.settings import TrainConfig
from zoo.training.optimizers import build_optimizer

SMALL = {"train_size": 320, "test_size": 100}
PLUGIN = """
import torch
from torch import nn

import zoo
from zoo_plugins.datasets.shapes import shapes


@zoo.model(name="normal")
class Normal(nn.Module):
    def __init__(self, *, input_shape, num_classes, width: int = 6, dropout: float = 0.0):
        super().__init__()
        self.features = nn.Sequential(
            nn.BatchNorm2d(input_shape[0], affine=False),
            nn.Conv2d(input_shape[0], width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2), nn.BatchNorm2d(width), nn.ReLU(),
            nn.AdaptiveAvgPool2d(4), nn.Flatten(),
        )
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width * 16, num_classes)

    def forward(self, inputs):
        return self.head(self.drop(self.features(inputs)))


@zoo.model(name="tied")
class Tied(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        size = torch.Size(input_shape).numel()
        self.first, self.second = nn.Linear(size, size, bias=False), nn.Linear(size, size, bias=False)
        self.second.weight = self.first.weight
        self.head = nn.Linear(size, num_classes)

    def forward(self, inputs):
        return self.head(self.second(self.first(inputs.flatten(1)).relu()))


@zoo.model(name="fickle")
class Fickle(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.stack = nn.Sequential(nn.Flatten(), nn.Linear(784, 5), nn.Linear(5, num_classes))

    def forward(self, inputs):
        return self.stack(inputs + torch.rand_like(inputs))


@zoo.model(name="fixed")
def fixed(*, input_shape, num_classes):
    if num_classes != 10:
        raise ValueError("ten classes only")
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.Linear(8, num_classes))


@zoo.dataset(name="four", class_names=("disc", "ring", "square", "frame"))
def four(*, root, train_size: int = 400, test_size: int = 400, seed: int = 3):
    whole = shapes(root=root, train_size=train_size, test_size=test_size, seed=seed)
    return zoo.DataSplits(**{name: pick(split) for name, split in whole.items()}, class_names=whole.class_names[:4])


def pick(split):
    wanted = split[1] < 4
    return split[0][wanted], split[1][wanted]


@zoo.dataset(name="renamed")
def renamed(*, root, train_size: int = 320, test_size: int = 100):
    whole = shapes(root=root, train_size=train_size, test_size=test_size)
    return zoo.DataSplits(train=whole.train, test=whole.test, class_names=[f"a {n}" for n in whole.class_names])


@zoo.dataset(name="large")
def large(*, root):
    whole = shapes(root=root, train_size=64, test_size=64)
    splits = {name: (split[0].repeat(1, 1, 2, 1), split[1]) for name, split in whole.items()}
    return zoo.DataSplits(**splits, class_names=whole.class_names)
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    path = tmp_path_factory.mktemp("plugin") / "mine.py"
    path.write_text(PLUGIN, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def registry(plugin):
    return zoo.Registry.discover([plugin])


@pytest.fixture(scope="module")
def trained(registry, tmp_path_factory):
    """Return a function that gives a run of a model on a small `shapes`, made once."""
    folder, done = tmp_path_factory.mktemp("trained"), {}

    def train(model, **params):
        key = (model, *params.items())
        if key not in done:
            options = {"params": params, "dataset_params": SMALL, "epochs": 1, "lr": 0.05, "registry": registry}
            done[key] = zoo.run(model, "shapes", **options, runs_dir=folder)
        return done[key]

    return train


@pytest.fixture
def command(capsys, plugin, tmp_path):
    """Return the command line as a function: exit code, stdout, stderr."""
    log = logging.getLogger("zoo")
    before = (log.handlers, log.level, log.propagate, signal.getsignal(signal.SIGTERM))

    def call(*arguments):
        capsys.readouterr()  # what was said while the weights were trained
        code = main([*map(str, arguments), "--plugin", str(plugin)])
        return (code, *capsys.readouterr())

    yield call
    log.handlers, log.level, log.propagate = before[:3]
    signal.signal(signal.SIGTERM, before[3])


@pytest.fixture
def run(registry, tmp_path):
    def run_small(**arguments):
        options = {"epochs": 1, "lr": 0.05, "registry": registry, "runs_dir": tmp_path / "runs", **arguments}
        return zoo.run(**options)

    return run_small


def read(path):
    return safetensors.torch.load_file(path)


def read_metadata(path):
    return read_header(path).metadata


def read_record(result):
    return json.loads((result.run / "run.json").read_text())


def differing(first, second):
    first, second = read(first), read(second)
    return {name for name in first if name not in second or not torch.equal(first[name], second[name])}


def test_the_command_adapts_trains_and_says_what_it_did(command, trained, tmp_path):
    source, output = trained("tinyvgg").weights, tmp_path / "four.safetensors"
    code, out, _ = command("adapt", source, "--dataset", "four", "--freeze", "block_1.*", "--output", output)
    assert code == 0
    lines = out.splitlines()
    assert lines[0] == "tinyvgg for 4 classes" and lines[-1] == f"weights: {output}"
    assert [line for line in lines if line.startswith("new")] == [
        "new classifier.1.weight: (10, 490) in the file, (4, 490) in the model",
        "new classifier.1.bias: (10,) in the file, (4,) in the model",
    ]
    assert sum(line.startswith("kept block_") for line in lines) == 8
    assert sum(line.startswith("frozen block_1.") for line in lines) == 4
    code, out, err = command("run", "--init", output, "--epochs", "1", "--json")
    result = json.loads(out)
    assert code == 0 and result["model"] == "tinyvgg" and result["dataset"] == "four"
    assert err.splitlines()[0] == (
        f"started from {output}: kept 10 of 10 tensors; "
        "frozen: block_1.0.weight, block_1.0.bias, block_1.2.weight, block_1.2.bias"
    )
    assert differing(output, result["weights"]) == {name for name in read(output) if not name.startswith("block_1.")}


def test_the_command_prints_one_object(command, trained, tmp_path):
    output = tmp_path / "out.safetensors"
    code, out, err = command("adapt", trained("baseline").run, "--num-classes", 3, "--output", output, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out) == {
        "weights": str(output),
        "model": "baseline",
        "class_names": ["class 0", "class 1", "class 2"],
        "kept": ["layer_stack.1.weight", "layer_stack.1.bias"],
        "new": {
            "layer_stack.2.weight": "(10, 10) in the file, (3, 10) in the model",
            "layer_stack.2.bias": "(10,) in the file, (3,) in the model",
        },
        "unused": [],
        "frozen": [],
    }


def test_an_adapted_file_is_proven_and_says_where_it_comes_from(trained, registry, tmp_path):
    source, output = trained("normal", width=4).weights, tmp_path / "out.safetensors"
    options = {"output": output, "freeze": "features.*", "registry": registry}
    made = zoo.adapt(source, class_names=["a", "b", "c"], **options)
    metadata = read_metadata(output)
    assert set(zoo.verify(output, registry=registry).checks) >= {"digests", "golden samples"}
    digest = hashlib.sha256(source.read_bytes()[read_header(source).data_start :]).hexdigest()
    # No folder of this machine is in a file that may go elsewhere; the name of a run's folder tells which run it was.
    assert metadata["adapted_from"] == {"path": f"{source.parent.name}/{source.name}", "digest": digest}
    assert metadata["frozen"] == ["features.*"] and metadata["params"] == {"width": 4, "dropout": 0.0}
    assert not {"metrics", "dataset", "train_config", "statistics"} & metadata.keys()
    assert made.class_names == ("a", "b", "c") == zoo.load(output, registry=registry).class_names
    assert list(made.new) == ["head.weight", "head.bias"] and differing(source, output) == set(made.new)
    assert made.frozen and all(name.startswith("features.") for name in made.frozen)
    first = output.read_bytes()
    zoo.adapt(source, class_names=["a", "b", "c"], **options)
    assert output.read_bytes() == first


def test_without_epochs_a_start_is_an_evaluation(trained, run, registry):
    for source in (trained("tinyvgg"), trained("normal"), trained("baseline", hidden_units=7)):
        result = run(init=source.weights, epochs=0)
        assert result.metrics == zoo.evaluate(source.weights, registry=registry).metrics == source.metrics
        assert differing(source.weights, result.weights) == set()
        assert result.params == source.params and result.dataset_params == source.dataset_params


def test_inputs_are_made_as_the_file_says(trained, run, registry, tmp_path):
    preprocess = zoo.Preprocess(mean=(0.3,), std=(0.2,))
    model = zoo.load_model(trained("baseline").weights)
    options = {"input_shape": (1, 28, 28), "class_names": trained_classes(trained), "preprocess": preprocess}
    zoo.save(model, tmp_path / "own.safetensors", model="baseline", **options)
    options = {"dataset": "shapes", "dataset_params": SMALL}
    result = run(init=tmp_path / "own.safetensors", epochs=0, **options)
    assert result.metrics == zoo.evaluate(tmp_path / "own.safetensors", **options).metrics
    assert result.metrics != trained("baseline").metrics
    assert read_metadata(result.weights)["preprocess"] == read_metadata(tmp_path / "own.safetensors")["preprocess"]


def trained_classes(trained):
    return read_metadata(trained("baseline").weights)["class_names"]


def test_a_run_records_what_it_started_from(trained, run):
    source = trained("baseline").weights
    result = run(init=source, dataset="four", freeze=["layer_stack.1.*"])
    digest, name = read_metadata(source)["digests"]["tensors"], f"{source.parent.name}/{source.name}"
    for record, path in ((read_record(result), str(source)), (read_metadata(result.weights), name)):
        assert record["init"] == {"path": path, "digest": digest} and record["frozen"] == ["layer_stack.1.*"]
    transfer = read_record(result)["transfer"]
    assert transfer["kept"] == ["layer_stack.1.weight", "layer_stack.1.bias"]
    assert list(transfer["new"]) == ["layer_stack.2.weight", "layer_stack.2.bias"] and transfer["unused"] == []
    plain = run(dataset_params=SMALL, epochs=0)
    for record in (read_record(plain), read_metadata(plain.weights)):
        assert not {"init", "frozen", "transfer"} & record.keys()


def test_a_head_of_other_classes_is_new_though_it_would_fit(trained, run, registry, tmp_path):
    source = trained("baseline").weights
    head = {"layer_stack.2.weight", "layer_stack.2.bias"}
    assert differing(source, run(init=source, dataset="renamed", epochs=0).weights) == head
    names = [f"b {name}" for name in trained_classes(trained)]
    made = zoo.adapt(source, class_names=names, output=tmp_path / "out.safetensors")
    assert made.new == dict.fromkeys(sorted(head, reverse=True), "its classes are others than in the file")
    # A model that cannot be built for another number of classes keeps all.
    result = run(init=trained("fixed").weights, dataset="renamed", epochs=0)
    assert differing(trained("fixed").weights, result.weights) == set()


def test_any_reference_to_weights_will_do(run):
    first = run(model="baseline", dataset="four")
    second = run(init="@last")
    third = run(init="baseline@four", epochs=0)
    assert read_record(second)["init"]["path"] == str(first.weights)
    assert read_record(third)["init"]["path"] == str(second.weights) and third.metrics == second.metrics


def test_a_start_is_as_deterministic_as_any_run(trained, run):
    torch.manual_seed(5)
    expected = torch.rand(2).tolist()
    torch.manual_seed(5)
    arguments = {"init": trained("normal", dropout=0.3).weights, "dataset": "renamed"}
    first, second = run(**arguments), run(**arguments)
    assert torch.rand(2).tolist() == expected
    assert differing(first.weights, second.weights) == set() and first.metrics == second.metrics
    assert differing(first.weights, run(**arguments, seed=1).weights) != set()


@pytest.mark.parametrize(
    "patterns", [["features.*"], ["features.[1245].*"], ["features.1.*", "features.2.weight", "features.2.b*"]]
)
def test_what_is_frozen_stays_to_the_last_bit(trained, run, patterns):
    source = trained("normal").weights
    result = run(init=source, freeze=patterns, momentum=0.9, weight_decay=0.1, epochs=2)
    changed = differing(source, result.weights)
    names = {name for name in read(source) if name.startswith("features.")}
    expected = {
        "features.*": set(),
        "features.[1245].*": {name for name in names if name.startswith("features.0.")},
        "features.1.*": {name for name in names if name.startswith(("features.0.", "features.4.", "features.5."))},
    }[patterns[0]]
    # A bias before a normalisation has no effect, and may stay by chance.
    assert changed - {"features.4.bias"} == (expected | {"head.weight", "head.bias"}) - {"features.4.bias"}


def test_the_optimizer_gets_no_frozen_parameter(registry, trained):
    model = zoo.load_model(trained("normal").weights, registry=registry)
    frozen = freeze(model, ["features.*"])
    optimizer = build_optimizer(model, TrainConfig(optimizer="adamw", weight_decay=0.1))
    trained_parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(p) for p in trained_parameters} == {id(model.head.weight), id(model.head.bias)}
    assert len(frozen) == len(list(model.parameters())) - 2


def test_what_is_new_and_frozen_is_warned_of(trained, run, caplog):
    run(init=trained("baseline").weights, dataset="four", freeze=["*.weight"], epochs=0)
    assert "frozen as they are, though new and so never trained: layer_stack.2.weight" in caplog.text
    caplog.clear()
    run(init=trained("baseline").weights, dataset="four", freeze=["*.1.*"], epochs=0)
    assert "frozen as they are" not in caplog.text


def test_a_norm_that_is_frozen_in_part_goes_on_counting(registry, trained):
    model = zoo.load_model(trained("normal").weights, registry=registry)
    freeze(model, ["features.1.*", "features.2.weight", "features.5.*"])
    for part in (model, copy.deepcopy(model)):
        before = {name: value.clone() for name, value in part.state_dict().items()}
        part.train()(torch.rand(8, 1, 28, 28))
        after = part.state_dict()
        moved = {name for name in after if not torch.equal(before[name], after[name])}
        counters = ("running_mean", "running_var", "num_batches_tracked")
        assert moved == {f"features.{index}.{counter}" for index in (0, 2) for counter in counters}


def test_the_file_says_what_is_frozen_unless_the_command_does(command, trained, registry, tmp_path):
    output = tmp_path / "out.safetensors"
    zoo.adapt(trained("baseline").weights, dataset="four", freeze="*.1.*", output=output, registry=registry)
    stack = {f"layer_stack.{index}.{name}" for index in (1, 2) for name in ("weight", "bias")}
    for options, changed in (
        ((), {name for name in stack if ".2." in name}),
        (("--freeze", "*.2.weight", "--freeze", "*.2.bias"), {name for name in stack if ".1." in name}),
        (("--freeze", "none"), stack),
    ):
        code, out, _ = command("run", "--init", output, *options, "--epochs", "1", "--json")
        assert code == 0 and differing(output, json.loads(out)["weights"]) == changed


def test_tied_weights_stay_tied_and_count_once(registry, trained, run):
    source = trained("tied").weights
    result = run(init=source, dataset="four")
    record = read_record(result)["transfer"]
    assert record["kept"] == ["first.weight", "second.weight"] and list(record["new"]) == ["head.weight", "head.bias"]
    saved = read(result.weights)
    assert torch.equal(saved["first.weight"], saved["second.weight"])
    frozen = run(init=source, dataset="four", freeze=["second.*"])
    assert differing(source, frozen.weights) == {"head.weight", "head.bias"}

    model, tensors = zoo.load_model(source, registry=registry), read(source)
    nn.init.zeros_(model.first.weight)
    half = {name: tensor for name, tensor in tensors.items() if name != "second.weight"}
    transfer = transfer_tensors(model, half)
    assert transfer.new == {} and set(transfer.kept) == set(tensors)
    assert model.second.weight is model.first.weight and torch.equal(model.first.weight, tensors["first.weight"])
    with pytest.raises(zoo.UsageError, match=r"tensor 'first.weight': the model ties it"):
        transfer_tensors(model, {**tensors, "second.weight": tensors["second.weight"] + 1})


def test_tensors_are_kept_in_the_dtype_of_the_model():
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    tensors = {name: torch.ones_like(tensor) for name, tensor in model.state_dict().items()}
    tensors |= {"0.weight": torch.ones(2, 3, dtype=torch.float16), "0.bias": torch.tensor([0.1, 0.2]).double() + 1e-12}
    tensors |= {"1.bias": torch.ones(2, dtype=torch.int64), "more": torch.ones(1)}
    transfer = transfer_tensors(model, tensors)
    assert transfer.kept == ["0.weight", "1.weight"] and transfer.unused == ["more"]
    assert set(transfer.new) == {"0.bias", "1.bias"} and "its values do not fit" in transfer.new["0.bias"]
    assert model[0].weight.dtype == torch.float32 and torch.equal(model[0].weight, torch.ones(2, 3))
    assert transfer.describe([]) == "kept 2 of 4 tensors; new: 0.bias, 1.bias; unused: more"


@pytest.mark.parametrize(
    ("patterns", "text"),
    [
        (["layer_stak.1.*"], "freeze 'layer_stak.1.*': no parameter has such a name. Closest: 'layer_stack.1.*'"),
        (["layer_stack.1"], "Closest: 'layer_stack.1.*'"),
        (["qqq"], "freeze 'qqq': no parameter has such a name. There are: 'layer_stack.*'"),
        (["*.bias", "Layer_stack.1.*"], "freeze 'Layer_stack.1.*': no parameter"),
        ([3], "freeze: expected a text or a list of texts"),
    ],
)
def test_a_pattern_that_matches_nothing_is_named_before_data_is_read(trained, run, tmp_path, patterns, text):
    source = trained("baseline").weights
    with pytest.raises(zoo.UsageError) as caught:
        run(init=source, freeze=patterns, dataset="fashionmnist", data_dir=tmp_path / "nothing", offline=True)
    assert text in str(caught.value)
    with pytest.raises(zoo.UsageError) as caught:
        zoo.adapt(source, num_classes=4, freeze=patterns, output=tmp_path / "out.safetensors")
    assert text in str(caught.value)
    assert not (tmp_path / "out.safetensors").exists() and not list(tmp_path.rglob("run.json"))


def test_something_must_be_left_to_train(trained, run, tmp_path):
    with pytest.raises(zoo.UsageError, match=r"freeze '\*': all 4 parameters would be frozen"):
        run(init=trained("baseline").weights, freeze="*")
    with pytest.raises(zoo.UsageError, match="all 4 parameters would be frozen"):
        options = {"freeze": ["*.weight", "*.bias"], "output": tmp_path / "out.safetensors"}
        zoo.adapt(trained("baseline").weights, num_classes=4, **options)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"params": {"hidden_units": 128}}, "fit the model: hidden_units: file 10, requested 128. Ask for"),
        ({"model": "tinyvgg"}, "fit the model: model: file baseline, requested tinyvgg. Ask for"),
    ],
)
def test_a_model_that_can_use_nothing_is_refused_before_data_is_read(trained, run, tmp_path, arguments, text):
    nowhere = {"dataset": "fashionmnist", "data_dir": tmp_path / "nothing", "offline": True}
    with pytest.raises(zoo.UsageError) as caught:
        run(init=trained("baseline").weights, **arguments, **nowhere)
    assert text in str(caught.value) and not list(tmp_path.rglob("run.json"))


def test_images_of_another_size_are_named_as_the_cause(trained, run):
    with pytest.raises(zoo.UsageError, match=r"inputs: file \(1, 28, 28\), data \(1, 56, 28\)"):
        run(init=trained("tied").weights, dataset="large")
    # Convolutions do not mind.
    result = run(init=trained("tinyvgg").weights, dataset="large", epochs=0)
    assert len(read_record(result)["transfer"]["kept"]) == 9  # the bias of the head too: its classes are the same


def test_weights_of_unrelated_modules_are_refused():
    with pytest.raises(zoo.UsageError, match=r"none of its 2 tensors has a name of the model, Linear"):
        transfer_tensors(nn.Linear(2, 2), {"a": torch.ones(2, 2), "b": torch.ones(2)})
    with pytest.raises(zoo.UsageError, match=r"2 of 2 tensors have names of the model, but weight is \(2, 3\)"):
        transfer_tensors(nn.Linear(2, 2), {"weight": torch.ones(2, 3), "bias": torch.ones(2)})


def test_all_problems_of_a_start_are_reported_at_once(trained, run, tmp_path):
    with pytest.raises(SeveralErrors) as caught:
        run(init=trained("baseline").weights, freeze=["qqq"], dataset="shaps", params={"hiden": 3}, epochs=-1)
    assert [str(problem).partition(".")[0] for problem in caught.value.problems] == [
        "freeze 'qqq': no parameter has such a name",
        "no dataset named 'shaps'",
        "epochs: must be at least 0, got -1",
        "model 'baseline' has no setting 'hiden'",
    ]
    with pytest.raises(zoo.WeightsError, match=r"^[^\n]*nowhere\.safetensors[^\n]*$"):
        run(init=tmp_path / "nowhere.safetensors", params={"hidden_units": 3})
    with pytest.raises(SeveralErrors, match=r"(?s)nowhere.*no model named 'baselin'"):
        run(init=tmp_path / "nowhere.safetensors", model="baselin", dataset="shapes")


def test_a_file_without_a_data_set_needs_one(trained, run, tmp_path):
    output = tmp_path / "out.safetensors"
    zoo.adapt(trained("baseline").weights, num_classes=4, output=output)
    with pytest.raises(zoo.UsageError, match=r"names no data set\. Give one with dataset=\.\.\."):
        run(init=output)


def test_a_file_of_a_missing_plugin_says_how_to_get_it(trained, tmp_path):
    for call in (lambda path: zoo.run(init=path), lambda path: zoo.adapt(path, num_classes=3, output=tmp_path / "x")):
        with pytest.raises(zoo.PluginError, match=r"needs its model 'normal': no such plugin here\. Give it with"):
            call(trained("normal").weights)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "the new classes are not clear: expected one of num_classes, class_names, dataset"),
        ({"num_classes": 3, "dataset": "four"}, "the new classes are not clear"),
        ({"num_classes": 1}, "num_classes: must be a whole number from 2 to 100000, got 1"),
        ({"num_classes": True}, "num_classes: expected a whole number"),
        ({"class_names": ["a", "a"]}, "class_names: expected at least two different texts"),
        ({"class_names": "abc"}, "class_names: expected a list of texts"),
        ({"dataset": "fuor"}, "no dataset named 'fuor'"),
        ({"dataset": "renamed"}, "dataset 'renamed' declares no class names"),
    ],
)
def test_the_new_classes_must_be_clear(trained, registry, tmp_path, arguments, text):
    with pytest.raises(zoo.UsageError) as caught:
        zoo.adapt(trained("baseline").weights, **arguments, output=tmp_path / "out", registry=registry)
    assert text in str(caught.value)


@pytest.mark.promise("P1")
def test_an_output_that_is_there_stays_when_adapting_fails(command, trained, tmp_path):
    output = tmp_path / "out.safetensors"
    output.write_bytes(b"precious")
    source = trained("baseline").weights
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(source.read_bytes()[:-1])
    for arguments, expected in (
        ((source, "--num-classes", 4, "--freeze", "x"), 2),
        ((source, "--num-classes", "four"), 2),
        ((trained("fickle").weights, "--num-classes", 4), 4),
        ((damaged, "--num-classes", 4), 4),
    ):
        code, out, err = command("adapt", *arguments, "--output", output)
        assert (code, out) == (expected, "") and err.startswith("Error: ")
    assert output.read_bytes() == b"precious" and {p.name for p in tmp_path.iterdir()} == {output.name, damaged.name}
    copied = shutil.copy(source, tmp_path / "copy.safetensors")
    code, _, err = command("adapt", copied, "--num-classes", 4, "--output", copied)
    assert code == 2 and "is the file to adapt" in err and copied.read_bytes() == source.read_bytes()
    code, _, err = command("adapt", source, "--num-classes", 4, "--output", tmp_path / "no" / "out.safetensors")
    assert code == 7 and "the folder does not exist. Use --output to write elsewhere." in err


def test_a_hostile_list_of_patterns_is_refused(trained, run, tmp_path):
    path = tmp_path / "odd.safetensors"
    path.write_bytes(trained("baseline").weights.read_bytes())
    header = read_header(path)
    text = json.dumps({"__metadata__": {"zoo": json.dumps({**header.metadata, "frozen": [3]})}})
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file(tensors, path, metadata=json.loads(text)["__metadata__"])
    with pytest.raises(zoo.WeightsError, match="frozen: expected a list of texts"):
        run(init=path)


@pytest.mark.slow
def test_fine_tuning_beats_training_from_nothing(run, tmp_path):
    shared = {"model": "tinyvgg", "lr": 0.05, "batch_size": 16}
    before = run(**shared, dataset="shapes", dataset_params={"train_size": 3000, "test_size": 100}, epochs=3)
    task = {"dataset": "four", "dataset_params": {"train_size": 200, "test_size": 1000}, "epochs": 1}
    nothing = run(**shared, **task)
    tuned = run(**shared, **task, init=before.weights)
    assert tuned.metrics["accuracy"] > nothing.metrics["accuracy"] + 0.1
    assert tuned.metrics["loss"] < nothing.metrics["loss"]
