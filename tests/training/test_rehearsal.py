"""What would fail late is found before the first step, and rehearsing changes nothing of the training."""

from __future__ import annotations

import itertools
import random
from functools import partial

import numpy
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import zoo
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.models.device import use_seed
from zoo.registry.factories import build_model
from zoo.training.trainer import Trainer

SMALL = {"train_size": 128, "test_size": 50}


class Linear(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.stack = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes))

    def forward(self, inputs):
        return self.stack(inputs)


class ExtraState(Linear):
    def get_extra_state(self):
        return {"steps": 3}

    def set_extra_state(self, state):
        pass


class Grower(Linear):
    """It makes a layer when it is first used."""

    def forward(self, inputs):
        if not hasattr(self, "scale"):
            self.scale = nn.Parameter(torch.ones(1))
        return super().forward(inputs) * self.scale


class LateGrower(Linear):
    """It makes a layer when it is first trained."""

    def forward(self, inputs):
        if self.training and not hasattr(self, "seen"):
            self.register_buffer("seen", torch.zeros(3))
        return super().forward(inputs)


class Masked(Linear):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))


class Unrepeatable(Linear):
    """Its layers depend on how many were built before."""

    built = 0

    def __init__(self, **arguments):
        super().__init__(**arguments)
        Unrepeatable.built += 1
        self.register_buffer("number", torch.zeros(Unrepeatable.built))


class TrainingOnly(Linear):
    def forward(self, inputs):
        if self.training:
            raise ValueError("no training today")
        return super().forward(inputs)


class Hidden(Linear):
    """It counts in a plain attribute, which no file holds."""

    passes = 0

    def forward(self, inputs):
        self.passes += self.training
        return super().forward(inputs) * (1 + self.passes)


class Secret(Linear):
    """A random number decides what it does."""

    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.secret = torch.rand(())

    def forward(self, inputs):
        return super().forward(inputs) * self.secret


class Restless(Linear):
    def forward(self, inputs):
        logits = super().forward(inputs)
        return logits + torch.randn_like(logits)


def run_with(tmp_path, factory, **arguments):
    registry = zoo.Registry.discover()
    registry.add(zoo.ModelSpec(name="mine", factory=factory), plugin="own")
    settings = {"dataset_params": SMALL, "epochs": 1, **arguments}
    return zoo.run("mine", registry=registry, runs_dir=tmp_path / "runs", **settings), registry


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        (ExtraState, r"the weights of model 'mine' cannot be saved: state '_extra_state' is a dict, not a tensor"),
        (Grower, r"1 that change in forward: 'scale' was not there, now it is float32 \(1,\)"),
        (LateGrower, r"1 that change in forward: 'seen' was not there, now it is float32 \(3,\)"),
        (Masked, r"model 'mine' cannot be rebuilt from its weights: .*'mask': 1 of its values are not finite"),
        (Unrepeatable, r"model 'mine' cannot be rebuilt from its weights: .*'number': \(\d,\) .* in the file"),
        (TrainingOnly, r"needs a forward pass in training mode .* got ValueError: no training today"),
    ],
)
def test_a_model_whose_weights_could_not_be_used_is_named_before_it_trains(tmp_path, factory, text):
    seen = []
    with pytest.raises(zoo.ZooError, match=text) as caught:
        run_with(tmp_path, factory, on_epoch=seen.append)
    assert caught.value.exit_code == 5
    assert not seen and not list((tmp_path / "runs").iterdir())


@pytest.mark.parametrize(
    ("factory", "text"),
    [
        (Hidden, "it keeps something outside its state dict, which is lost when it is saved"),
        (Secret, "it keeps something outside its state dict, which is lost when it is saved"),
        (Restless, "it gives other predictions each time for the same images, so it is random in eval mode"),
    ],
)
def test_a_model_that_cannot_be_proved_is_warned_about_once_and_before_it_trains(tmp_path, factory, text, caplog):
    warned = []
    result, registry = run_with(tmp_path, factory, on_epoch=lambda _: warned.extend(caplog.messages))
    assert warned == [f"model mine: {text}. Its weights will be saved without golden samples"]
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    # Models like these learn nothing, which is told too, with their names in quotes.
    assert [message for message in told if not message.startswith("model 'mine': ")] == warned
    assert zoo.verify(result.weights, registry=registry).checks["golden samples"].startswith("none in this file")


