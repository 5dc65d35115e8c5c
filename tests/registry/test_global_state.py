"""Global state: what a plugin changes for the whole process, and where, is put back and named."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from PIL import Image

import zoo
from zoo.cli.main import main
from zoo.registry.global_state import PARTS, put_back, read_state
from zoo.registry.imports import import_file

# Each change of the state, by the part that the warning must name.
CHANGES = {
    "current folder": "os.chdir('/')",
    "environment (OMP_NUM_THREADS, ZOO_HOME)": "os.environ.update(ZOO_HOME='/nowhere', OMP_NUM_THREADS='7')",
    "environment (HOME)": "os.environ.pop('HOME', None)",
    "signal handlers (SIGINT)": "signal.signal(signal.SIGINT, lambda *_: None)",
    "signal handlers (SIGTERM)": "signal.signal(signal.SIGTERM, lambda *_: None)",
    "log of zoo": "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': True})",
    "log of zoo ": "logging.disable(logging.CRITICAL)",
    "standard streams": "sys.stdout = sys.stderr = io.StringIO()",
    "recursion limit (": "sys.setrecursionlimit(sys.getrecursionlimit() + 500)",
    "locale (": "locale.setlocale(locale.LC_ALL, 'C' if locale.setlocale(locale.LC_ALL) != 'C' else 'C.UTF-8')",
    "start method of processes (": "multiprocessing.set_start_method('spawn', force=True)",
    "default dtype (torch.float32 to torch.float64)": "torch.set_default_dtype(torch.float64)",
    "default device (cpu to meta)": "torch.set_default_device('meta')",
    "thread count (": "torch.set_num_threads(torch.get_num_threads() + 1)",
    "gradient mode (": "torch.set_grad_enabled(not torch.is_grad_enabled())",
    "anomaly mode (False to True)": "torch.autograd.set_detect_anomaly(True)",
    "deterministic mode (": "torch.use_deterministic_algorithms(True, warn_only=True)",
    "matmul precision (highest to medium)": "torch.set_float32_matmul_precision('medium')",
    "cuDNN mode (": "setattr(torch.backends.cudnn, 'benchmark', True)",
    "autocast (": "torch.set_autocast_enabled('cpu', True)",
    "seed of torch (": "torch.manual_seed(5)",
}
# Does what CHANGE says at PLACE, which is set from outside, but at the top.
PLUGIN = """
import io, locale, logging, logging.config, multiprocessing, os, random, signal, sys, warnings
import numpy
import torch
import zoo

CHANGE = {}

def change(place):
    if place in CHANGE:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(CHANGE[place], globals())

