"""The captured step: the same bits as the ordinary one, and no capture of what is not the same each time."""

from __future__ import annotations

import functools
import random
import weakref
from contextlib import ExitStack

import pytest
import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional
from torch.nn.modules.module import register_module_forward_hook
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torchvision.models import ConvNeXt, EfficientNet, MaxVit, SwinTransformer, VisionTransformer
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import FusedMBConvConfig, MBConvConfig

import zoo
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.models.device import use_seed, use_threads
from zoo.models.freezing import freeze as freeze_parameters
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training import capture
from zoo.training.augmentation import find_augment
from zoo.training.objective import WeightedCrossEntropy
from zoo.training.purity import find_impurity
from zoo.training.step import build_step
from zoo.training.trainer import Trainer

CPU = torch.device("cpu")
CLASSES, CHANNELS, SIDE, BATCH = 5, 2, 8, 6
STEPS = 11
"""Of an epoch: ten full batches and one that is not."""


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(capture, "REPAID", 0)
    with use_threads(1):
        yield


def draw(steps=STEPS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    samples = BATCH * (steps - 1) + BATCH // 2
    images = torch.rand(samples, CHANNELS, SIDE, SIDE, generator=generator)
    return images, torch.randint(CLASSES, (samples,), generator=generator)


class Attention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.attend = nn.MultiheadAttention(width, 2, dropout=0.1, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return (tokens + self.attend(tokens, tokens, tokens, need_weights=False)[0]).mean(1)


class Scaled(nn.Module):
    """A layer of one's own: a parameter used twice, a buffer that is counted, slices, an in-place write."""

    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1, 1))
        self.register_buffer("seen", torch.zeros(()))
        self.sizes = (1, 2)

    def forward(self, x):
        self.seen.add_(1)
        y = x * self.scale + self.scale / (1 + self.seen)
        y[:, 0] = y[:, 0] * 2
        parts = [functional.avg_pool2d(y, size) for size in self.sizes]
        if self.training and len(parts) > 1:
            parts.append(functional.dropout(parts[0], 0.3))
        return sum(each.mean((2, 3), keepdim=True) for each in parts) + y


class Recurrent(nn.Module):
    def __init__(self, kind, width):
        super().__init__()
        self.layer = kind(width, 6, batch_first=True)

    def forward(self, x):
        return self.layer(x.flatten(2).transpose(1, 2))[0][:, -1]


class Tied(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = nn.Embedding(8, width)

    def forward(self, x):
        rows = self.table((x.flatten(2).mean(1) * 7).long().clamp(0, 7))
        return rows.mean(1) @ self.table.weight.t()


class Residual(nn.Module):
    def __init__(self, *layers):
        super().__init__()
        self.inner = nn.Sequential(*layers)

    def forward(self, x):
        return x + self.inner(x)


def pooled(*layers):
    return nn.Sequential(nn.Conv2d(CHANNELS, 8, 3, padding=1), *layers, nn.Flatten(), nn.LazyLinear(CLASSES))


LAYERS = {
    "linear": lambda: nn.Sequential(nn.Flatten(), nn.Linear(CHANNELS * SIDE * SIDE, 12), nn.Linear(12, CLASSES)),
    "relu": lambda: pooled(nn.ReLU(inplace=True), nn.MaxPool2d(2)),
    "batch norm": lambda: pooled(nn.BatchNorm2d(8), nn.GELU(), nn.AdaptiveAvgPool2d(2)),
    "dropout": lambda: pooled(nn.Dropout(0.5), nn.Tanh(), nn.Dropout2d(0.2), nn.AlphaDropout(0.1)),
    "group norm": lambda: pooled(nn.GroupNorm(2, 8), nn.SiLU(), nn.AvgPool2d(2)),
    "layer norm": lambda: pooled(nn.LayerNorm([SIDE, SIDE]), nn.Mish(), nn.InstanceNorm2d(8, affine=True)),
    "strided": lambda: pooled(nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.Hardswish(), nn.ConvTranspose2d(8, 4, 2)),
    "residual": lambda: pooled(Residual(nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ELU())),
    "attention": lambda: nn.Sequential(nn.Conv2d(CHANNELS, 8, 2, stride=2), Attention(8), nn.Linear(8, CLASSES)),
    "transformer": lambda: nn.Sequential(
        nn.Flatten(2),
        nn.Linear(SIDE * SIDE, 8),
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        nn.Flatten(),
        nn.Linear(8 * CHANNELS, CLASSES),
    ),
    "own": lambda: pooled(Scaled(8), nn.LeakyReLU()),
    "lstm": lambda: nn.Sequential(nn.Conv2d(CHANNELS, 4, 3), Recurrent(nn.LSTM, 4), nn.Linear(6, CLASSES)),
    "gru": lambda: nn.Sequential(nn.Conv2d(CHANNELS, 4, 3), Recurrent(nn.GRU, 4), nn.Linear(6, CLASSES)),
    "embedding": lambda: nn.Sequential(Tied(8), nn.Linear(8, CLASSES)),
    "prelu": lambda: pooled(nn.PReLU(8), nn.Softplus(), nn.ReflectionPad2d(1), nn.PixelShuffle(2)),
    "bilinear": lambda: pooled(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Softmax2d(), nn.LPPool2d(2, 2)),
    "rrelu": lambda: pooled(nn.RReLU(), nn.FractionalMaxPool2d(2, output_size=3), nn.Hardtanh()),
    "unfold": lambda: nn.Sequential(
        nn.Unfold(3, stride=2), nn.Conv1d(18, 4, 3), nn.CELU(), nn.Flatten(), nn.LazyLinear(5)
    ),
    "local": lambda: pooled(nn.LocalResponseNorm(3), nn.SELU(), nn.MaxPool2d(3, 2, return_indices=False), nn.Sigmoid()),
    "frozen": lambda: freeze(pooled(nn.BatchNorm2d(8), nn.ReLU6())),
    "channels last": lambda: to_channels_last(pooled(nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))),
    "threshold": lambda: pooled(nn.Threshold(0.1, 0.0), nn.Softshrink(), nn.GLU(1), nn.ChannelShuffle(2)),
}


