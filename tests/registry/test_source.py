"""Mistakes that authors of plugins make: each is one line that says what is wrong, and in which line of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

import zoo

NET = """class Net(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.layer = nn.LazyLinear(num_classes)
    def forward(self, inputs):
"""
PIXELS = """@zoo.dataset(name="pixels")
def load(*, root):
    images, targets = torch.randint(256, (40, 1, 4, 4), dtype=torch.uint8), torch.arange(40) % 4
    class Pictures(torch.utils.data.Dataset):
        def __len__(self): return 40
        def __getitem__(self, index): return {}
    return zoo.DataSplits(train={}, test=(images, targets), class_names="abcd")
"""
# What follows `import torch, zoo` and `from torch import nn`, and what is told of it.
MISTAKES = {
    "constructor": (
        f"@zoo.model(name='x')\n{NET}        return 0\n".replace("super().__init__()", "pass"),
        "cannot be built: AttributeError: cannot assign module before Module.__init__() call (mine.py, line 7)",
    ),
    "forward": (
        f"@zoo.model(name='x')\n{NET}        return self.layer(inputs.view(5, -1))\n",
        "(mine.py, line 9)",
    ),
    "nothing returned": (
        f"@zoo.model(name='x')\n{NET}        self.layer(inputs.flatten(1))\n",
        "None: its forward",
    ),
    "a dict": (
        f"@zoo.model(name='x')\n{NET}        return {{'logits': self.layer(inputs.flatten(1))}}\n",
        "got a dict with keys ['logits']: return the logits alone",
    ),
    "no parentheses": (f"@zoo.model\n{NET}        return 0\n", "(mine.py, line 3)"),
    "no neighbour": ("from .blocks import Block", "ModuleNotFoundError: No module named 'blocks' (mine.py, line 3)"),
    "a setting": (
        f"@zoo.model(name='x', train={{'epoch': 1}})\n{NET}        return self.layer(inputs.flatten(1))\n",
        "plugin 'mine': model 'x': train: training has no setting 'epoch'. Did you mean 'epochs'?",
    ),
    "not decorated": (f"{NET}        return 0\n", "Plugin 'mine' provides nothing, decorate what it has: @zoo.model("),
    "a loss": (
        "@zoo.loss(name='x')\ndef loss(logits, targets): return nn.functional.cross_entropy(logits, targets)\n",
        "loss 'x': expected a factory that is called with num_classes=..., got loss(logits, targets). Decorate a class",
    ),
    "the class of a loss": (
        "@zoo.loss(name='x')\ndef loss(*, num_classes): return nn.CrossEntropyLoss\n",
        "got the class CrossEntropyLoss itself: return CrossEntropyLoss(...)",
    ),
    "the class of a metric": (
        "@zoo.metric(name='x')\ndef metric(*, num_classes):\n    class Hits: update = id\n    return Hits",
        "expected an object with update, compute and reset, got the class Hits itself: return Hits(...)",
    ),
    "update": (
        "@zoo.metric(name='x')\nclass Hits:\n    def __init__(self, *, num_classes): pass\n"
        "    compute = reset = lambda self: 0\n    def update(self, logits, targets):\n        logits.sum(dim=5)\n",
        "but got 5) (mine.py, line 8)",
    ),
    "floats": (PIXELS.format(0, "(images, targets.float())"), "got torch.float32. Targets are numbers of classes"),
    "one-hot": (PIXELS.format(0, "(images, torch.eye(4)[targets])"), "Give the number of each image's class"),
    "a dict of a sample": (
        PIXELS.format("{'image': images[index], 'label': 0}", "Pictures()"),
        "expected (image, target), got a dict with keys ['image', 'label']",
    ),
    "a sample": (PIXELS.format("images[40], 0", "Pictures()"), "(mine.py, line 8)"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_line(name: str, tmp_path: Path) -> None:
    code, told = MISTAKES[name]
    path = tmp_path / "mine.py"
    path.write_text(f"import torch, zoo\nfrom torch import nn\n{code}")
    small = {"dataset_params": {"train_size": 40, "test_size": 20}, "runs_dir": tmp_path / "runs", "epochs": 1}
    named = {"model": "baseline", "dataset": "shapes"}
    if "zoo.dataset" in code:
        named["dataset"] = "pixels"
        del small["dataset_params"]
    elif "zoo.loss" in code:
        small["loss"] = "x"
    elif "zoo.metric" in code:
        small["metrics"] = ["x"]
    else:
        named["model"] = "x"
    with pytest.raises(zoo.ZooError) as caught:
        zoo.run(**named, plugins=[path], **small)
    text = str(caught.value)
    assert told in text and text.isprintable() and "zoo_plugin_" not in text, text


def test_floats_that_nobody_divided_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"import torch, zoo\n{PIXELS.format(0, '(images.float(), targets)')}")
    zoo.run("baseline", "pixels", epochs=1, plugins=[path], runs_dir=tmp_path)
    assert "dataset 'pixels', train split: float images reach 25" in caplog.text
    caplog.clear()
    other = tmp_path / "divided.py"
    other.write_text(f"import torch, zoo\n{PIXELS.format(0, '(images / 255, targets)')}")
    zoo.run("baseline", "pixels", epochs=1, plugins=[other], runs_dir=tmp_path)
    assert "float images" not in caplog.text
