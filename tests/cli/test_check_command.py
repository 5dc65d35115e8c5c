"""`zoo check`: a combination is looked at before anybody waits for it."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import zoo
from zoo.checks.combination import estimates, measuring, neighbours
from zoo.cli.main import main
from zoo.registry.entries import Registry
from zoo.registry.specs import ModelSpec

COURSE = """import zoo
from torch import nn


@zoo.model(name="v1")
class FashionMNISTModelV1(nn.Module):
    def __init__(self, *, input_shape, num_classes, hidden_units: int = 10):
        super().__init__()
        self.layer_stack = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, hidden_units),
            nn.ReLU(),
            nn.Linear(hidden_units, num_classes),
            nn.ReLU(),
        )

    def forward(self, x):
        return self.layer_stack(x)
"""
SMALL = {"train_size": 400, "test_size": 100}


class Net(nn.Module):
    """Two layers, and room for what goes wrong between and after them."""

    def __init__(self, *, input_shape, num_classes, end=None, width=16):
        super().__init__()
        self.first = nn.Linear(torch.Size(input_shape).numel(), width)
        self.second = nn.Linear(width, num_classes)
        self.end = end

    def forward(self, inputs):
        logits = self.second(torch.tanh(self.first(inputs.flatten(1))))
        return self.end(logits) if self.end else logits


class Frozen(Net):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.first.requires_grad_(False)


class Cut(Net):
    def forward(self, inputs):
        return self.second(torch.tanh(self.first(inputs.flatten(1))).detach())


class Wide(Net):
    def __init__(self, *, input_shape, num_classes):
        super().__init__(input_shape=input_shape, num_classes=num_classes + 2)


class Loud(Net):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        with torch.no_grad():
            self.second.weight.mul_(300)


class Normed(Net):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        self.norm = nn.BatchNorm1d(10)

    def forward(self, inputs):
        return self.norm(super().forward(inputs))


class Dead(Net):
    def __init__(self, **arguments):
        super().__init__(**arguments)
        nn.init.zeros_(self.first.weight)
        nn.init.zeros_(self.first.bias)
        nn.init.zeros_(self.second.weight)


def ended(end):
    def build(*, input_shape, num_classes):
        return Net(input_shape=input_shape, num_classes=num_classes, end=end)

    return build


def look(factory, **options) -> zoo.Diagnosis:
    registry = Registry.discover(disabled=["all"])
    registry.add(ModelSpec(name="net", factory=factory))
    options = {"dataset_params": SMALL, **options}
    return zoo.check("net", options.pop("dataset", "shapes"), registry=registry, **options)


def find(diagnosis: zoo.Diagnosis, status: str) -> dict[str, zoo.Finding]:
    return {found.check: found for found in diagnosis.findings if found.status == status}


@pytest.mark.slow
@pytest.mark.parametrize("model", ["baseline", "relu-mlp", "small-resnet", "tinyvgg"])
def test_models_of_zoo_pass_and_learn_a_batch_by_heart(model):
    diagnosis = zoo.check(model, "shapes", dataset_params=SMALL, overfit=True, batch_size=32)
    assert [found.status for found in diagnosis.findings] == ["passed"] * len(diagnosis.findings)
    assert diagnosis.findings[-1].check == "overfit" and "all 32 samples" in diagnosis.findings[-1].seen


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factory", "check", "told"),
    [
        (ended(torch.relu), "activation", "ReLU"),
        (ended(nn.Softmax(dim=1)), "activation", "end (Softmax)"),
        (ended(torch.sigmoid), "activation", "the loss cannot fall below 1.46"),
        (Frozen, "frozen", "first.weight, first.bias start random and are not trained"),
        (Cut, "gradients", "2 of 4 trainable parameters get no gradient: first.weight, first.bias"),
        (Wide, "logits", "12"),
    ],
)
def test_what_is_wrong_is_named_and_explained(factory, check, told):
    diagnosis = look(factory)
    found = find(diagnosis, "failed")
    assert list(found) == [check] and not diagnosis.passed
    assert told in found[check].seen and found[check].why and found[check].fix
    assert Path(__file__).name in found[check].where


def test_batch_normalisation_needs_more_than_one_sample():
    assert look(Normed, batch_size=2).passed
    found = find(look(Normed, batch_size=1), "failed")["normalisation"]
    assert "batches of 1" in found.seen and "batch_size=2" in found.fix
    assert look(Net, batch_size=1).passed


def test_a_loss_far_from_guessing_is_a_warning():
    diagnosis = look(Loud)
    found = find(diagnosis, "warning")["start"]
    assert diagnosis.passed and f"ln(10) = {math.log(10):.3f}" in found.seen


def test_a_model_that_cannot_learn_a_batch_is_found_when_asked():
    assert "overfit" not in {found.check for found in look(Dead).findings}
    found = find(look(Dead, overfit=True), "failed")["overfit"]
    assert "of the 32 samples of a batch right" in found.seen


def test_estimates_are_those_of_the_model(warm_python, monkeypatch):
    diagnosis = look(Net, batch_size=50, optimizer="adam")
    parameters = 784 * 16 + 16 + 16 * 10 + 10
    assert diagnosis.estimates["parameters"] == diagnosis.estimates["trainable"] == parameters
    assert diagnosis.estimates["flop_per_sample"] == 2 * (784 * 16 + 16 * 10)
    told, inputs = diagnosis.estimates, 50 * 784 * 4
    assert told["gradient_bytes"] == 4 * parameters and told["model_bytes"] == 8 * parameters  # one for the best epoch
    assert told["optimizer_bytes"] == 8 * parameters + 4 * 4  # two moments, and a count for each of four tensors
    # Kept for backward: inputs, what tanh gave, log-softmax, targets.
    assert inputs <= told["activation_bytes"] <= inputs + 50 * 4 * 60
    assert told["data_bytes"] == inputs + 500 * (784 + 8)
    parts = ("model", "gradient", "optimizer", "activation", "data")
    assert told["memory_bytes"] == sum(told[f"{part}_bytes"] for part in parts)
    assert told["epoch_seconds"] == pytest.approx(8 * told["step_seconds"]) and told["evaluation_seconds"] > 0
    held = look(Net, batch_size=50, epochs=1, validation=0.25, ema=0.9).estimates
    assert held["epoch_seconds"] == pytest.approx(6 * held["step_seconds"])
    assert held["model_bytes"] == 8 * parameters  # one of them averaged, none for a later epoch
    monkeypatch.setattr(sys, "executable", str(warm_python))
    busy = []

    class Noted(neighbours.Process):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            busy.append(self)

    monkeypatch.setattr(neighbours, "Process", Noted)
    part = look(Net, batch_size=50, processes=3, accumulate=2).estimates
    assert len(busy) == 2 and not any(each.is_running for each in busy)  # two others worked beside it
    assert 0 < part["sum_seconds"] < part["step_seconds"] < 60 and "sum_seconds" not in told
    assert part["epoch_seconds"] == pytest.approx(8 * part["step_seconds"])  # with the sums
    assert 17 * 4 * 784 < part["activation_bytes"] < 0.4 * told["activation_bytes"]  # of 17 of the 50 samples
    assert part["gradient_bytes"] == 2 * told["gradient_bytes"]  # those of all are added up beside them


def test_steps_are_estimated_as_a_run_takes_them(monkeypatch):
    steps, time_steps = [], estimates.time_steps
    monkeypatch.setattr(
        estimates, "time_steps", lambda plan, step, train: steps.append(step) or time_steps(plan, step, train)
    )
    for capture in (True, False):
        assert zoo.check("baseline", "shapes", capture=capture).estimates["step_seconds"] > 0
    assert steps[0].capture.form is not None and steps[1].capture is None


def test_a_model_that_takes_long_takes_few_steps_for_an_estimate(monkeypatch):
    steps, time_steps = [], estimates.time_steps

    def count(plan, step, train):
        made, update = [], step.update
        step.update = lambda: made.append(update())
        found = time_steps(plan, step, train)
        steps.append(len(made))
        return found

    monkeypatch.setattr(estimates, "time_steps", count)
    told = [zoo.check("baseline", "shapes", capture=False).estimates]
    for module in (estimates, measuring):
        monkeypatch.setattr(module, "MOST", 0.0)
    told.append(zoo.check("baseline", "shapes", capture=False).estimates)
    assert steps[0] >= measuring.WARM + measuring.FEWEST and steps[1] == 2
    for each in told:
        assert each["step_seconds"] > 0 and each["evaluation_seconds"] > 0


def test_a_run_tells_what_memory_it_took(tmp_path):
    run = zoo.run("baseline", "shapes", dataset_params=SMALL, epochs=1, runs_dir=tmp_path)
    record = json.loads((run.run / "run.json").read_text(encoding="utf-8"))
    if sys.platform == "linux":
        told = zoo.check("baseline", "shapes", dataset_params=SMALL, epochs=1).estimates["peak_bytes"]
        assert 50e6 < record["peak_memory"] < 20e9
        assert record["peak_memory"] / 1.2 < told < 1.2 * record["peak_memory"]


@pytest.mark.slow
def test_the_second_model_of_the_course(tmp_path, capsys, fashionmnist_root):
    path = tmp_path / "v1.py"
    path.write_text(COURSE, encoding="utf-8")
    arguments = ["check", "--plugin", str(path), "--model", "v1", "--dataset", "fashionmnist"]
    assert main([*arguments, "--data-dir", str(fashionmnist_root)]) == 5
    printed = capsys.readouterr()
    text = " ".join(printed.out.split())
    assert "ReLU on the logits, by layer_stack.4 (ReLU)" in text and f"{path}:14" in text.replace(" ", "")
    assert "none is ever below 0" in text and "sit exactly on that edge" in text
    assert "fix Take out layer_stack.4 (ReLU)" in text
    assert "failed: activation" in printed.err
    assert main([*arguments, "--data-dir", str(fashionmnist_root), "--json"]) == 5
    data = json.loads(capsys.readouterr().out)
    assert data["passed"] is False and data["estimates"]["parameters"] == 7960


def test_without_the_data_their_declared_shape_is_enough(tmp_path, capsys):
    assert main(["check", "--dataset", "fashionmnist", "--data-dir", str(tmp_path), "--verbose"]) == 0
    out = capsys.readouterr().out
    assert "random inputs of 1x28x28: the files of fashionmnist are not here" in out
    assert "passed  gradients" in out and list(tmp_path.iterdir()) == []


def test_names_params_and_metrics_are_checked_as_in_a_run(capsys):
    assert main(["check", "--model", "baselin", "--param", "hidden=3"]) == 2
    assert "Did you mean 'baseline'?" in capsys.readouterr().err
    assert main(["check", "--model", "baseline", "--param", "hiden_units=3"]) == 2
    assert "hidden_units" in capsys.readouterr().err

    class Broken:
        def __init__(self, *, num_classes):
            pass

        def update(self, logits, targets):
            raise RuntimeError("out of order")

        compute = reset = lambda self: 0

    registry = Registry.discover(disabled=["all"])
    registry.add(zoo.MetricSpec(name="broken", factory=Broken))
    diagnosis = zoo.check(metrics="broken", dataset_params=SMALL, registry=registry)
    assert "out of order" in find(diagnosis, "failed")["metrics"].seen


def test_it_leaves_the_process_as_it_was():
    torch.manual_seed(7)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    look(ended(nn.ReLU()))
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads


def test_help_imports_nothing_heavy():
    code = "import sys; from zoo.cli.main import main; main(['check', '--help']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip().endswith("False")