def to_channels_last(model):
    model[0].to(memory_format=torch.channels_last)
    return model


KINDS = [
    lambda: nn.Conv2d(8, 8, 3, padding=1),
    lambda: nn.Conv2d(8, 8, 1, groups=4, bias=False),
    lambda: nn.ConvTranspose2d(8, 8, 2, stride=2),
    lambda: nn.BatchNorm2d(8),
    lambda: nn.BatchNorm2d(8, affine=False, momentum=0.3),
    lambda: nn.GroupNorm(4, 8),
    lambda: nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
    lambda: nn.LocalResponseNorm(2),
    lambda: nn.Dropout(0.3),
    lambda: nn.Dropout2d(0.3),
    nn.ReLU,
    nn.GELU,
    nn.PReLU,
    nn.RReLU,
    nn.SiLU,
    lambda: nn.Softmax(1),
    lambda: nn.MaxPool2d(2, stride=1),
    lambda: nn.AvgPool2d(3, stride=1, padding=1),
    lambda: nn.Upsample(scale_factor=2),
    lambda: nn.ZeroPad2d(1),
    lambda: nn.CircularPad2d(1),
    lambda: Residual(nn.Conv2d(8, 8, 3, padding=1), nn.Tanh()),
    lambda: Scaled(8),
]


def draw_model(drawn):
    """Return what builds a small model of some layers, and settings of its training."""
    layers = [drawn.choice(KINDS) for _ in range(drawn.randint(1, 6))]
    settings = {}
    for feature in drawn.sample(list(FEATURES), drawn.randint(0, 3)):
        settings |= FEATURES[feature]
    if settings.get("schedule") == "one-cycle":
        settings.pop("warmup", None)
    if "mixup" in settings:
        settings.pop("cutmix", None)
    if settings.get("optimizer", "sgd") != "sgd":
        settings.pop("momentum", None)

    def build():
        return pooled(*(layer() for layer in layers), nn.AdaptiveAvgPool2d(3))

    return build, settings


def freeze(model):
    model[0].requires_grad_(False)
    return model


FEATURES = {
    "plain": {},
    "momentum": {"momentum": 0.9, "weight_decay": 0.01, "schedule": "one-cycle"},
    "clipped": {"clip": 0.5, "optimizer": "adamw", "schedule": "cosine", "warmup": 3},
    "accumulated": {"accumulate": 3, "clip_value": 0.01},
    "averaged": {"ema": 0.9, "optimizer": "adam", "label_smoothing": 0.1},
    "bf16": {"precision": "bf16", "schedule": "step"},
    "mixup": {"mixup": 0.4, "accumulate": 2},
    "cutmix": {"cutmix": 1.0, "augment": "flip", "label_smoothing": 0.2},
}


def train(build, *, captured, loss_function=functional.cross_entropy, epochs=3, declared=None, stop=None, **settings):
    """Train with all seeds set; return the state of the trainer and its history, and how many steps were replayed."""
    with use_seed(1):
        model = build()
        with torch.no_grad():
            model(torch.zeros(2, CHANNELS, SIDE, SIDE))
        config = TrainConfig(batch_size=BATCH, epochs=epochs, capture=captured, **{"lr": 0.01, **settings})
        trainer = Trainer(model, config, CPU, loss_function=loss_function, capture=declared)
        made = BatchSettings(batch_size=BATCH, device=CPU, shuffle_seed=3, augment=find_augment(config))
        batches = TensorBatches(*draw(), Preprocess(), made, CLASSES)
        counted = count_replays(trainer.prepare(len(batches)))
        history = trainer.fit(batches, batches)
        state = trainer.state()
    for epoch in history:
        del epoch["seconds"]
    del state["history"]
    return state, history, len(counted)


def count_replays(step):
    """Note each batch that is replayed from now on."""
    counted = []
    if step.capture is not None:
        begin = step.capture._begin

        def counting(*batch):
            loss = begin(*batch)
            if step.capture.form is not None:
                replay = step.capture.replay
                step.capture.replay = lambda *batch: (counted.append(1), replay(*batch))[1]
            return loss

        step.capture._begin = counting
    return counted


