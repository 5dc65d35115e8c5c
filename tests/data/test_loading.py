"""Loading: what a data set's factory may give, and in which words anything else is refused."""

from __future__ import annotations

from collections import UserList
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

import zoo
from zoo.cli.main import main

IMAGES, TARGETS = torch.rand(12, 1, 4, 4), torch.arange(12) % 2


class Pictures(Dataset):
    """Twelve samples; `length` is what len() gives, `target` what stands in place of a target."""

    def __init__(self, length: Any = 12, target: Any = None) -> None:
        self.length, self.target = length, target

    def __len__(self) -> int:
        if isinstance(self.length, BaseException):
            raise self.length
        return self.length

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        return IMAGES[index], TARGETS[index] if self.target is None else self.target


class Nothing:
    def __repr__(self) -> str:
        raise SystemExit(3)


class Stream(IterableDataset):
    def __len__(self) -> int:
        return 12

    def __iter__(self) -> Any:
        return iter(zip(IMAGES, TARGETS, strict=True))


class Lengthless(IterableDataset):
    def __iter__(self) -> Any:
        return iter(zip(IMAGES, TARGETS, strict=True))


class Changing(zoo.DataSplits):
    """Answers otherwise than its fields say."""

    def items(self) -> Any:
        raise SystemExit(3)


GOOD = zoo.DataSplits(train=(IMAGES, TARGETS), test=(IMAGES[:4], TARGETS[:4]), class_names=("a", "b"))
LENGTH = "dataset 'odd', train split: its length is not known: "
FORMS = "expected tensors (images, targets) or a Dataset that knows its length, got "
BAD: dict[str, tuple[Any, str]] = {
    "length -5": (replace(GOOD, train=Pictures(-5)), f"{LENGTH}ValueError: __len__() should return >= 0"),
    "length 10.5": (replace(GOOD, train=Pictures(10.5)), f"{LENGTH}TypeError: 'float' object cannot be interpreted"),
    "length of text": (replace(GOOD, train=Pictures("12")), f"{LENGTH}TypeError"),
    "length 10^30": (replace(GOOD, train=Pictures(10**30)), f"{LENGTH}OverflowError"),
    "length raises": (replace(GOOD, train=Pictures(OSError("gone"))), f"{LENGTH}OSError: gone"),
    "length exits": (replace(GOOD, train=Pictures(SystemExit(3))), f"{LENGTH}SystemExit: 3"),
    "length lies": (replace(GOOD, test=Pictures(14)), "sample 12: IndexError: index 12 is out of bounds"),
    "target tuple": (replace(GOOD, train=Pictures(target=(1,))), "TypeError: expected an integer target, got (1,)"),
    "target text": (replace(GOOD, train=Pictures(target="1")), "TypeError: expected an integer target, got '1'"),
    "target 0.5": (replace(GOOD, train=Pictures(target=0.5)), "TypeError: expected an integer target, got 0.5"),
    "target tensor": (replace(GOOD, train=Pictures(target=torch.zeros(2))), "expected an integer target"),
    "target hostile": (replace(GOOD, train=Pictures(target=Nothing())), "dataset 'odd': sample "),
    "target 2": (replace(GOOD, train=Pictures(target=2)), "ValueError: target 2 is outside 0..1"),
    "target 10^30": (replace(GOOD, train=Pictures(target=10**30)), "is outside 0..1"),
    "train None": (replace(GOOD, train=None), f"dataset 'odd', train split: {FORMS}None"),
    "test None": (replace(GOOD, test=None), f"dataset 'odd', test split: {FORMS}None"),
    "a list": (replace(GOOD, train=[IMAGES, TARGETS]), f"{FORMS}a list of two. Give the tensors as a tuple"),
    "an empty list": (replace(GOOD, train=[]), "dataset 'odd', train split: has no samples"),
    "a number": (replace(GOOD, train=3), f"{FORMS}int"),
    "an iterator": (replace(GOOD, test=iter([])), f"{FORMS}list_iterator"),
    "a stream": (
        replace(GOOD, train=Lengthless()),
        "train split: a stream that does not say how many samples it gives",
    ),
    "three tensors": (replace(GOOD, train=(IMAGES, TARGETS, TARGETS)), "expected two tensors (images, targets)"),
    "no tensors": (replace(GOOD, train=(IMAGES.numpy(), TARGETS)), "expected two tensors (images, targets)"),
    "names None": (replace(GOOD, class_names=None), "expected class names as a list of texts, got NoneType"),
    "names a number": (replace(GOOD, class_names=2), "expected class names as a list of texts, got int"),
    "names a dict": (replace(GOOD, class_names={"a": 0, "b": 1}), "expected class names as a list of texts, got dict"),
    "names numbers": (replace(GOOD, class_names=[0, 1]), "expected class names as texts, got [0, 1]"),
    "preprocess": (replace(GOOD, preprocess=len), "dataset 'odd': preprocess: expected zoo.Preprocess, got builtin"),
    "no splits": ((GOOD.train, GOOD.test), "plugin 'odd': dataset 'odd': expected zoo.DataSplits, got tuple"),
}
RIGHT: dict[str, Any] = {
    "a list of samples": replace(GOOD, train=list(zip(IMAGES, TARGETS, strict=True))),
    "a user's list": replace(GOOD, train=UserList(zip(IMAGES, TARGETS.tolist(), strict=True))),
    "a tensor dataset": replace(GOOD, train=TensorDataset(IMAGES, TARGETS)),
    "a stream": replace(GOOD, train=Stream(), test=Stream()),
    "names a text": replace(GOOD, class_names="ab"),
    "names a list": replace(GOOD, class_names=["a", "b"]),
    "a subclass": Changing(train=GOOD.train, test=GOOD.test, class_names=("a", "b")),
}


def register(splits: Any) -> zoo.Registry:
    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="odd", factory=lambda *, root: splits), plugin="odd")
    return registry


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_data_set_is_told_in_words(name: str) -> None:
    splits, why = BAD[name]
    with pytest.raises(zoo.ZooError) as caught:
        zoo.run("baseline", "odd", epochs=1, registry=register(splits))
    text = str(caught.value)
    assert why in text and caught.value.exit_code in (3, 5), text
    assert "odd" in text and text.isprintable() and len(text) < 400


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_one_is_trained_on(name: str) -> None:
    assert zoo.run("baseline", "odd", epochs=1, registry=register(RIGHT[name])).metrics["loss"] > 0


def test_the_command_line_has_no_bug_to_report(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("odd.py").write_text(
        "import torch, zoo\n"
        "class Split(torch.utils.data.Dataset):\n"
        "    def __len__(self): return 10.5\n"
        "    def __getitem__(self, index): return torch.zeros(1, 4, 4), 0\n"
        "@zoo.dataset(name='odd')\n"
        "def odd(*, root): return zoo.DataSplits(train=Split(), test=Split(), class_names=('a', 'b'))\n"
    )
    for command in ("run --dataset odd", "samples odd", "show odd --counts", "check --dataset odd"):
        assert main([*command.split(), "--plugin", "odd.py"]) == 3
        out, err = capsys.readouterr()
        assert out == "" and err.startswith("Error: dataset 'odd', train split: its length is not known: TypeError")