@zoo.model(name="rude")
class Net(torch.nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.layer = torch.nn.Linear(16, num_classes)
        change("model")
    def forward(self, inputs):
        logits = self.layer(inputs.flatten(1))
        if 2 < len(inputs) < 5:  # before the training a few samples are tried
            change("trial")
        elif self.training:
            change("step")
        elif len(inputs) > 8:  # more than there are golden samples
            change("test")
        elif len(inputs) <= 2:
            change("prediction")
        return logits

class Split(torch.utils.data.Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, index):
        image = torch.full((1, 4, 4), index / 40)
        change("sample")
        return image, index % 2

@zoo.dataset(name="rude")
def dataset(*, root):
    change("dataset")
    return zoo.DataSplits(train=Split(), test=Split(), class_names=("a", "b"))

@zoo.metric(name="rude")
class Metric:
    def __init__(self, *, num_classes):
        self.values = []
        change("metric")
    def update(self, logits, targets):
        self.values.append(float((logits.argmax(1) == targets).sum()))
    def compute(self):
        return sum(self.values)
    def reset(self):
        self.values = []
"""
PLACES = {
    "model": "while model 'rude' was built",
    "dataset": "while dataset 'rude' was built",
    "metric": "while metric 'rude' was built",
    "sample": "while a sample was read",
    "trial": "while the model was tried before the training",
    "step": "during epoch 1",
    "test": "during testing",
}


@pytest.fixture
def rude(own_folder: Path) -> Iterator[object]:
    Path("rude.py").write_text(PLUGIN)
    module = import_file(own_folder / "rude.py")
    before = read_state()
    yield module
    put_back(before)  # what a test finds changed must not go on to others
    del sys.modules[module.__name__]


def run() -> zoo.RunResult:
    return zoo.run("rude", "rude", metrics="rude", epochs=2, batch_size=8, plugins=["rude.py"])


@pytest.fixture
def warnings_of(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    def take() -> list[str]:
        found = [message for message in caplog.messages if "put back" in message]
        caplog.clear()
        return found

    return take


@pytest.mark.promise("P5")
@pytest.mark.slow
@pytest.mark.parametrize("part", CHANGES)
def test_a_change_is_put_back_and_named_and_the_run_goes_on(
    part: str, rude: object, warnings_of: Callable[[], list[str]]
) -> None:
    usual = run()
    assert warnings_of() == []
    before = read_state()
    for place, when in PLACES.items():
        # Such a data set gives samples of different dtypes itself, such a model no gradients or no values.
        if part.startswith(("gradient", "default d")) and place in ("sample", "trial", "step", "test"):
            continue
        rude.CHANGE[place] = CHANGES[part]
        result = run()
        rude.CHANGE.clear()
        told = warnings_of()
        changed = {name for name, value in read_state().items() if value != before[name]}
        assert not changed, place
        assert len(told) == 1 and told[0].startswith("plugin 'rude' changed the "), (place, told)
        assert f"the {part.strip()}" in told[0] and told[0].endswith(f"{when}; it is put back"), (place, told)
        # Nothing of the run depends on it but what was computed in that very moment.
        if place in ("metric", "test"):
            assert result.metrics == usual.metrics, place
        assert Path(result.weights).is_file()


def test_what_a_step_changes_before_it_fails_is_put_back(rude: object) -> None:
    before = read_state()
    rude.CHANGE["step"] = "torch.set_default_dtype(torch.float64); os.chdir('/'); torch.set_grad_enabled(False); 1 / 0"
    with pytest.raises(zoo.PluginError, match="ZeroDivisionError"):
        run()
    assert read_state() == before


def test_at_import_generators_are_put_back_too(own_folder: Path, warnings_of: Callable[[], list[str]]) -> None:
    torch.manual_seed(12345)  # another seed than the plugin sets
    before, states = read_state(), (torch.get_rng_state(), torch.initial_seed())
    everything = [change for part, change in CHANGES.items() if "streams" not in part]
    Path("rude.py").write_text(f"{PLUGIN}\nrandom.seed(0)\nnumpy.random.seed(0)\n" + "\n".join(everything))
    import random

    import numpy

    random.seed(7)
    numpy.random.seed(7)
    assert zoo.list_models("rude/*", plugins=["rude.py"]) == ["rude/rude"]
    (told,) = warnings_of()
    assert told.endswith("while it was imported; it is put back")
    for part in CHANGES:
        if part not in ("standard streams", "log of zoo ", "environment (HOME)"):
            assert part.partition(" (")[0] in told
    assert read_state() == before
    assert torch.equal(torch.get_rng_state(), states[0]) and torch.initial_seed() == states[1]
    assert (random.random(), numpy.random.rand()) == (random.Random(7).random(), numpy.random.RandomState(7).rand())


def test_the_command_line_says_so_once(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rude.py").write_text(f"{PLUGIN}\nos.chdir('/')\nsys.stderr = None\n")
    folder = Path.cwd()
    command = "run --model rude --dataset rude --epochs 1 --runs-dir runs --json --plugin rude.py"
    assert main(command.split()) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["weights"].startswith(("runs/", str(folder)))
    assert err.count("Warning: plugin 'rude' changed the current folder") == err.count("put back") == 1
    module = import_file(folder / "rude.py")
    module.CHANGE["prediction"] = "torch.set_default_dtype(torch.float64)"
    Image.new("L", (4, 4)).save("x.png")
    assert main(["predict", json.loads(out)["weights"], *["x.png"] * 2, "--plugin", "rude.py"]) == 0
    err = capsys.readouterr().err
    assert err.count("put back") == 1 and "during a prediction; it is put back" in err


def test_looking_at_the_state_imports_nothing() -> None:
    state = read_state()
    assert set(PARTS) <= set(state)
    assert put_back(state) == {}
