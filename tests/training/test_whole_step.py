"""The whole step as one graph: the bits of ordinary steps, and ordinary steps wherever a graph would be wrong.

No test here has a GPU. What stands for a CUDA graph keeps the calls of a step with their tensors and, like a graph,
runs nothing while it records and makes the same calls on the same memory in each replay. All else is what runs on one.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial, partialmethod
from unittest.mock import Mock

import pytest
import torch
from test_capture import BATCH, CHANNELS, CLASSES, CPU, FEATURES, LAYERS, SIDE, draw, flatten
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map

import zoo
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.models.device import read_generators, set_generators, use_seed, use_threads
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training import capture, optimizers, rates
from zoo.training.augmentation import find_augment
from zoo.training.cuda_graph import CudaGraph, _find_stream
from zoo.training.graph import PlainMode
from zoo.training.step import TrainStep
from zoo.training.trace import DETAIL
from zoo.training.trainer import Trainer
from zoo.training.whole import WholeStep

WHOLE = 24
"""Steps of three epochs of eleven that a graph can make: all but the first two and the last, which is not full."""


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch):
    monkeypatch.setattr(capture, "REPAID", 0)
    monkeypatch.setattr(optimizers, "FUSED_ON", {"cpu"})
    monkeypatch.setattr(rates, "DEVICES", {"cpu"})
    with use_threads(1):
        yield


class Recorded(PlainMode):
    """Stands for a CUDA graph."""

    def __init__(self, device):
        assert device == CPU
        super().__init__()
        self.calls, self.kept, self.made = [], [], []

    def warm_up(self, run):
        run()

    def record(self, run):
        generators = read_generators()
        with self:
            run()
        with torch.no_grad():
            for tensor, value in reversed(self.kept):
                tensor.copy_(value)
        set_generators(generators)

    @torch.no_grad()
    def replay(self):
        for place, (func, args, kwargs, results) in enumerate(self.calls):
            again = self.make(place, func, args, kwargs)
            for old, new in zip(list_tensors(results), list_tensors(again), strict=True):
                if not shares(old, [new]):
                    old.copy_(new)

    def make(self, place, func, args, kwargs):
        return func(*args, **kwargs)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if torch.Tag.data_dependent_output in func.tags:
            raise RuntimeError("the host would wait for what is being recorded")
        given = {**dict(zip((each.name for each in func._schema.arguments), args, strict=False)), **kwargs}
        for each in func._schema.arguments:
            if each.alias_info is not None and each.alias_info.is_write:
                for tensor in list_tensors(given.get(each.name)):
                    if not shares(tensor, self.made):
                        self.kept.append((tensor, tensor.clone()))
        results = func(*args, **kwargs)
        self.made += [each for each in list_tensors(results) if not shares(each, list_tensors((args, kwargs)))]
        self.calls.append((func, args, kwargs, results))
        return results


def list_tensors(value):
    return [each for each in tree_leaves(value) if isinstance(each, torch.Tensor)]


def shares(tensor, others):
    return any(tensor.untyped_storage()._cdata == each.untyped_storage()._cdata for each in others)


class Repeating(Recorded):
    """A graph that draws the same random numbers in each replay, though the generator goes on."""

    def __init__(self, device):
        super().__init__(device)
        self.noise = {}

    def make(self, place, func, args, kwargs):
        result = super().make(place, func, args, kwargs)
        if "bernoulli" in func._schema.name:
            result.copy_(self.noise.setdefault(place, result.clone()))
        return result


class Baked(Recorded):
    """A graph that has a copy of what it should read anew: tensors of some form."""

    def __init__(self, device, is_copied):
        super().__init__(device)
        self.is_copied = is_copied

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        def bake(value):
            copied = isinstance(value, torch.Tensor) and not shares(value, self.made) and self.is_copied(value)
            return value.clone() if copied else value

        return super().__torch_dispatch__(func, types, *tree_map(bake, (args, kwargs or {})))


class Lazy(Recorded):
    """A graph that leaves out its last call."""

    def replay(self):
        del self.calls[-1]
        super().replay()


class Failing(Recorded):
    """A graph of which one part fails when it is used for the `number`-th time."""

    def __init__(self, device, part, number=1):
        super().__init__(device)
        self.part, self.left = part, number

    def fail(self, part):
        self.left -= part == self.part
        if not self.left:
            raise RuntimeError("CUDA error: out of luck")

    def warm_up(self, run):
        super().warm_up(run)
        self.fail("warm_up")

    def record(self, run):
        super().record(run)
        self.fail("record")

    def replay(self):
        super().replay()
        self.fail("replay")


def train(build, *, make=None, stop=None, state=None, **settings):
    """Train for three epochs, by a graph where `make` is given, up to a step where one is; return what is found."""
    with use_seed(1):
        model = build()
        with torch.no_grad():
            model(torch.zeros(2, CHANNELS, SIDE, SIDE))
        config = TrainConfig(batch_size=BATCH, epochs=3, capture=make is not None, **{"lr": 0.01, **settings})
        made = BatchSettings(batch_size=BATCH, device=CPU, shuffle_seed=3, augment=find_augment(config))
        batches = TensorBatches(*draw(), Preprocess(), made, CLASSES)
        trainer, steps, counted = Trainer(model, config, CPU), [], []
        step = trainer.prepare(len(batches))
        assert (step.rates is not None) == bool(step.optimizer.param_groups[0].get("fused"))
        whole = step.whole

        def count(inputs, targets):
            if (loss := whole(inputs, targets)) is not None:
                counted.append(1)
            return loss

        if whole is not None:
            whole.make = make
            step.whole = Mock(whole, start=whole.start, side_effect=count)
        if state is not None:
            trainer.load_state(state)
        if stop is not None:
            trainer.after = lambda: (steps.append(trainer.model.training), sum(steps) == stop and exit())
        with suppress(SystemExit):
            trainer.fit(batches, batches)
            assert whole is None or whole.graph is None, "its memory is not free"
        found = trainer.state()
    for epoch in found["history"]:
        epoch["seconds"] = None
    return found, len(counted)


def compare(build, make=Recorded, **settings):
    """Train both ways and compare all bits; return how many steps a graph made."""
    one, _ = train(build, **settings)
    other, replayed = train(build, make=make, **settings)
    assert flatten(one) == flatten(other)
    for group in other["parts"]["optimizer"]["param_groups"]:
        assert type(group["lr"]) is float
        assert not group.get("capturable")
    return replayed


MOMENTUM = {"momentum": 0.9, "weight_decay": 0.01, "schedule": "exponential", "gamma": 0.5}


def test_no_bit_differs():
    assert compare(LAYERS["dropout"], **MOMENTUM) == WHOLE
    assert compare(LAYERS["batch norm"], **FEATURES["clipped"]) == WHOLE


class Expanded(nn.Module):
    """A model with a buffer that has one value for several places, which torch does not write to."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(CHANNELS * SIDE * SIDE, CLASSES)
        self.register_buffer("shift", torch.ones(1).expand(CLASSES))

    def forward(self, inputs):
        return self.head(inputs.flatten(1)) + self.shift


