"""`zoo.run`: the numbers, what it leaves behind, and what it refuses."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from typing import Any

import numpy
import pytest
import safetensors.torch
import torch
from torch import nn

import zoo
from zoo.errors import SeveralErrors

SMALL = {"train_size": 640, "test_size": 200}
# Fashion-MNIST, baseline, seed 42: per-sample means and exact counts; the course's own loop gives the same training.
TRAIN_LOSSES = [0.5903890952388445, 0.4763321487148603, 0.45503338710467023]
TEST_LOSSES = [0.5098585627, 0.4802168293, 0.4768738341]
CORRECT = [8203, 8318, 8341]


class CourseModel(nn.Module):
    """The first model of the course, as its notebook writes it."""

    def __init__(self, input_shape: int, hidden_units: int, output_shape: int) -> None:
        super().__init__()
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(in_features=input_shape, out_features=hidden_units),
            nn.Linear(in_features=hidden_units, out_features=output_shape),
        )

    def forward(self, x):
        return self.layer_stack(x)


@pytest.fixture(autouse=True)
def same_threads():
    """Leave torch the number of threads that it had: the bits of what other tests compute by hand depend on it."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def run_small(tmp_path, **arguments):
    return zoo.run(**{"dataset_params": SMALL, "epochs": 1, "runs_dir": tmp_path, **arguments})


@pytest.mark.slow
def test_fashionmnist_gives_the_numbers_of_the_course(fashionmnist_root, tmp_path):
    result = zoo.run(model="baseline", dataset="fashionmnist", data_dir=fashionmnist_root, runs_dir=tmp_path)
    losses = [epoch["train"]["loss"] for epoch in result.history]
    assert losses == pytest.approx(TRAIN_LOSSES, abs=1e-6)
    assert [epoch["test"]["loss"] for epoch in result.history] == pytest.approx(TEST_LOSSES, abs=1e-6)
    assert [epoch["test"]["accuracy"] for epoch in result.history] == [count / 10_000 for count in CORRECT]
    assert result.metrics == result.history[-1]["test"]
    assert (result.device, result.threads, result.seed) == ("cpu", 1, 42)

    # Plain safetensors, the course's own class, no zoo in between.
    model = CourseModel(input_shape=784, hidden_units=10, output_shape=10)
    model.load_state_dict(safetensors.torch.load_file(result.weights))
    from zoo_plugins.datasets.fashionmnist import fashionmnist

    images, targets = fashionmnist(root=fashionmnist_root).test
    with torch.inference_mode():
        assert int((model(images / 255).argmax(1) == targets).sum()) == CORRECT[-1]
    record = json.loads((result.run / "run.json").read_text())
    assert record["dataset"]["samples"] == {"train": 60_000, "test": 10_000}


@pytest.mark.slow
def test_two_threads_give_the_same_numbers(fashionmnist_root, tmp_path):
    # Through the command, which keeps waiting threads from spinning: beside a busy neighbour that takes minutes.
    settings = ["--dataset", "fashionmnist", "--threads", "2", "--epochs", "1", "--json"]
    command = [sys.executable, "-m", "zoo", "run", *settings]
    places = ["--data-dir", str(fashionmnist_root), "--runs-dir", str(tmp_path)]
    done = subprocess.run([*command, *places], capture_output=True, text=True, check=True)
    result = json.loads(done.stdout)
    assert result["threads"] == 2
    (epoch,) = result["history"]
    assert epoch["train"]["loss"] == pytest.approx(TRAIN_LOSSES[0], abs=1e-6)
    assert epoch["test"]["loss"] == pytest.approx(TEST_LOSSES[0], abs=1e-6)
    assert epoch["test"]["accuracy"] == CORRECT[0] / 10_000


