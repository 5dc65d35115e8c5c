"""The kit for authors: the same checks as functions, and the fixture that pytest finds by itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch
from conftest import Packages
from torch import nn

import zoo
from zoo.testing import CheckError, check_dataset, check_metric, check_model, check_plugin

MODEL = """
import torch
import zoo
from torch import nn

@zoo.model(name="mine")
class Mine(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes){})

    def forward(self, inputs):
        return self.layers(inputs)
"""


class Linear(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.layer = nn.Linear(torch.Size(input_shape).numel(), num_classes)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1))


class Squeezed(Linear):
    def forward(self, inputs):
        return super().forward(inputs).squeeze()


class Errors:
    """The number of wrong predictions: not a mean, so no batch size shows."""

    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.wrong = 0

    def update(self, logits, targets):
        self.wrong += int((logits.argmax(dim=1) != targets).sum())

    def compute(self):
        return self.wrong


def draw(*, root, shift: int = 0):
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (60, 1, 6, 6), dtype=torch.uint8, generator=generator)
    targets = torch.arange(60) % 3 + shift
    return zoo.DataSplits(
        train=(images[:40], targets[:40]), test=(images[40:], targets[40:]), class_names=["a", "b", "c"]
    )


def test_functions_return_what_was_found_and_raise_what_failed(tmp_path):
    assert {found.status for found in check_model(Linear)} == {"passed"}
    with pytest.raises(CheckError, match=r"model model: logits failed: .*\(10,\)(.|\n)*fix: .*flatten\(1\)") as raised:
        check_model(Squeezed)
    assert [found.check for found in raised.value.findings["model model"] if found.status == "failed"] == ["logits"]
    assert {found.status for found in check_dataset(draw, root=tmp_path, num_classes=3)} <= {"passed", "skipped"}
    with pytest.raises(CheckError, match="num_classes: declared 4, loaded 3"):
        check_dataset(draw, root=tmp_path, num_classes=4)
    assert "passed" in {found.status for found in check_metric(Errors, higher_is_better=False)}
    with pytest.raises(CheckError, match="direction failed"):
        check_metric(Errors)


def test_a_file_is_checked_beside_zoo_alone(tmp_path, packages: Packages):
    packages.add("zoo-bad", "bad = zoo_bad", zoo_bad="raise RuntimeError('imported')")
    path = tmp_path / "mine.py"
    path.write_text(MODEL.format(""), encoding="utf-8")
    assert check_plugin(path).verdict == "certified"
    path.with_name("worse.py").write_text(MODEL.format(", nn.ReLU()"), encoding="utf-8")
    with pytest.raises(CheckError, match=r"model mine: activation failed(.|\n)*at: .*worse\.py:10"):
        check_plugin(path.with_name("worse.py"))


def test_warnings_fail_when_strict(tmp_path):
    class Drawn(Linear):
        def __init__(self, **arguments):
            super().__init__(**arguments)
            own = torch.Generator().manual_seed(7)
            with torch.no_grad():
                self.layer.weight.copy_(torch.randn(self.layer.weight.shape, generator=own) / 28)
                self.layer.bias.zero_()

    (found,) = [found for found in check_model(Drawn) if found.status == "warning"]
    assert found.check == "seed" and found.fix
    with pytest.raises(CheckError, match="seed warning"):
        check_model(Drawn, strict=True)


@pytest.mark.slow
def test_pytest_finds_the_fixture_and_the_one_liner_works(tmp_path, warm_python):
    Path(tmp_path, "mine.py").write_text(MODEL.format(""), encoding="utf-8")
    Path(tmp_path, "test_mine.py").write_text(
        """
import os
import pytest
import zoo
from zoo.testing import check_plugin

def test_certificate():
    check_plugin("mine.py")

def test_a_run(zoo_registry, tmp_path):
    registry = zoo_registry("mine.py", zoo.MetricSpec(name="again", factory="zoo_plugins.metrics.accuracy:Accuracy"))
    assert [plugin.name for plugin in registry.plugins] == ["zoo", "mine", "local"]
    sizes = {"train_size": 64, "test_size": 40}
    result = zoo.run("mine", dataset_params=sizes, epochs=1, metrics=["again"], registry=registry)
    assert result.run.is_relative_to(tmp_path)
    assert os.environ["ZOO_HOME"].startswith(str(tmp_path))
""",
        encoding="utf-8",
    )
    command = [
        warm_python,
        "-m",
        "pytest",
        "-q",
        "-W",
        "error",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        tmp_path,
        tmp_path,
    ]
    done = subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout
