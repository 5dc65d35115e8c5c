"""The predictions for each sample: collected without waiting, kept in a small file, read as a stranger's."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from reading_back import NoReading
from torch import Tensor

from zoo.errors import StorageError, WeightsError
from zoo.records.header import read_header
from zoo.training.predictions import OutcomeCollector, OutcomeOrigin, Outcomes, read_outcomes, save_outcomes

FACTS = {"model": "m", "dataset": "d", "split": "test"}
ORIGIN = OutcomeOrigin(**FACTS)
FIELDS = ("targets", "predictions", "target_probabilities", "probabilities")


def draw(samples: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(samples, classes, generator=generator)
    return logits, torch.randint(classes, (samples,), generator=generator)


def collect(logits: Tensor, targets: Tensor, size: int = 1000, **facts: Any) -> Outcomes:
    collector = OutcomeCollector()
    with torch.inference_mode():
        for part in zip(logits.split(size), targets.split(size), strict=True):
            collector.update(*part)
    return collector.collect([f"class {index}" for index in range(logits.shape[1])], replace(ORIGIN, **facts))


def same(left: Outcomes, right: Outcomes) -> bool:
    values = all(torch.equal(getattr(left, name), getattr(right, name)) for name in FIELDS)
    return values and left.class_names == right.class_names and left.facts == right.facts


def test_outcomes_say_what_the_logits_say() -> None:
    logits, targets = draw(157, 5)
    found = collect(logits, targets, size=10)
    probabilities = logits.double().softmax(1)
    assert found.targets.tolist() == targets.tolist()
    assert found.predictions.tolist() == logits.argmax(1).tolist()
    assert found.probabilities.tolist() == pytest.approx(probabilities.max(1).values.tolist(), abs=1e-6)
    assert found.target_probabilities.tolist() == pytest.approx(
        [row[target].item() for row, target in zip(probabilities, targets, strict=True)], abs=1e-6
    )
    hits = (logits.argmax(1) == targets).tolist()
    assert found.correct.tolist() == hits
    assert found.accuracy == sum(hits) / 157
    assert found.matrix.sum() == 157 and found.matrix.diagonal().sum() == sum(hits)
    assert found.facts == {"format": 1, **FACTS, "digest": None, "weights": None}


@pytest.mark.promise("P11")
@pytest.mark.parametrize("size", [1, 7, 156, 157])
def test_the_batch_size_does_not_show(size: int) -> None:
    logits, targets = draw(157, 5)
    assert same(collect(logits, targets, size), collect(logits, targets))


@pytest.mark.promise("P11")
def test_of_equal_logits_the_first_class_is_predicted_as_the_accuracy_counts() -> None:
    found = collect(torch.zeros(3, 4), torch.tensor([0, 1, 2]))
    assert found.predictions.tolist() == [0, 0, 0] and found.accuracy == 1 / 3
    # Logits that differ, and still one and the same probability in float32.
    found = collect(torch.tensor([[0.0, 1e-8]]), torch.tensor([1]))
    assert found.predictions.tolist() == [1] and found.probabilities.tolist() == [0.5]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_logits_of_any_precision_give_float32(dtype: torch.dtype) -> None:
    logits, targets = draw(20, 3)
    found = collect(logits.to(dtype), targets.to(torch.int32))
    assert found.probabilities.dtype == torch.float32 and found.targets.dtype == torch.int64
    assert found.predictions.tolist() == logits.to(dtype).argmax(1).tolist()


def test_collecting_reads_nothing_back() -> None:
    logits, targets = draw(20, 3)
    collector = OutcomeCollector()
    with NoReading():
        for _ in range(3):
            collector.update(logits, targets)
    assert len(collector.collect("abc", ORIGIN).targets) == 60


def test_a_reset_forgets() -> None:
    logits, targets = draw(20, 3)
    collector = OutcomeCollector()
    collector.update(logits, targets)
    collector.reset()
    collector.update(logits[:4], targets[:4])
    assert collector.collect("abc", ORIGIN).targets.tolist() == targets[:4].tolist()


@pytest.mark.parametrize(("classes", "bytes_each"), [(2, 10), (256, 10), (257, 16), (1000, 16)])
def test_a_file_gives_everything_back_and_is_small(tmp_path: Path, classes: int, bytes_each: int) -> None:
    logits, targets = draw(300, classes)
    targets[0] = classes - 1
    outcomes = collect(logits, targets, digest="a" * 64, weights="b" * 64)
    path = tmp_path / "p.safetensors"
    save_outcomes(path, outcomes)
    assert same(read_outcomes(path), outcomes)
    assert path.stat().st_size - read_header(path).data_start == 300 * bytes_each
    once = path.read_bytes()
    save_outcomes(path, outcomes)
    assert path.read_bytes() == once
    # Any program reads it.
    assert safetensors.torch.load_file(path)["targets"].tolist() == targets.tolist()


def test_a_folder_that_is_missing_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot save predictions to .*Do that") as caught:
        save_outcomes(tmp_path / "gone" / "p.safetensors", collect(*draw(3, 2)), fix="Do that")
    assert caught.value.exit_code == 7


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("good") / "p.safetensors"
    save_outcomes(path, collect(*draw(30, 5), weights="b" * 64))
    return path


def rewrite(path: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], Any]) -> None:
    """Change a file and write it anew with plain safetensors."""
    metadata = read_header(path).metadata
    tensors = dict(safetensors.torch.load_file(path, backend="pread"))
    change(tensors, metadata)
    safetensors.torch.save_file(tensors, path, {"zoo": json.dumps(metadata)})


def refuse(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        read_outcomes(path)
    assert caught.value.exit_code == 4
    assert str(path) in str(caught.value) and str(caught.value).isprintable()
    return str(caught.value)


def put(name: str, sample: int, value: float) -> Callable[[dict[str, Tensor], dict[str, Any]], Any]:
    return lambda tensors, _: tensors[name].__setitem__(sample, value)


def say(**facts: Any) -> Callable[[dict[str, Tensor], dict[str, Any]], Any]:
    return lambda _, metadata: metadata["predictions"].update(facts)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put("targets", 3, 5), "targets: expected 0 to 4 for sample 3, got 5"),
        (put("predictions", 29, 255), "predictions: expected 0 to 4 for sample 29, got 255"),
        (put("probabilities", 0, float("nan")), "probabilities: expected 0 to 1 for sample 0, got nan"),
        (put("probabilities", 0, 1.5), "probabilities: expected 0 to 1 for sample 0, got 1.5"),
        (put("target_probabilities", 2, -0.5), "target_probabilities: expected 0 to 1 for sample 2, got -0.5"),
        (put("target_probabilities", 2, float("inf")), "for sample 2, got inf"),
        (lambda t, _: t.pop("targets"), "expected the tensors targets, predictions"),
        (lambda t, _: t.update(more=torch.ones(30)), "expected the tensors targets, predictions"),
        (lambda t, _: t.update(predictions=t["predictions"][:7].clone()), "predictions: expected the shape [30]"),
        (lambda t, _: t.update(predictions=t["predictions"].long()), "predictions: expected U8, got 'I64'"),
        (lambda t, _: t.update(probabilities=t["probabilities"].double()), "probabilities: expected F32"),
        (lambda t, _: t.update(targets=t["targets"].view(5, 6)), "targets: expected at least one sample, got [5, 6]"),
        (
            lambda t, _: t.update({name: tensor[:0].clone() for name, tensor in t.items()}),
            "targets: expected at least one sample, got [0]",
        ),
        (say(class_names=["a"]), "class_names: expected a list of 2 to 100000 texts"),
        (say(class_names=["a", 3]), "class_names: expected a list of 2 to 100000 texts"),
        (say(class_names=["a", "b"]), "expected 0 to 1 for sample"),
        (say(class_names=[str(number) for number in range(300)]), "expected I32, got 'U8'"),
        (say(model=None), "model: expected a name, got None"),
        (say(split=3), "split: expected a name, got 3"),
        (say(digest="short"), "digest: expected a SHA-256"),
        (say(weights=["x"]), "weights: expected a SHA-256"),
        (lambda _, metadata: metadata.pop("predictions"), "expected a table of what was predicted, got None"),
        (lambda _, metadata: metadata.update(format=2), "has format 2: this zoo reads up to 1"),
    ],
    ids=range(23),
)
def test_a_wrong_file_is_refused(
    good: Path, tmp_path: Path, change: Callable[[dict[str, Tensor], dict[str, Any]], Any], text: str
) -> None:
    path = shutil.copy(good, tmp_path / "p.safetensors")
    rewrite(path, change)
    assert text in refuse(path)


@pytest.mark.parametrize("cut", [0, 5, 100, -1])
def test_a_cut_file_is_refused(good: Path, tmp_path: Path, cut: int) -> None:
    path = tmp_path / "p.safetensors"
    path.write_bytes(good.read_bytes()[:cut])
    refuse(path)
    refuse(tmp_path / "missing.safetensors")


def test_facts_that_are_left_out_are_unknown(good: Path, tmp_path: Path) -> None:
    path = shutil.copy(good, tmp_path / "p.safetensors")
    rewrite(path, lambda _, metadata: [metadata["predictions"].pop(key) for key in ("digest", "weights")])
    assert read_outcomes(path).facts == {"format": 1, **FACTS, "digest": None, "weights": None}