def test_the_record_says_what_was_run(tmp_path):
    result = run_small(tmp_path, params={"hidden_units": 12}, epochs=2)
    record = json.loads((result.run / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["history"] == result.history and len(result.history) == 2
    assert record["params"] == result.params == {"hidden_units": 12}
    assert record["train_config"] == result.train_config
    assert record["train_config"]["lr"] == 0.1 and record["train_config"]["epochs"] == 2
    assert set(record["versions"]) == {"zoo", "torch", "python"}
    assert record["plugin"]["version"] == zoo.__version__
    assert (record["device"], record["threads"], record["seed"]) == ("cpu", 1, 42)
    assert len(record["dataset"]["digest"]) == 64
    assert result.dataset_params == {**SMALL, "difficulty": 4, "seed": 0}
    assert sorted(path.name for path in result.run.iterdir()) == [
        "history.csv",
        "predictions.safetensors",
        "run.json",
        "weights.safetensors",
    ]


@pytest.mark.promise("P11")
def test_the_digest_is_of_the_data(tmp_path):
    def digest(**params):
        result = run_small(tmp_path, dataset_params={**SMALL, **params}, epochs=0)
        return json.loads((result.run / "run.json").read_text())["dataset"]["digest"]

    assert digest() == digest()
    assert digest() != digest(seed=1)


@pytest.mark.promise("P1")
def test_no_run_overwrites_another(tmp_path):
    runs = [run_small(tmp_path, seed=seed) for seed in (1, 2, 3)]
    assert len({result.run for result in runs}) == 3
    assert len({result.weights.read_bytes() for result in runs}) == 3


@pytest.mark.promise("P15")
def test_the_same_seed_gives_the_same_bytes(tmp_path):
    first, second = (safetensors.torch.load_file(run_small(tmp_path, model="tinyvgg").weights) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_load_model_rebuilds_by_name(tmp_path):
    result = run_small(tmp_path, model="tinyvgg", params={"hidden_units": 4})
    model = zoo.load_model(result.run)
    assert not model.training and type(model).__name__ == "TinyVGG"
    from zoo_plugins.datasets.shapes import shapes

    images, targets = shapes(root=".", **SMALL).test
    with torch.inference_mode():
        hits = int((model(images / 255).argmax(1) == targets).sum())
    assert hits / len(targets) == result.metrics["accuracy"]


def test_the_callers_threads_and_random_state_stay(tmp_path):
    torch.set_num_threads(2)
    torch.manual_seed(7), random.seed(7), numpy.random.seed(7)
    expected = (torch.rand(3).tolist(), random.random(), numpy.random.rand())
    torch.manual_seed(7), random.seed(7), numpy.random.seed(7)
    run_small(tmp_path, threads=1)
    assert torch.get_num_threads() == 2
    assert (torch.rand(3).tolist(), random.random(), numpy.random.rand()) == expected
    with pytest.raises(zoo.DivergedError):
        run_small(tmp_path, lr=1e10)
    assert torch.get_num_threads() == 2


def test_a_large_step_takes_the_threads_that_torch_has(tmp_path):
    torch.set_num_threads(2)
    wide = zoo.run(
        "relu-mlp", "shapes", epochs=1, params={"hidden_units": 8000}, dataset_params=SMALL, runs_dir=tmp_path
    )
    assert wide.threads == min(2, len(os.sched_getaffinity(0)))
    assert zoo.evaluate(wide.run, data_dir=tmp_path).samples and torch.get_num_threads() == 2
    assert run_small(tmp_path).threads == 1


def test_the_models_recommendation_is_overridden_by_what_is_given(tmp_path):
    result = run_small(tmp_path, optimizer="adam")
    assert result.train_config["optimizer"] == "adam" and result.train_config["lr"] == 0.001
    assert run_small(tmp_path, lr=0.05).train_config["lr"] == 0.05


def test_zero_epochs_evaluate_the_untrained_model(tmp_path):
    result = run_small(tmp_path, epochs=0)
    assert result.history == [] and 0 <= result.metrics["accuracy"] < 0.3
    assert result.weights.exists()


def test_all_problems_are_reported_at_once(tmp_path):
    with pytest.raises(SeveralErrors) as caught:
        zoo.run(
            "baselin", "shape", metrics=["acc"], epochs=-1, learning_rate=1, device="gpu", runs_dir=tmp_path / "runs"
        )
    text = str(caught.value).splitlines()
    assert text == [
        "no model named 'baselin'. Did you mean 'baseline'?",
        "no dataset named 'shape'. Did you mean 'shapes'?",
        "no metric named 'acc'. Did you mean 'accuracy'?",
        "training has no setting 'learning_rate'. Did you mean 'lr'?",
        "epochs: must be at least 0, got -1",
    ]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"params": {"hiden_units": 3}}, "model 'baseline' has no setting 'hiden_units'. Did you mean 'hidden_units'?"),
        ({"params": {"hidden_units": "many"}}, "hidden_units: must be a whole number, got 'many'"),
        ({"params": {"hidden_units": 0}}, "hidden_units: expected at least 1, got 0"),
        ({"dataset_params": {"difficulty": 11}}, "difficulty: expected a whole number from 0 to 10, got 11"),
        ({"metric_params": {"recall": {"k": 1}}}, "metric param of 'recall'"),
        ({"device": "cuda:99"}, "device 'cuda:99' was asked for"),
    ],
)
def test_bad_arguments_are_usage_errors(tmp_path, arguments, text):
    with pytest.raises(zoo.UsageError) as caught:
        run_small(tmp_path, **arguments)
    assert text in str(caught.value) and caught.value.exit_code == 2


