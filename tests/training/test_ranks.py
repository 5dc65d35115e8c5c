"""Samples need not be images: tensors of any rank are trained, proved, evaluated, predicted and adapted."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy
import pytest
import torch
from torch.utils.data import TensorDataset

import zoo
from zoo.cli.main import main

SHAPES = [(1,), (30,), (5, 7), (70_000,), (2, 3, 4, 5), (40_000, 1, 1)]


def make_splits(shape, dtype, preprocess, as_dataset, /, *, root):
    generator = torch.Generator().manual_seed(0)
    targets = torch.arange(48) % 3
    values = torch.rand(48, *shape, generator=generator) + targets.view(-1, *[1] * len(shape))
    values = (50 * values).to(dtype)
    parts = {"train": (values[:40], targets[:40]), "test": (values[40:], targets[40:])}
    if as_dataset:
        parts = {name: TensorDataset(*part) for name, part in parts.items()}
    return zoo.DataSplits(**parts, class_names=["low", "mid", "high"], preprocess=preprocess)


def run_on(tmp_path, shape, *, dtype=torch.float32, preprocess=None, as_dataset=False):
    registry = zoo.Registry.discover()
    factory = partial(make_splits, shape, dtype, preprocess, as_dataset)
    registry.add(zoo.DatasetSpec(name="values", factory=factory), plugin="own")
    params = {"hidden_units": 4}
    result = zoo.run("baseline", "values", params=params, epochs=1, lr=1e-4, registry=registry, runs_dir=tmp_path)
    return result, registry, factory(root=tmp_path)


@pytest.mark.parametrize(("shape", "as_dataset"), [*((shape, False) for shape in SHAPES), ((30,), True)])
def test_samples_of_any_rank(tmp_path, shape, as_dataset, caplog):
    channels = shape[0] if shape[0] < 100 else 0
    per_channel = zoo.Preprocess(mean=(80.0,) * channels, std=(40.0,) * channels)
    result, registry, splits = run_on(tmp_path, shape, preprocess=per_channel, as_dataset=as_dataset)
    golden = zoo.verify(result.weights, registry=registry).checks["golden samples"]
    assert golden.startswith("none" if shape == (40_000, 1, 1) else f"{8 if max(shape) < 1000 else 1} replayed")
    assert zoo.evaluate(result.weights, registry=registry).metrics == pytest.approx(result.metrics)

    predict = zoo.load(result.weights, registry=registry)
    values = torch.stack([splits.test[index][0] for index in range(8)]) if as_dataset else splits.test[0]
    given = {} if len(shape) != 3 else {"value_range": (0, 255)}
    found = predict(values.numpy(), **given)
    expected = predict.model(per_channel(values)).softmax(dim=1).detach().numpy()
    numpy.testing.assert_allclose(found.probabilities, expected, atol=1e-5)
    assert predict(values[0], **given).labels[0] == found.labels[0]
    numpy.testing.assert_allclose(predict(list(values), **given).probabilities, expected, atol=1e-5)
    # One sample, and those of one class, are no reason for a warning.
    assert not [record for record in caplog.records if record.levelname == "WARNING"]

    adapted = zoo.adapt(result.weights, num_classes=5, output=tmp_path / "five.safetensors", registry=registry)
    assert zoo.verify(adapted.weights, registry=registry).checks["model"]
    again = zoo.run(init=result.weights, epochs=1, registry=registry, runs_dir=tmp_path)
    assert zoo.verify(again.weights, registry=registry).checks["model"]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int64, torch.float64, torch.bool], ids=str)
def test_rows_of_any_dtype(tmp_path, dtype):
    scale = zoo.Preprocess(scale=100.0) if dtype == torch.int64 else None
    result, registry, splits = run_on(tmp_path, (30,), dtype=dtype, preprocess=scale)
    predict = zoo.load(result.weights, registry=registry)
    expected = predict.model((scale or zoo.Preprocess())(splits.test[0])).softmax(dim=1).detach().numpy()
    numpy.testing.assert_allclose(predict(splits.test[0].numpy()).probabilities, expected, atol=1e-6)
    zoo.adapt(result.weights, num_classes=5, output=tmp_path / "five.safetensors", registry=registry)
    assert (
        zoo.verify(tmp_path / "five.safetensors", registry=registry).checks["golden samples"].startswith("8 replayed")
    )


def test_unlike_rows_are_noticed(tmp_path, caplog):
    result, registry, splits = run_on(tmp_path, (30,))
    zoo.load(result.weights, registry=registry)(1000 * splits.test[0])
    assert "they look unscaled" in caplog.text


def test_rows_through_the_command_line(own_folder, capsys):
    Path("rows.py").write_text(
        "import torch, zoo\n"
        "@zoo.dataset(name='rows', input_shape=(30,))\n"
        "def load(*, root):\n"
        "    rows = torch.rand(60, 30, generator=torch.Generator().manual_seed(0))\n"
        "    split = (rows, torch.arange(60) % 3)\n"
        "    return zoo.DataSplits(train=split, test=split, validation=split, class_names=list('abc'))\n"
    )
    common = ["--plugin", "rows.py"]
    assert main(["run", "--dataset", "rows", "--epochs", "1", "--json", *common]) == 0
    weights = json.loads(capsys.readouterr().out)["weights"]
    for command in (["evaluate", weights], ["verify", weights], ["show", weights], ["verify", "@best"]):
        assert main([*command, *common]) == 0, capsys.readouterr().err
    assert main(["adapt", weights, "--num-classes", "4", "--output", "four.safetensors", *common]) == 0
    assert main(["run", "--init", "four.safetensors", "--dataset", "rows", "--epochs", "1", *common]) == 0
    capsys.readouterr()


def test_samples_without_values_are_refused(tmp_path):
    for shape, text in [((0,), "expected samples with values"), ((), "one target per image")]:
        with pytest.raises(zoo.DataError, match=text):
            run_on(tmp_path, shape)
    with pytest.raises(zoo.DataError, match=r"at least one axis and one value, got a sample of \(\)"):
        run_on(tmp_path, (), as_dataset=True)


def test_what_is_no_image_is_not_resized(tmp_path):
    with pytest.raises(zoo.DataError, match="cannot be resized"):
        run_on(tmp_path, (30,), preprocess=zoo.Preprocess(resize=(4, 4)))