def flatten(value):
    """Return what a state is, tensors as their bits."""
    if isinstance(value, torch.Tensor):
        return (
            str(value.dtype),
            tuple(value.shape),
            value.resolve_conj().contiguous().reshape(-1).view(torch.uint8).tolist(),
        )
    if isinstance(value, dict):
        return {name: flatten(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [flatten(each) for each in value]
    return repr(value)


def compare(build, **settings):
    """Train both ways; return how many steps were replayed of the 27 that can be."""
    one, history, _ = train(build, captured=False, **settings)
    other, again, replayed = train(build, captured=True, **settings)
    assert history == again
    assert flatten(one) == flatten(other)
    return replayed


def check_kinds(features):
    for feature in features:
        for number, (name, build) in enumerate(LAYERS.items()):
            chosen = FEATURES[feature] if feature else list(FEATURES.values())[number % len(FEATURES)]
            assert compare(build, **chosen) == 27, (name, feature)


def check_drawn(count):
    drawn = random.Random(17)
    for number in range(count):
        build, settings = draw_model(drawn)
        assert compare(build, **settings) == 27, (number, settings, build())


@pytest.mark.slow
def test_no_bit_differs_whatever_the_layers_are():
    check_kinds([None])
    check_drawn(4)


@pytest.mark.nightly
def test_no_bit_differs_whatever_layers_and_settings_are():
    check_kinds(FEATURES)
    check_drawn(300)


def test_losses_of_all_kinds_are_captured():
    weighted = WeightedCrossEntropy(torch.rand(CLASSES) + 0.5)
    assert compare(LAYERS["linear"], loss_function=weighted, accumulate=3, label_smoothing=0.1) == 27
    assert compare(LAYERS["linear"], loss_function=lambda x, y: functional.nll_loss(x.log_softmax(1), y)) == 27
    assert compare(LAYERS["linear"], loss_function=lambda x, y: functional.cross_entropy(x * random.random(), y)) == 0


class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.seen, self.norm = [], nn.BatchNorm1d(CLASSES)

    def forward(self, logits, targets):
        if self.training:
            self.seen.append(1)
        return functional.cross_entropy(self.norm(logits), targets) * (2 if len(self.seen) > 500 else 1)


def count_in(seen, logits, targets):
    seen.append(1)
    return functional.cross_entropy(logits, targets) * (2 if len(seen) > 500 else 1)


def test_losses_that_keep_something_are_not_captured():
    functions = Counting(), Counting(), functools.partial(count_in, [])
    functions[1].norm.momentum = None
    for function in functions:
        assert train(LAYERS["linear"], captured=True, loss_function=function, epochs=1)[2] == 0
    assert len(functions[0].seen) == len(functions[2].args[0]) == STEPS


HEARERS = {
    "gradient": lambda model, hear: model[1].weight.register_hook(hear),
    "layers": lambda model, hear: register_module_forward_hook(lambda *_: hear()),
    "saved tensors": lambda model, hear: saved_tensors_hooks(hear, hear),
    "anomalies": lambda model, hear: torch.autograd.set_detect_anomaly(mode=True),
}


@pytest.mark.parametrize("name", HEARERS)
def test_what_hears_of_each_step_ends_the_capture_when_it_begins(name):
    def hear(value=None):
        return value

    with ExitStack() as stack, use_seed(1):
        model = LAYERS["linear"]()
        trainer = Trainer(model, TrainConfig(batch_size=BATCH, epochs=3, lr=0.01), CPU)
        batches = TensorBatches(*draw(), Preprocess(), BatchSettings(batch_size=BATCH, device=CPU, shuffle_seed=3))
        counted = count_replays(trainer.prepare(len(batches)))
        begun = []

        def begin(epoch):
            if epoch["epoch"] == 1:
                begun.append(stack.enter_context(HEARERS[name](model, hear)))

        trainer.on_epoch = begin
        trainer.fit(batches, batches)
    assert len(begun) == 1
    assert len(counted) == 9


def test_an_error_of_a_value_is_raised_by_a_replay_too():
    for captured in (False, None):
        model = make({"body": "x = x + torch.linalg.inv(torch.diag(x[:, 0])).sum()"}).train()
        optimizer, config = torch.optim.SGD(model.parameters()), TrainConfig(batch_size=BATCH)
        step = build_step(model, functional.cross_entropy, optimizer, None, config, None, captured)
        step.start(0, 30, 30)
        images, targets = (each[:BATCH] for each in draw())
        step(images + 1, targets)
        step(images + 1, targets)
        assert captured is False or step.capture.form is not None
        with pytest.raises(torch.linalg.LinAlgError, match="singular"):
            step(images * 0, targets)


def counted(logits, targets):
    """A loss of which a batch counts a number that follows from its targets."""
    return functional.cross_entropy(logits, targets)


counted.weigh = lambda targets: 1 + int(targets.sum()) % 2


def test_a_batch_that_counts_otherwise_than_the_recorded_one_is_not_replayed():
    assert 0 < compare(LAYERS["linear"], loss_function=counted, accumulate=2) < 27


class Steady(nn.Module):
    """A model with what is allowed: buffers that are written into, blocks without gradients, helpers, constants."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(CHANNELS * SIDE * SIDE, CLASSES)
        self.register_buffer("seen", torch.zeros(()))
        self.mask = torch.ones(CLASSES)
        self.sizes, self.named = [1, 2], {"layers": [self.layer], "scale": (1.0, 2.0)}

    def forward(self, x):
        torch._assert(x.shape[0] > 0 and not torch.jit.is_scripting(), "no batch")
        with torch.no_grad():
            self.seen.add_(1).lerp_(self.seen, 0.5)
            scale = torch.where(self.seen > 4, *reversed(self.named["scale"]))
        parts = [self.cut(x, size) for size in self.sizes if size < x.shape[-1]]
        parts.extend([x, x / self.measure(x)])
        parts.insert(0, parts.pop())
        if self.training:
            parts.append(functional.dropout(x, 0.1) * torch.rand(()))
        return self.named["layers"][0](sum(parts).flatten(1)) * self.mask * scale

    @staticmethod
    def cut(x, size):
        return squared(x) / size

    @property
    def width(self):
        return len(self.sizes)

    @torch.no_grad()
    def measure(self, x):
        return torch.linalg.vector_norm(torch.fft.rfft(x)) / self.width


def squared(x):
    return x * x


def test_buffers_helpers_and_blocks_without_gradients_are_captured():
    assert find_impurity(Steady(), functional.cross_entropy) == ""
    assert compare(Steady) == 27


WITH_PLANES = {
    "convnext": lambda: ConvNeXt([CNBlockConfig(8, 12, 1), CNBlockConfig(12, None, 1)], 0.5, num_classes=CLASSES),
    "efficientnet": lambda: EfficientNet(
        [MBConvConfig(2, 3, 1, 8, 8, 2), FusedMBConvConfig(2, 3, 1, 8, 8, 1)], 0.2, 0.5, CLASSES, last_channel=16
    ),
    "maxvit": lambda: MaxVit((32, 32), 8, 4, [8], [1], 4, 0.5, num_classes=CLASSES),
    "swin": lambda: SwinTransformer([2, 2], 8, [2], [2], [2, 2], stochastic_depth_prob=0.5, num_classes=CLASSES),
    "vit": lambda: VisionTransformer(SIDE, 4, 1, 2, 8, 16, dropout=0.1, num_classes=CLASSES),
}
"""Small models of families of torchvision, which take images with three planes."""


@pytest.mark.slow
@pytest.mark.parametrize("family", WITH_PLANES)
def test_families_of_torchvision_are_captured(family):
    def build():
        larger = [nn.Upsample(32)] if family == "maxvit" else []
        return nn.Sequential(nn.Conv2d(CHANNELS, 3, 1), *larger, WITH_PLANES[family]())

    assert compare(build, optimizer="adamw", clip=1.0) == 27


BODY = """
import collections, contextlib, datetime, functools, itertools, math, os, random, time
import numpy as np
import torch
from random import random as draw
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
{outer}
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop, self.n, self.seen = nn.Linear(128, 5), nn.Dropout(0.2), 0, []
        {setup}
    def forward(self, x{more}):
        x = x.flatten(1)
        {body}
        return self.layer(x)
{after}
model = Net()
{end}
"""
LATE = " * (2 if {} > 500 else 1)"
COUNTS = "def f(x):\n    C.n += 1\n    return x * (2 if C.n > 500 else 1)\nclass C:\n    n = 0\n"
CALLED = COUNTS + "    def __call__(self, x):\n        return f(x)\n    __rmul__ = __call__\n"
LAYER = "class Mine(nn.Linear):\n    def {}:\n        C.n += 1\n        return {} * (2 if C.n > 500 else 1)"
MINE = "model.layer = Mine(128, 5)"
IMPURE = {
    "counter": {"body": "self.n += 1; x = x" + LATE.format("self.n")},
    "random": {"body": "x = x * random.random()"},
    "random by its name": {"body": "x = x * draw()"},
    "numpy": {"body": "x = x * float(np.random.rand())"},
    "numpy generator": {"setup": "self.rng = np.random.default_rng(0)", "body": "x = x * self.rng.normal()"},
    "python generator": {"setup": "self.rng = random.Random(0)", "body": "x = x * self.rng.random()"},
    "torch generator": {"setup": "self.rng = torch.Generator()", "body": "x = x * torch.rand(1, generator=self.rng)"},
    "seed": {"body": "torch.manual_seed(0); x = functional.dropout(x)"},
    "generator state": {"body": "s = torch.get_rng_state(); x = functional.dropout(x); torch.set_rng_state(s)"},
    "time": {"body": "x = x * (1 if time.time() > 0 else 2)"},
    "date": {"body": "x = x * datetime.datetime.now().second"},
    "environment": {"body": "x = x * (2 if os.environ.get('HOT') else 1)"},
    "set": {"setup": "self.seen = set()", "body": "s = self.seen; s.add(len(s)); x = x" + LATE.format("len(s)")},
    "list of a class": {"body": "self.c.append(1); x = x" + LATE.format("len(self.c)"), "after": "Net.c = []"},
    "list of counters": {"setup": "self.i = [itertools.count()]", "body": "x = x" + LATE.format("next(self.i[0])")},
    "list of functions": {"outer": COUNTS, "setup": "self.f = [f]", "body": "x = self.f[0](x)"},
    "kind of dict": {
        "setup": "self.d = collections.Counter()",
        "body": "self.d['n'] += 1; x = x" + LATE.format("self.d['n']"),
    },
    "kind of tuple": {
        "outer": COUNTS + "class T(collections.namedtuple('T', 'a')):\n    b = property(lambda self: f(1))",
        "setup": "self.t = T(1)",
        "body": "x = x * self.t.b",
    },
    "deque": {"setup": "self.q = collections.deque()", "body": "self.q.append(1); x = x" + LATE.format("len(self.q)")},
    "iterator": {"setup": "self.i = itertools.count()", "body": "x = x" + LATE.format("next(self.i)")},
    "loop": {
        "setup": "self.i = iter(range(900))",
        "body": "\n        for n in self.i:\n            x = x * n\n            break",
    },
    "global": {"outer": "N = 0", "body": "global N; N += 1; x = x" + LATE.format("N")},
    "global list": {"outer": "N = [0]", "body": "N[0] += 1; x = x" + LATE.format("N[0]")},
    "globals": {"body": "globals()['N'] = globals().get('N', 0) + 1; x = x" + LATE.format("N")},
    "class": {"body": "Net.n = getattr(Net, 'n', 0) + 1; x = x" + LATE.format("Net.n")},
    "type": {"body": "type(self).n = 1; x = x"},
    "default list": {"more": ", s=[]", "body": "s.append(1); x = x" + LATE.format("len(s)")},
    "default set": {"more": ", s=set()", "body": "s.add(len(s)); x = x" + LATE.format("len(s)")},
    "parts of a function": {
        "outer": "def f(x):\n    f.seen.append(1)\n    return x" + LATE.format("len(f.seen)") + "\nf.seen = []",
        "body": "x = f(x)",
    },
    "parts of a tensor": {
        "end": "model.layer.bias.seen = []",
        "body": "s = self.layer.bias.seen; s.append(1); x = x" + LATE.format("len(s)"),
    },
    "gradient": {"setup": "self.grad = None", "body": "x = x if self.layer.weight.grad is None else x * 2"},
    "name of torch's": {"setup": "self.seed = 0", "body": "torch.seed(); x = functional.dropout(x)"},
    "text of a layer": {
        "outer": COUNTS,
        "body": "x = x * len(f'{self}')",
        "after": "Net.extra_repr = lambda self: str(f(1))",
    },
    "length": {"outer": CALLED, "body": "x = x * len(self)", "after": "Net.__len__ = C()"},
    "method made of parts": {
        "outer": COUNTS,
        "body": "x = x * len(self)",
        "after": "Net.__len__ = functools.partialmethod(lambda self, n: f(n), 1)",
    },
    "layers": {
        "outer": COUNTS,
        "body": "\n        for each in self.children(): x = x * 1",
        "after": "old = nn.Module.named_children\nNet.named_children = lambda self: f(old(self))",
    },
    "default keyword": {"more": ", *, s={}", "body": "s[len(s)] = 1; x = x" + LATE.format("len(s)")},
    "function": {"outer": COUNTS, "body": "x = f(x)"},
    "function as attribute": {"outer": COUNTS, "setup": "self.f = f", "body": "x = self.f(x)"},
    "closure": {
        "outer": "def make():\n    n = 0\n    def f(x):\n        nonlocal n\n        n += 1\n        return x"
        + LATE.format("n")
        + "\n    return f\nf = make()",
        "body": "x = f(x)",
    },
    "lambda": {"setup": "self.f = lambda x: x * random.random()", "body": "x = self.f(x)"},
    "partial": {"outer": COUNTS, "setup": "self.f = functools.partial(f)", "body": "x = self.f(x)"},
    "cache": {"outer": "@functools.lru_cache\ndef f():\n    return draw()", "body": "x = x * f()"},
    "cached method": {"after": "Net.f = functools.lru_cache(lambda self: draw())", "body": "x = x * self.f()"},
    "callable": {"outer": CALLED, "setup": "self.c = C()", "body": "x = self.c(x)"},
    "operator": {"outer": CALLED, "setup": "self.c = C()", "body": "x = x * self.c"},
    "method": {"outer": COUNTS, "body": "x = self.f(x)", "after": "Net.f = lambda self, x: f(x)"},
    "static method": {"outer": COUNTS, "body": "x = self.f(x)", "after": "Net.f = staticmethod(f)"},
    "class method": {"outer": COUNTS, "body": "x = self.f(x)", "after": "Net.f = classmethod(lambda c, x: f(x))"},
    "property": {"outer": COUNTS, "body": "x = x * self.f", "after": "Net.f = property(lambda self: f(1))"},
    "attributes made": {
        "outer": COUNTS,
        "body": "x = x * self.f",
        "after": "old = nn.Module.__getattr__\nNet.__getattr__ = lambda self, k: f(1) if k == 'f' else old(self, k)",
    },
    "setattr": {"body": "setattr(self, 'n', self.n + 1); x = x" + LATE.format("self.n")},
    "object": {"body": "object.__setattr__(self, 'n', self.n + 1); x = x" + LATE.format("self.n")},
    "vars": {"body": "vars(self)['n'] += 1; x = x" + LATE.format("self.n")},
    "__dict__": {"body": "self.__dict__['n'] += 1; x = x" + LATE.format("self.n")},
    "mode": {"body": "self.drop.training = not self.drop.training; x = self.drop(x)"},
    "eval": {"body": "self.drop.eval(); x = self.drop(x)"},
    "buffer made": {"body": "self.register_buffer('last', x.mean()); x = x * self.last"},
    "hook made": {"body": "self.layer.register_forward_hook(lambda *a: None)"},
    "gradient hook made": {"body": "y = x * self.layer.bias.sum(); y.requires_grad and y.register_hook(lambda g: g)"},
    "weights": {"body": "self.layer.weight.data.mul_(0.9)"},
    "generator function": {"body": "x = sum(self.f(x))", "after": "def f(self, x):\n    yield x * draw()\nNet.f = f"},
    "exception": {
        "setup": "self.i = iter('abc')",
        "body": "\n        try: next(self.i)\n        except StopIteration: x = x * 2",
    },
    "error of a value": {
        "body": "\n        try: x = x * torch.multinomial(x - 0.01, 1)\n        except: x = x * 2",
    },
    "made anew": {"setup": "self.f = draw()", "body": "x = x * self.__class__().f"},
    "import": {"body": "import random as r; x = x * r.random()"},
    "__import__": {"body": "x = x * __import__('random').random()"},
    "text": {"body": "x = x * eval('draw()')"},
    "identity": {"body": "x = x * (1 + id(x) % 2)"},
    "context": {
        "outer": "@contextlib.contextmanager\ndef c():\n    yield draw()",
        "body": "\n        with c() as s:\n            x = x * s",
    },
    "autograd function": {
        "outer": COUNTS + "class Fn(torch.autograd.Function):\n    forward = staticmethod(lambda ctx, x: f(x))\n"
        "    backward = staticmethod(lambda ctx, g: g)",
        "body": "x = Fn.apply(x)",
    },
    "checkpoint": {"body": "x = checkpoint(self.drop, x, use_reentrant=False)"},
    "checkpoint by its path": {"body": "x = torch.utils.checkpoint.checkpoint(self.drop, x, use_reentrant=False)"},
    "item": {"body": "x = x * x.mean().item()"},
    "list of values": {"body": "x = x * x.sum(0).tolist()[0]"},
    "array": {"body": "x = x * torch.from_numpy(x.numpy()).mean()"},
    "hook": {"outer": COUNTS, "end": "model.layer.register_forward_hook(lambda m, i, o: f(o))"},
    "hook before": {"end": "model.layer.register_forward_pre_hook(lambda m, i: None)"},
    "hook of a backward pass": {"end": "model.layer.register_full_backward_hook(lambda m, i, o: None)"},
    "weight norm": {"end": "torch.nn.utils.parametrizations.weight_norm(model.layer)"},
    "spectral norm": {"end": "torch.nn.utils.parametrizations.spectral_norm(model.layer)"},
    "forward of an instance": {"outer": COUNTS, "end": "old = model.forward\nmodel.forward = lambda x: f(old(x))"},
    "forward of a layer": {
        "outer": COUNTS,
        "end": "old = model.layer.forward\nmodel.layer.forward = lambda x: f(old(x))",
    },
    "decorated": {
        "outer": COUNTS,
        "after": "old = Net.forward\nNet.forward = functools.wraps(old)(lambda self, x: f(old(self, x)))",
    },
    "inherited": {"body": "self.n += 1; x = x" + LATE.format("self.n"), "after": "class Net(Net):\n    pass"},
    "super": {
        "body": "self.n += 1; x = x" + LATE.format("self.n"),
        "after": "class Net(Net):\n    def forward(self, x):\n        return super().forward(x)",
    },
    "kind of a layer": {"outer": COUNTS + LAYER.format("forward(self, x)", "super().forward(x)"), "end": MINE},
    "calling a layer": {"outer": COUNTS + LAYER.format("__call__(self, x)", "super().__call__(x)"), "end": MINE},
    "weight of a layer": {
        "outer": COUNTS
        + "class Mine(nn.Linear):\n    weight = property(lambda s: f(s.w), lambda s, w: setattr(s, 'w', w))",
        "end": MINE,
    },
    "activation of a layer": {
        "outer": CALLED,
        "end": "block = nn.TransformerEncoderLayer(64, 2, 8, activation=C(), batch_first=True)\n"
        "model = nn.Sequential(nn.Flatten(2), block, nn.Flatten(), nn.Linear(128, 5))",
    },
    "name of a tensor's": {
        "outer": COUNTS + "class B(nn.Module):\n    def add(self, x):\n        return f(x)",
        "setup": "self.bs = nn.ModuleList([B()])",
        "body": "\n        for b in self.bs:\n            x = b.add(x)",
    },
    "kind of parameter": {
        "outer": "class P(nn.Parameter):\n    pass",
        "end": "model.layer.weight = P(model.layer.weight.detach().clone())",
    },
}
"""What shows in the code."""
SEEN = {
    "list": {"body": "self.seen.append(1); x = x" + LATE.format("len(self.seen)")},
    "list by another name": {"body": "s = self.seen; s += [1]; x = x" + LATE.format("len(s)")},
    "dict": {"setup": "self.d = {'n': 0}", "body": "self.d['n'] += 1; x = x" + LATE.format("self.d['n']")},
    "key": {
        "setup": "self.d = {0: 1}",
        "body": "n = max(self.d); self.d[n + 1] = 1; del self.d[n]; x = x" + LATE.format("n"),
    },
    "list that goes to and fro": {
        "body": "self.seen[:] = [] if self.seen else [1]; x = x * 2 if len(x) < 6 and self.seen else x",
    },
    "list of itself": {"setup": "self.seen.append(self.seen)"},
    "statistics outside": {
        "outer": "M, V = torch.zeros(128), torch.ones(128)",
        "body": "x = functional.batch_norm(x, M, V, training=self.training)",
    },
    "list in a list": {"setup": "self.l = [[0]]", "body": "self.l[0][0] += 1; x = x" + LATE.format("self.l[0][0]")},
    "list of a layer": {
        "setup": "self.drop.l = [0]",
        "body": "self.drop.l.append(1); x = x" + LATE.format("len(self.drop.l)"),
    },
    "list of a tensor": {"setup": "self.l = [0]", "body": "self.l[0] = x.mean()"},
    "branch": {"body": "x = x * 2 if x.mean() > 0.5 else x"},
    "loop on a value": {"body": "\n        while x.abs().sum() > 300: x = x / 2"},
    "float": {"body": "x = x * float(x.mean())"},
    "int": {"body": "x = x * int(x.sum())"},
    "text of a value": {"body": "x = x * len(f'{x.mean():.3f}')"},
    "number of values": {"body": "x = x * len(x.nonzero())"},
    "mask": {"body": "x = x * x[x > 0.5].mean()"},
    "counted buffer": {
        "setup": "self.register_buffer('b', torch.zeros(()))",
        "body": "self.b.add_(1); x = x" + LATE.format("self.b"),
    },
    "parameter": {"body": "\n        with torch.no_grad(): self.layer.weight.mul_(0.9)"},
    "largest norm": {
        "setup": "self.table = nn.Embedding(8, 128, max_norm=0.1)",
        "body": "x = x + self.table((x[:, :4] * 7).long().clamp(0, 7)).sum(1)",
    },
    "sparse": {
        "setup": "self.table = nn.Embedding(8, 128, sparse=True)",
        "body": "x = x + self.table((x[:, :4] * 7).long().clamp(0, 7)).sum(1)",
    },
    "statistics of all batches": {
        "end": "model = nn.Sequential(nn.BatchNorm2d(2, momentum=None), nn.Flatten(), nn.Linear(128, 5))"
    },
    "growing": {
        "setup": "self.ls = nn.ModuleList([nn.ReLU()])",
        "body": "self.ls.append(self.ls[0]); x = x" + LATE.format("len(self.ls)"),
    },
    "hook of a gradient": {"outer": COUNTS, "end": "model.layer.weight.register_hook(lambda g: f(g))"},
    "hook after a gradient": {"end": "model.layer.weight.register_post_accumulate_grad_hook(lambda p: None)"},
}
"""What shows when the step is recorded."""


def make(case):
    space = {}
    exec(
        BODY.format(
            **{**dict.fromkeys(("outer", "after", "more", "end"), ""), "setup": "pass", "body": "pass", **case}
        ),
        space,
    )
    return space["model"]


def test_what_the_code_shows_to_differ_from_call_to_call_is_never_captured():
    missed = [name for name, case in IMPURE.items() if not find_impurity(make(case), functional.cross_entropy)]
    assert missed == []


def count_calls(function):
    count = []

    def counting(*args, **kwargs):
        count.append(1)
        return function(*args, **kwargs) * (2 if len(count) > 500 else 1)

    return counting


@pytest.mark.parametrize("wrap", [count_calls, functools.lru_cache])
@pytest.mark.parametrize(
    ("place", "name"),
    [
        (functional, "relu"),
        (torch, "relu"),
        (nn.Conv2d, "_conv_forward"),
        (nn.Module, "__call__"),
        (torch.Tensor, "sum"),
    ],
)
def test_a_torch_that_was_patched_is_not_trusted(monkeypatch, place, name, wrap):
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU())
    assert find_impurity(model, functional.cross_entropy) == ""
    monkeypatch.setattr(place, name, wrap(getattr(place, name)))
    assert find_impurity(model, functional.cross_entropy) != ""


@pytest.mark.parametrize("name", ["__init__", "__setstate__"])
def test_what_torch_compile_puts_into_layers_does_not_matter(monkeypatch, name):
    old = getattr(nn.Module, name)

    def patched(*args, **kwargs):
        return old(*args, **kwargs)

    monkeypatch.setattr(nn.Module, name, patched)
    assert find_impurity(nn.Sequential(nn.Conv2d(2, 2, 3), nn.ReLU()), functional.cross_entropy) == ""


def test_what_recording_shows_to_follow_values_is_never_captured(caplog):
    caplog.set_level(capture.DETAIL, "zoo")
    for name, case in SEEN.items():
        caplog.clear()
        replayed = train(lambda case=case: make(case), captured=True, epochs=1)[2]
        assert replayed == 0, name
        assert "the training step is not captured: " in caplog.text, name


def test_whoever_vouches_for_a_model_has_it_captured_if_it_is_the_same_twice(caplog):
    listed = {"setup": "self.sizes = {1, 2}", "body": "x = x * len(self.sizes)"}
    assert compare(lambda: make(listed)) == 0
    assert compare(lambda: make(listed), declared=True) == 27
    assert compare(LAYERS["linear"], declared=False) == 0
    for name in ("counter", "random", "item", "list"):
        build = {"body": "self.n += 1; x = x * self.n"} if name == "counter" else {**IMPURE, **SEEN}[name]
        assert train(lambda build=build: make(build), captured=True, declared=True, epochs=1)[2] == 0, name


def test_a_difference_ends_the_capture_before_the_epoch_in_which_it_shows(caplog):
    """What zoo cannot see, a number of a module that is changed, shows at the start of the next epoch."""

    def run(captured):
        with use_seed(1):
            model = make({"outer": "S = 1", "body": "x = x * S"})
            names = type(model).forward.__globals__
            config = TrainConfig(batch_size=BATCH, epochs=4, lr=0.01, capture=captured)
            trainer = Trainer(model, config, CPU)
            batches = TensorBatches(*draw(), Preprocess(), BatchSettings(batch_size=BATCH, device=CPU, shuffle_seed=3))
            counted = count_replays(trainer.prepare(len(batches)))
            trainer.on_epoch = lambda epoch: names.update(S=1 if epoch["epoch"] < 2 else 3)
            trainer.fit(batches, batches)
            return flatten(trainer.state()["parts"]), len(counted)

    one, other = run(False), run(True)
    assert one[0] == other[0]
    assert other[1] == 18
    assert [record.message for record in caplog.records] == [
        "the captured step differs from an ordinary one at the start of epoch 3: the training goes on without "
        "capture, from the state before that epoch"
    ]


def test_a_tensor_that_is_turned_in_place_is_replayed_unless_it_has_another_name():
    turned = {"body": "y = x * 1; y.transpose_(0, 1); x = y.t() * 2"}
    assert compare(lambda: make(turned), declared=True) == 27
    named = {"body": "y = x * 1; z = y.detach(); y.transpose_(0, 1); x = y.t() + z"}
    assert compare(lambda: make(named), declared=True) == 0


CHANGED = "\n        if {} or self.seen: self.seen.append(1)\n        x = x * (2 if len(self.seen) > 12 else 1)"
"""A list that grows in each step after something else has begun it."""


def test_a_list_that_an_evaluation_has_changed_ends_the_capture():
    assert compare(lambda: make({"body": CHANGED.format("not self.training")})) == 9


def test_a_list_that_a_batch_of_another_size_has_changed_ends_the_capture():
    losses = []
    for captured in (False, None):
        torch.manual_seed(0)
        model = make({"body": CHANGED.format(f"len(x) < {BATCH}")}).train()
        optimizer, config = torch.optim.SGD(model.parameters()), TrainConfig(batch_size=BATCH)
        step = build_step(model, functional.cross_entropy, optimizer, None, config, None, captured)
        step.start(0, 30, 30)
        images, targets = draw()
        sizes = [BATCH] * 3 + [2] + [BATCH] * 20
        losses.append([float(step(images[:size], targets[:size])) for size in sizes])
    assert losses[0] == losses[1]


def test_a_training_that_goes_on_and_one_that_unfreezes_have_the_same_bits():
    batches = TensorBatches(*draw(), Preprocess(), BatchSettings(batch_size=BATCH, device=CPU, shuffle_seed=3))

    def run(captured, begun=None):
        with use_seed(1):
            model = LAYERS["batch norm"]()
            model(torch.zeros(2, CHANNELS, SIDE, SIDE))
            config = TrainConfig(batch_size=BATCH, epochs=4, lr=0.01, momentum=0.9, unfreeze_at=3, capture=captured)
            trainer, states = Trainer(model, config, CPU, later=freeze_parameters(model, ["0.*"])), []
            counted = count_replays(trainer.prepare(len(batches)))
            now = lambda: (len(trainer.history), trainer.losses.steps) == (1, 4)  # noqa: E731
            trainer.after = lambda: states.append(trainer.state()) if now() else None
            if begun is not None:
                trainer.load_state(begun)
            trainer.fit(batches, batches)
            return flatten(trainer.state()["parts"]), len(counted), states

    plain, none, _ = run(False)
    captured, most, states = run(True)
    resumed, rest, _ = run(True, states[0])
    assert plain == captured == resumed
    assert (none, most, rest) == (0, 36, 5 + 18)


class Live(TorchDispatchMode):
    """Counts the bytes of memory that calls have made and that are still held, and the most there ever were."""

    now = most = 0

    @classmethod
    def _should_skip_dynamo(cls):
        return False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        before = {
            each.untyped_storage()._cdata for each in tree_leaves([args, kwargs]) if isinstance(each, torch.Tensor)
        }
        for each in tree_leaves(result):
            storage = each.untyped_storage() if isinstance(each, torch.Tensor) else None
            if storage is not None and storage._cdata not in before:
                self.now += storage.nbytes()
                weakref.finalize(storage, self.give_back, storage.nbytes())
        self.most = max(self.most, self.now)
        return result

    def give_back(self, size):
        self.now -= size


def test_a_replay_takes_no_more_memory():
    torch.manual_seed(0)
    layers = [
        layer for _ in range(6) for layer in (nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh(), nn.Dropout())
    ]
    model = nn.Sequential(nn.Conv2d(CHANNELS, 8, 1), *layers, nn.Flatten(), nn.Linear(8 * SIDE * SIDE, CLASSES)).train()
    config = TrainConfig(batch_size=BATCH, epochs=1)
    most = []
    for captured in (False, None):
        step = build_step(
            model, functional.cross_entropy, torch.optim.SGD(model.parameters()), None, config, None, captured
        )
        step.start(0, 10, 10)
        images, targets = draw()
        step(images[:BATCH], targets[:BATCH])
        step.forget()
        assert captured is False or step.capture.form is not None
        with Live() as live:
            step(images[BATCH : 2 * BATCH], targets[BATCH : 2 * BATCH])
        most.append(live.most)
    assert most[0] > 100_000
    assert most[1] <= 1.05 * most[0]


def test_a_run_says_whether_it_may_be_captured():
    for captured in (True, False):
        small = {"train_size": 70 * 4, "test_size": 40}
        result = zoo.run("baseline", "shapes", epochs=1, batch_size=1, dataset_params=small, capture=captured)
        assert result.train_config["capture"] is captured
    with pytest.raises(zoo.ZooError, match="capture"):
        zoo.run("baseline", "shapes", capture=3)
