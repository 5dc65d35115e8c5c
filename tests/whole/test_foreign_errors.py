"""Foreign errors: whatever a plugin raises, and wherever, its user reads one line that names the culprit."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest
import torch
from PIL import Image

import zoo
from zoo.cli.main import main
from zoo.registry.imports import import_file

pytestmark = pytest.mark.promise("P5", "P10")

# Fails wherever FAULT says, with the error that it says.
PLUGIN = """
import torch
import zoo

FAULT = {}

def fail(where):
    if where in FAULT:
        raise FAULT[where]

class Hook(torch.autograd.Function):
    @staticmethod
    def forward(context, inputs):
        return inputs.clone()
    @staticmethod
    def backward(context, gradient):
        fail("backward")
        return gradient

@zoo.model(name="evil")
class Net(torch.nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        fail("model")
        self.body, self.head = torch.nn.Linear(64, 8), torch.nn.Linear(8, num_classes)
    def forward(self, inputs):
        fail("forward")
        if self.training:
            fail("training")
        return Hook.apply(self.head(self.body(inputs.flatten(1))))
    def state_dict(self, *arguments, **options):
        fail("state_dict")
        return super().state_dict(*arguments, **options)
    def load_state_dict(self, *arguments, **options):
        fail("load_state_dict")
        return super().load_state_dict(*arguments, **options)
    def parameters(self, recurse=True):
        fail("parameters")
        return super().parameters(recurse)

class Split(torch.utils.data.Dataset):
    def __init__(self, name):
        self.name = name
    def __len__(self):
        fail("length")
        return 40
    def __getitem__(self, index):
        if self.name == "train" or index > 20:
            fail(f"{self.name} sample")
        if index == 30:
            fail("late sample")
        return torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(index)), index % 2

class Splits(zoo.DataSplits):
    def __getattribute__(self, name):
        fail("property")
        return super().__getattribute__(name)

@zoo.dataset(name="evil")
def dataset(*, root):
    fail("dataset")
    return Splits(train=Split("train"), test=Split("test"), class_names=("a", "b"))

@zoo.metric(name="evil")
class Metric:
    def __init__(self, *, num_classes):
        fail("metric")
    def update(self, logits, targets):
        fail("update")
    def compute(self):
        fail("compute")
        return 0.5
    def reset(self):
        fail("reset")