def test_a_run_that_diverges_leaves_no_weights(tmp_path):
    with pytest.raises(zoo.DivergedError, match=r"the loss became (nan|inf) at step \d+ of epoch 1"):
        run_small(tmp_path, lr=1e10)
    (folder,) = tmp_path.iterdir()
    assert sorted(path.name for path in folder.iterdir()) == ["history.csv", "run.json"]
    assert json.loads((folder / "run.json").read_text())["status"] == "diverged"


@pytest.mark.promise("P1")
def test_a_runs_folder_that_cannot_be_written_is_found_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    seen = []
    with pytest.raises(zoo.StorageError, match="runs_dir="):
        run_small(tmp_path, runs_dir=tmp_path / "file" / "runs", on_epoch=seen.append)
    assert seen == []


@pytest.mark.promise("P1")
def test_weights_are_rescued_when_the_run_folder_vanishes(tmp_path, monkeypatch):
    import shutil

    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    runs = tmp_path / "runs"
    with pytest.raises(zoo.StorageError, match="The weights were saved to") as caught:
        run_small(tmp_path, runs_dir=runs, on_epoch=lambda _: shutil.rmtree(runs))
    (saved,) = (tmp_path / "home" / "rescued").glob("*/weights.safetensors")
    assert str(saved) in str(caught.value)
    assert zoo.load_model(saved) is not None


def test_a_run_whose_predictions_cannot_be_written_is_not_finished(tmp_path):
    def block(_):
        (folder,) = tmp_path.iterdir()
        (folder / "predictions.safetensors").mkdir()

    with pytest.raises(zoo.StorageError, match="cannot save predictions to") as caught:
        run_small(tmp_path, on_epoch=block)
    (folder,) = tmp_path.iterdir()
    weights = folder / "weights.safetensors"
    assert caught.value.fix == f"1 of 1 epochs are recorded in {folder}; weights of epoch 1: {weights}"
    assert zoo.load_model(folder / "weights.safetensors") is not None
    record = json.loads((folder / "run.json").read_text())
    assert record["status"] == "failed" and "cannot save predictions" in record["error"] and len(record["history"]) == 1


def test_a_model_too_large_for_memory_is_named(tmp_path):
    with pytest.raises(zoo.OutOfMemoryError, match=r"model 'baseline'.*zoo show baseline"):
        run_small(tmp_path, params={"hidden_units": 10**13})


class Greedy(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes))

    def forward(self, inputs):
        if self.training and len(inputs) > 4:  # as many as are tried before the training
            torch.empty(10**15)
        return self.layers(inputs)


def test_too_little_memory_names_the_batch_size(tmp_path):
    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="greedy", factory=Greedy))
    with pytest.raises(zoo.OutOfMemoryError, match=r"batches of 32.*batch_size=8"):
        run_small(tmp_path, model="greedy", registry=registry)