@pytest.mark.filterwarnings("ignore:Lazy modules are a new feature")
def test_lazy_layers_train_and_load(tmp_path):
    class Lazy(nn.Module):
        def __init__(self, *, input_shape, num_classes):
            super().__init__()
            self.stack = nn.Sequential(
                nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(num_classes)
            )

        def forward(self, inputs):
            return self.stack(inputs)

    result, registry = run_with(tmp_path, Lazy)
    assert zoo.verify(result.weights, registry=registry).checks["golden samples"].startswith("8 replayed")
    start = {"model": "mine", "dataset": "shapes", "dataset_params": SMALL, "registry": registry, "runs_dir": tmp_path}
    assert zoo.run(init=result.weights, epochs=1, **start).weights.is_file()


class Noisy(nn.Module):
    """It draws from all the global generators, and its buffers change."""

    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        size = torch.Size(input_shape).numel()
        self.stack = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(size), nn.Dropout(0.5), nn.Linear(size, num_classes))

    def forward(self, inputs):
        drawn = random.random() + float(numpy.random.random()) if self.training else 1.0
        return self.stack(inputs) * drawn


def test_rehearsing_does_not_change_the_training(tmp_path):
    result, registry = run_with(tmp_path, Noisy, epochs=2)
    entry = registry.get("model", "mine")
    from zoo_plugins.datasets.shapes import shapes

    splits = shapes(root=tmp_path, **SMALL)
    shape = tuple(splits.train[0].shape[1:])
    with use_seed(42):
        torch.manual_seed(42)
        model = build_model(entry, input_shape=shape, num_classes=10, params={})
        settings = BatchSettings(batch_size=32, device=torch.device("cpu"), shuffle_seed=42)
        options = {"name": "shapes", "num_classes": 10}
        train = make_batches(splits.train, zoo.Preprocess(), settings, **options)
        plain = BatchSettings(batch_size=50, device=torch.device("cpu"))
        test = make_batches(splits.test, zoo.Preprocess(), plain, **options)
        history = Trainer(model, zoo.TrainConfig(epochs=2), torch.device("cpu")).fit(train, test)
    assert [epoch["train"] for epoch in result.history] == [epoch["train"] for epoch in history]


class Counted(Dataset):
    """A Dataset that knows how often each of its samples was read."""

    def __init__(self, broken=None):
        self.reads, self.broken = [0] * 40, broken

    def __len__(self):
        return 40

    def __getitem__(self, index):
        if index == self.broken:
            raise OSError("not there")
        self.reads[index] += 1
        return torch.full((1, 16, 16), index / 40), index % 2


def test_what_the_rehearsal_reads_is_not_read_again_at_the_end(tmp_path):
    train, test = Counted(), Counted()
    registry = zoo.Registry.discover()
    splits = zoo.DataSplits(train=train, test=test, class_names=["a", "b"])
    registry.add(zoo.DatasetSpec(name="counted", factory=partial(get, splits)), plugin="own")
    reads = []
    zoo.run(
        "baseline",
        "counted",
        epochs=1,
        registry=registry,
        runs_dir=tmp_path,
        on_epoch=lambda _: reads.append((sum(train.reads), sum(test.reads))),
    )
    assert reads == [(sum(train.reads), sum(test.reads))]


def get(splits, /, *, root):
    return splits


def test_a_broken_sample_of_any_split_is_named_before_the_first_step(tmp_path):
    # The second is not in the first batch: it is read for the statistics of the data.
    for name, sample in itertools.product(("train", "test"), (17, 35)):
        parts = {key: Counted(broken=sample if key == name else None) for key in ("train", "test")}
        registry = zoo.Registry.discover()
        splits = zoo.DataSplits(**parts, class_names=["a", "b"])
        registry.add(zoo.DatasetSpec(name="broken", factory=partial(get, splits)), plugin="own")
        seen = []
        with pytest.raises(zoo.DataError, match=rf"dataset 'broken'.*: sample {sample}.*OSError: not there") as caught:
            zoo.run(
                "baseline", "broken", epochs=1, batch_size=8, registry=registry, runs_dir=tmp_path, on_epoch=seen.append
            )
        assert not seen and str(caught.value).count("sample") == 1


def test_scores_that_no_file_can_hold_are_found_before_the_first_step(tmp_path):
    class Verbose:
        def __init__(self, *, num_classes):
            pass

        def reset(self):
            pass

        def update(self, logits, targets):
            pass

        def compute(self):
            return {f"value-of-the-{number}-th-of-many-things": 0.5 for number in range(40_000)}

    registry = zoo.Registry.discover()
    registry.add(zoo.MetricSpec(name="verbose", factory=Verbose), plugin="own")
    with pytest.raises(zoo.IncompatibleError, match="needs weights that can be saved and read again") as caught:
        zoo.run(metrics="verbose", dataset_params=SMALL, registry=registry, runs_dir=tmp_path)
    assert caught.value.exit_code == 5