"""


class Own(BaseException):
    """No Exception: `except Exception` does not see it."""


ERRORS: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(3),
    "SystemExit of nothing": SystemExit,
    "GeneratorExit": GeneratorExit,
    "Own": lambda: Own("no luck"),
    "BrokenPipeError": lambda: BrokenPipeError(32, "Broken pipe"),
    "EOFError": EOFError,
    "StopIteration": StopIteration,
    "Exit": lambda: click.exceptions.Exit(0),
    "Abort": click.exceptions.Abort,
    "UsageError": lambda: click.UsageError("no such thing"),
    "RuntimeError": lambda: RuntimeError("no luck"),
}
FEW = ("SystemExit", "GeneratorExit", "BrokenPipeError")
ALL_TRIED = ("forward", "train sample", "update")
"""Places where all errors are tried, at the others a few."""
OPTIONS = ("--plugin", "evil.py")
RUN = ("run", "--model", "evil", "--dataset", "evil", "--metric", "evil", "--epochs", "1", *OPTIONS)
MODEL = ("model", "forward", "state_dict", "parameters")
DATA = ("dataset", "property", "length", "train sample", "test sample", "late sample")
METRIC = ("metric", "update", "compute", "reset")
# Places that each command comes to; W stands for weights.
COMMANDS = {
    " ".join(RUN): (*MODEL, "training", "backward", *DATA, *METRIC),
    "run --init W --epochs 1": (*MODEL, "load_state_dict", "training", "length", "late sample"),
    "evaluate W --metric evil": ("model", "forward", "load_state_dict", "parameters", *DATA, *METRIC),
    "predict W x.png": ("model", "forward", "state_dict"),
    "verify W": ("model", "forward", "load_state_dict"),
    "adapt W --num-classes 3 --output new.safetensors": ("model", "forward", "state_dict", "load_state_dict"),
    "check --model evil --dataset evil --metric evil": ("model", "training", "property", "length", "train sample"),
    "samples evil": ("dataset", "property", "length", "train sample"),
    "show evil --layers --dataset shapes": ("model", "parameters"),
    "show evil --counts": ("dataset", "property", "length", "test sample", "late sample"),
    "compare COPY": ("forward", "length"),
    "report COPY --output page.html": ("late sample",),
    "plot COPY --kind predictions --output x.png": ("test sample",),
}


@pytest.fixture
def evil(own_folder: Path) -> Iterator[ModuleType]:
    Path("evil.py").write_text(PLUGIN)
    Image.new("L", (8, 8)).save("x.png")
    module = import_file(own_folder / "evil.py")
    yield module
    del sys.modules[module.__name__]


@pytest.fixture
def weights(evil: ModuleType) -> Path:
    return zoo.run("evil", "evil", metrics="evil", epochs=1, plugins=["evil.py"]).weights


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_what_a_plugin_raises_is_one_line_that_names_it(
    command: str, evil: ModuleType, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = Path("copy.safetensors")  # outside its run's folder, so that its predictions are not known
    copy.write_bytes(weights.read_bytes())
    arguments = [{"W": str(weights), "COPY": str(copy)}.get(word, word) for word in command.split()]
    arguments += [] if OPTIONS[0] in arguments else OPTIONS
    for where in COMMANDS[command]:
        for name in ERRORS if where in ALL_TRIED else FEW:
            evil.FAULT[where] = make = ERRORS[name]()
            capsys.readouterr()
            code = main(arguments)
            evil.FAULT.clear()
            out, err = capsys.readouterr()
            lines = [
                line for line in err.splitlines() if not line.startswith(("epoch", "Warning", "started", "adapted"))
            ]
            case = f"{command}: {name} in {where}: {code}\n{out}\n{err}"
            # Golden samples that cannot be replayed are a fault of the file: the code may have changed since.
            assert code in (3, 5) or ("verify" in command and isinstance(make, Exception) and code == 4), case
            assert len(lines) == 1 and lines[0].startswith("Error: "), case
            assert code == 4 or re.search(r"(plugin|dataset|metric|model|data set) 'evil'", lines[0]), case
            assert "bug in zoo" not in err and "Traceback" not in err, case
            assert code == 4 or type(make).__name__ in err + out, case


def test_in_workers_a_sample_is_named_too(evil: ModuleType, own_folder: Path) -> None:
    for make in (lambda: SystemExit(3), GeneratorExit):
        evil.FAULT["late sample"] = make()
        with pytest.raises(zoo.DataError, match=rf"dataset 'evil': sample 30: {type(make()).__name__}"):
            zoo.run("evil", "evil", metrics="evil", epochs=1, workers=2, plugins=["evil.py"])


def test_python_functions_raise_zoo_errors(evil: ModuleType, own_folder: Path) -> None:
    evil.FAULT.clear()
    net = evil.Net(input_shape=(1, 8, 8), num_classes=2)
    about = {"model": "evil/evil", "input_shape": (1, 8, 8), "class_names": ("a", "b"), "plugins": ["evil.py"]}
    for where in ("forward", "state_dict", "model"):
        evil.FAULT[where] = SystemExit(3)
        with pytest.raises(zoo.ZooError, match=r"(plugin|model) 'evil'.*SystemExit: 3") as caught:
            zoo.save(net, "new.safetensors", **about)
        assert caught.value.exit_code == 5
        evil.FAULT.clear()
    predictor = zoo.load(zoo.save(net, "new.safetensors", **about), plugins=["evil.py"])
    evil.FAULT["forward"] = GeneratorExit()
    with pytest.raises(zoo.PluginError, match=r"plugin 'evil': model 'evil' fail.*: GeneratorExit"):
        predictor(torch.zeros(1, 8, 8, dtype=torch.uint8))


@pytest.mark.parametrize("error", [SystemExit(4), ValueError("mine"), KeyboardInterrupt()], ids=repr)
def test_an_error_of_the_callers_own_function_stays_as_it_is(
    error: BaseException, evil: ModuleType, own_folder: Path
) -> None:
    def on_epoch(epoch: object) -> None:
        raise error

    for model in ("baseline", "evil"):
        with pytest.raises(type(error)) as caught:
            zoo.run(model, "evil", epochs=1, on_epoch=on_epoch, plugins=["evil.py"])
        assert caught.value is error


def test_a_hook_for_all_modules_is_foreign_code_too(evil: ModuleType, own_folder: Path) -> None:
    def hook(module: object, inputs: object) -> None:
        if torch.is_grad_enabled():
            raise SystemExit(3)

    failure = pytest.raises(zoo.PluginError, match="model 'baseline' failed: SystemExit: 3")
    with torch.nn.modules.module.register_module_forward_pre_hook(hook), failure:
        zoo.run("baseline", "evil", epochs=1, plugins=["evil.py"])