LOST = torch.AcceleratorError("CUDA error: the device is gone")
LACKING = NotImplementedError("The operator 'aten::foo' is not currently implemented for the MPS device. Try ...")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LOST, "device 'cpu' failed: AcceleratorError: CUDA error: the device is gone. Go on from the last checkpoint"),
        (LACKING, "device 'cpu' has no operation aten::foo: .* or set PYTORCH_ENABLE_MPS_FALLBACK=1"),
    ],
)
@pytest.mark.parametrize("trained", [True, False], ids=["in training", "in evaluation"])
def test_a_device_that_fails_is_named_and_no_plugin(tmp_path, error, said, trained):
    class Unlucky(Greedy):
        def forward(self, inputs):
            if self.training is trained and len(inputs) > 4:
                raise error
            return self.layers(inputs)

    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="unlucky", factory=Unlucky))
    with pytest.raises(zoo.DeviceFaultError, match=said):
        run_small(tmp_path, model="unlucky", registry=registry)


class BatchNormModel(nn.Module):
    def __init__(self, *, input_shape, num_classes, dropout: float = 0.1):
        super().__init__()
        size = torch.Size(input_shape).numel()
        self.stack = nn.Sequential(
            nn.Flatten(), nn.BatchNorm1d(size), nn.Dropout(dropout), nn.Linear(size, num_classes)
        )

    def forward(self, inputs):
        return self.stack(inputs)


def own_registry():
    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="normal", factory=BatchNormModel), plugin="mine")
    return registry


def test_a_last_batch_of_one_sample_joins_the_one_before(tmp_path, caplog):
    with caplog.at_level("INFO", logger="zoo"):
        result = run_small(
            tmp_path, model="normal", registry=own_registry(), dataset_params={"train_size": 65, "test_size": 33}
        )
    assert "it joins the batch before" in caplog.text
    assert len(result.history) == 1


def test_batch_normalisation_of_a_single_sample_is_refused(tmp_path):
    with pytest.raises(zoo.DataError, match="a training batch of one sample has no variance"):
        run_small(
            tmp_path,
            model="normal",
            registry=own_registry(),
            dataset_params={"train_size": 2, "test_size": 2},
            batch_size=1,
        )


def test_a_metric_may_give_several_numbers(tmp_path):
    class HitsAndMisses:
        def __init__(self, *, num_classes):
            self.reset()

        def reset(self):
            self.hits = self.misses = 0

        def update(self, logits, targets):
            hits = int((logits.argmax(1) == targets).sum())
            self.hits, self.misses = self.hits + hits, self.misses + len(targets) - hits

        def compute(self):
            return {"hits": torch.tensor(self.hits), "misses": self.misses}

    registry = zoo.Registry.discover()
    registry.add(zoo.MetricSpec(name="both", factory=HitsAndMisses), plugin="mine")
    scores = run_small(tmp_path, metrics=["both", "accuracy"], registry=registry).metrics
    assert set(scores) == {"loss", "both.hits", "both.misses", "accuracy"}
    assert scores["both.hits"] + scores["both.misses"] == 200
    assert scores["both.hits"] / 200 == scores["accuracy"]


def test_a_broken_model_is_the_plugins_fault(tmp_path):
    class Narrow(BatchNormModel):
        def forward(self, inputs):
            return super().forward(inputs)[:, :7]

    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="narrow", factory=Narrow), plugin="mine")
    with pytest.raises(zoo.IncompatibleError, match=r"float logits of 2x10 .* got 2x7") as caught:
        run_small(tmp_path, model="narrow", registry=registry)
    assert caught.value.exit_code == 5


def test_a_false_claim_of_a_dataset_is_caught(tmp_path):
    from zoo_plugins.datasets.shapes import shapes

    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="liar", factory=shapes, samples={"train": 17}), plugin="mine")
    with pytest.raises(zoo.PluginError, match=r"samples\.train: declared 17, loaded 5000"):
        zoo.run(dataset="liar", registry=registry, runs_dir=tmp_path)


def test_a_model_that_wants_another_shape_is_refused_before_the_data_is_touched(tmp_path):
    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="rgb", factory=BatchNormModel, input_shape=(3, "*", "*")), plugin="mine")
    with pytest.raises(zoo.IncompatibleError, match=r"needs inputs of 3x\*x\*, got 1x28x28"):
        zoo.run("rgb", "fashionmnist", registry=registry, data_dir=tmp_path / "nothing", offline=True)