def test_an_expanded_buffer_is_put_back():
    assert compare(Expanded) == WHOLE


@pytest.mark.slow
def test_no_bit_differs_whatever_layers_and_settings_are():
    # The recurrent layers of a CPU keep what the backward pass needs in a tensor that no replay can write anew.
    for name in LAYERS.keys() - {"lstm", "gru"}:
        assert compare(LAYERS[name], **MOMENTUM) == WHOLE, name
    for feature in ("averaged", "bf16"):
        assert compare(LAYERS["own"], **FEATURES[feature]) == WHOLE, feature
    mixed = {"cutmix": 1.0, "augment": "flip", "clip_value": 0.1}
    assert compare(LAYERS["batch norm"], optimizer="adam", optimizer_params={"amsgrad": True}, **mixed) == WHOLE


@pytest.mark.parametrize(
    "settings",
    [
        {"momentum": 0.9, "schedule": "one-cycle"},  # the momentum follows the rate
        {"accumulate": 2},
        {"optimizer": "rmsprop"},
        {"momentum": 0.9, "optimizer_params": {"dampening": 0.5}},
    ],
)
def test_what_a_graph_cannot_hold_is_left_to_ordinary_steps(settings):
    assert compare(LAYERS["linear"], **settings) == 0


def is_batch(tensor):
    return tensor.shape == (BATCH, CHANNELS, SIDE, SIDE)


def is_rate(tensor):
    return tensor.ndim == 0 and tensor.is_floating_point()


@pytest.mark.parametrize(
    "make",
    [
        partial(Failing, part="warm_up"),
        partial(Failing, part="record"),
        partial(Failing, part="replay", number=2),
        Repeating,
        Lazy,
        partial(Baked, is_copied=is_batch),
        partial(Baked, is_copied=is_rate),
    ],
)
def test_a_graph_that_fails_or_is_wrong_is_not_used_and_changes_nothing(make, caplog):
    with caplog.at_level(DETAIL, logger="zoo"):
        assert compare(LAYERS["dropout"], make, **MOMENTUM) == 0
    assert [record.levelno for record in caplog.records if "CUDA graph" in record.message] == [DETAIL]


class Elsewhere(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(CHANNELS * SIDE * SIDE, CLASSES)

    def forward(self, inputs):
        other = torch.zeros(3, device="meta") + 1
        return self.linear(inputs.flatten(1)) * other.shape[0]


def test_a_step_with_a_tensor_that_is_not_on_the_device_has_no_graph(caplog):
    with caplog.at_level(DETAIL, logger="zoo"):
        assert compare(Elsewhere) == 0
    assert [record.message for record in caplog.records if "is not captured" in record.message] == []
    assert any("has a tensor on meta" in record.message for record in caplog.records)


def test_each_epoch_makes_and_proves_its_own():
    made = []

    def make(device):
        made.append(1)
        return Repeating(device) if len(made) == 3 else Recorded(device)

    assert compare(LAYERS["dropout"], make, **MOMENTUM) == WHOLE * 2 / 3
    assert len(made) == 3


def test_a_training_goes_on_with_the_same_bits():
    wanted, _ = train(LAYERS["dropout"], **MOMENTUM)
    begun, replayed = train(LAYERS["dropout"], make=Recorded, stop=16, **MOMENTUM)
    found, later = train(LAYERS["dropout"], make=Recorded, state=begun, **MOMENTUM)
    assert (replayed, later) == (11, 11)
    assert flatten(found) == flatten(wanted)


def test_the_speed_of_a_graph_is_measured_without_another_update(monkeypatch):
    updates = []
    monkeypatch.setattr(TrainStep, "update", lambda own, do=TrainStep.update: (updates.append(own), do(own)))
    monkeypatch.setattr(WholeStep, "__init__", partialmethod(WholeStep.__init__, make=Recorded))
    found = zoo.bench("baseline", "shapes", seconds=0.01, threads=1, memory_format="contiguous", lr=0.1)
    assert [speed.mode for speed in found.speeds] == ["eager", "captured"]
    # The first steps of a way warm it up; the first two of a graph prove and make it.
    assert [updates.count(step) for step in dict.fromkeys(updates)][1:] == [2]


class Stream:
    """Stands for a stream of CUDA; torch's own recording does the rest."""

    current, device = None, torch.device("cuda", 0)

    def __init__(self, device=None):
        pass

    def wait_stream(self, other):
        pass


class Using:
    """Stands for `torch.cuda.stream`."""

    def __init__(self, stream):
        self.stream = stream

    def __enter__(self):
        self.before, Stream.current = Stream.current, self.stream

    def __exit__(self, *args):
        Stream.current = self.before


class Spoilt:
    """Stands for a recording during which the host had to wait."""

    def capture_begin(self, **settings):
        self.settings = settings

    def capture_end(self):
        raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


def test_a_recording_that_fails_leaves_the_stream_and_the_generator_as_they_were(monkeypatch):
    class Generator:
        state = "outside"

        def clone_state(self):
            return self.state

        def graphsafe_set_state(self, state):
            self.state = state

    generator, modes = Generator(), ["default"]

    def step():
        generator.state = "recording"
        assert Stream.current is graph.stream

    idle = dict.fromkeys(("synchronize", "empty_cache"), lambda *_: None)
    sizes = {"max_memory_reserved": lambda device: 1, "mem_get_info": lambda device: (1, 1)}
    modes_told = {"set_sync_debug_mode": modes.append, "get_sync_debug_mode": lambda: modes[-1]}
    made = {"Stream": Stream, "CUDAGraph": Spoilt, "stream": Using, "default_generators": [generator]}
    told = {"current_stream": lambda device=None: Stream.current}
    for name, value in {**idle, **sizes, **modes_told, **made, **told}.items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None)
    monkeypatch.setattr(Stream, "current", outside := Stream())
    _find_stream.cache_clear()
    graph = CudaGraph(Stream.device)
    assert CudaGraph(Stream.device).stream is graph.stream
    graph.warm_up(lambda: modes.append("warm") if modes[-1] == "error" else None)
    assert modes == ["default", "error", "warm", "default"]
    with pytest.raises(RuntimeError, match="previous error"):
        graph.record(step)
    assert (Stream.current, generator.state) == (outside, "outside")
    _find_stream.cache_clear()
    assert graph.graph.settings["capture_error_mode"] == "thread_local"


def test_parameters_whose_gradients_come_later_are_updated_as_torch_does():
    def step(**arguments):
        parameters = [nn.Parameter(torch.ones(3)), nn.Parameter(torch.full((2,), 2.0))]
        optimizer = optimizers.OPTIMIZERS["sgd"](parameters, lr=0.1, momentum=0.9, **arguments)
        for number in range(4):
            parameters[0].grad = torch.full((3,), 0.5 + number)
            parameters[1].grad = torch.full((2,), 1.5) if number > 1 else None
            optimizer.step()
        return parameters

    for own, known in zip(step(fused=True), step(foreach=False), strict=True):
        assert torch.allclose(own, known, rtol=1e-6)


def test_updates_are_fused_where_that_is_as_good(monkeypatch):
    def choose(*parameters, **settings):
        return optimizers.choose_form(TrainConfig(**settings), parameters)

    cpu, other = torch.zeros(2), torch.zeros(2, device="meta")
    monkeypatch.setattr(optimizers, "FUSED_ON", {"meta"})
    assert choose(other) == choose(other, other, optimizer="adamw") == {"fused": True}
    assert choose(cpu) == {"foreach": False}
    assert choose(other, optimizer="rmsprop") == choose(other, precision="fp16") == choose(cpu, other) == {}
    assert choose(other, momentum=0.9, optimizer_params={"dampening": 0.1}) == choose(other.to(torch.int64)) == {}