def test_an_allowed_adaptation_is_made_and_recorded(tmp_path):
    registry = zoo.Registry.discover()
    spec = zoo.ModelSpec(name="rgb", factory=BatchNormModel, input_shape=(3, 32, 32), adapt=("channels", "resize"))
    registry.add(spec, plugin="mine")
    result = run_small(tmp_path, model="rgb", registry=registry)
    record = json.loads((result.run / "run.json").read_text())
    assert record["adapted"] == ["channels 1 -> 3", "size 28x28 -> 32x32"]
    from zoo.records.header import read_header

    metadata = read_header(result.weights).metadata
    assert metadata["input_shape"] == [3, 32, 32]
    assert metadata["preprocess"]["channels"] == 3 and metadata["preprocess"]["resize"] == [32, 32]
    assert metadata["class_names"][0] == "disc"


def test_params_that_are_no_plain_data_are_refused(tmp_path):
    def factory(*, input_shape, num_classes, layer=None):
        return BatchNormModel(input_shape=input_shape, num_classes=num_classes)

    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="odd", factory=factory), plugin="mine")
    with pytest.raises(zoo.UsageError, match="layer: must be plain data"):
        run_small(tmp_path, model="odd", registry=registry, params={"layer": nn.ReLU()})


LONG = "9" * 30


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        *(
            ({name: value}, name)
            for name in ("batch_size", "epochs", "seed", "threads", "workers")
            for value in (LONG,)
        ),
        ({"batch_size": int(LONG)}, "batch_size"),
        ({"lr": "1e400"}, "lr"),
        ({"lr": 10**400}, "lr"),
        ({"weight_decay": "inf"}, "weight_decay"),
        ({"params": {"hidden_units": LONG}}, "hidden_units"),
        ({"params": {"hidden_units": int(LONG)}}, "hidden_units"),
        ({"params": {"hidden_units": 10**5000}}, "hidden_units"),
        ({"dataset_params": {"train_size": int(LONG)}}, "train_size"),
        ({"model": "named", "params": {"note": int(LONG)}}, "note"),
        ({"model": "named", "params": {"note": {"deep": [float("nan")]}}}, "note"),
        ({"model": "named", "params": {"note": "\udcff"}}, "note"),
        ({"model": "named", "params": {"note": "x" * 200_000}}, "note"),
    ],
)
def test_what_no_file_can_hold_is_refused_before_anything_is_read(tmp_path, arguments, name):
    def named(*, input_shape, num_classes, note: Any = None):
        raise AssertionError

    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="named", factory=named), plugin="mine")
    with pytest.raises(zoo.SettingError, match=rf"^{name}: ") as caught:
        run_small(tmp_path, registry=registry, **arguments)
    assert caught.value.exit_code == 2


def test_a_validation_split_is_scored_and_chooses_the_best_run(tmp_path):
    torch.manual_seed(0)
    targets = torch.arange(60) % 2
    images = (targets * 200).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous()
    hard = (torch.rand(60, 1, 4, 4) * 255).to(torch.uint8)

    def sides(*, root, easy: bool = True):
        validation = (images if easy else hard, targets)
        return zoo.DataSplits(
            train=(images, targets), test=(hard, targets), validation=validation, class_names=("a", "b")
        )

    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="sides", factory=sides))
    options = {"dataset": "sides", "registry": registry, "runs_dir": tmp_path, "epochs": 3}
    runs = [zoo.run(dataset_params={"easy": easy}, **options) for easy in (False, True, False)]
    scores = [json.loads((run.run / "run.json").read_text())["validation"]["accuracy"] for run in runs]
    assert scores[1] == 1 > max(scores[0], scores[2])
    assert runs[1].metrics["accuracy"] < 1, "the test split says something else"
    best = zoo.load("@best", runs_dir=tmp_path, registry=registry)
    assert best.metadata["seed"] == 42
    assert zoo.verify("@best", runs_dir=tmp_path, registry=registry).path == runs[1].weights
    assert zoo.verify("@last", runs_dir=tmp_path, registry=registry).path == runs[2].weights
    assert zoo.verify("baseline@local/sides", runs_dir=tmp_path, registry=registry).path == runs[2].weights
