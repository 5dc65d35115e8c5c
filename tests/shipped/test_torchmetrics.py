"""TorchMetrics classes are metric factories as they are: a manifest names them, nothing is wrapped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import zoo
from zoo.data.loading import build_dataset
from zoo.registry.entries import Registry

MANIFEST = """
schema = 1

[metrics.f1]
factory = "torchmetrics.classification:MulticlassF1Score"
params = { average = "macro" }

[metrics.hits]
factory = "torchmetrics.classification:MulticlassAccuracy"
params = { average = "micro" }

[metrics.top]
factory = "torchmetrics.classification:MulticlassAccuracy"
params = { average = "micro", top_k = 3 }

[metrics.matrix]
factory = "torchmetrics.classification:MulticlassConfusionMatrix"
"""
SMALL = {"train_size": 640, "test_size": 300}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "scores" / "registry.toml"
    path.parent.mkdir()
    path.write_text(MANIFEST, encoding="utf-8")
    return path


def test_they_are_updated_and_read_like_any_metric(manifest: Path, tmp_path: Path) -> None:
    metrics = ["accuracy", "f1", "hits", "top"]
    result = zoo.run(epochs=2, metrics=metrics, dataset_params=SMALL, plugins=[manifest])
    assert result.metrics["hits"] == pytest.approx(result.metrics["accuracy"], abs=1e-7)
    assert result.metrics["top"] > result.metrics["hits"]

    # F1 by its definition, from what the saved model predicts.
    images, targets = build_dataset(Registry.discover().get("dataset", "shapes"), root=tmp_path, params=SMALL).test
    with torch.no_grad():
        predicted = zoo.load_model(result.weights)(images / 255).argmax(1)
    scores = []
    for label in range(10):
        hits = int(((predicted == label) & (targets == label)).sum())
        scores.append(2 * hits / int((predicted == label).sum() + (targets == label).sum()))
    assert result.metrics["f1"] == pytest.approx(sum(scores) / 10, abs=1e-6)


def test_their_params_are_checked_and_converted(manifest: Path) -> None:
    scores = {}
    for top in ("1", "10"):
        params = {"top": {"top_k": top}}
        result = zoo.run(epochs=0, metrics=["top"], metric_params=params, dataset_params=SMALL, plugins=[manifest])
        scores[top] = result.metrics["top"]
    assert scores["1"] < scores["10"] == 1
    for params, why in (({"average": "median"}, "average"), ({"averge": "macro"}, "averge")):
        with pytest.raises(zoo.UsageError, match=why):
            zoo.run(epochs=0, metrics=["f1"], metric_params={"f1": params}, dataset_params=SMALL, plugins=[manifest])


def test_one_that_gives_no_number_is_named_before_anything_is_trained(manifest: Path, tmp_path: Path) -> None:
    with pytest.raises(zoo.ZooError, match=r"metric 'matrix': compute\(\) gave no number"):
        zoo.run(metrics=["matrix"], dataset_params=SMALL, plugins=[manifest], runs_dir=tmp_path / "runs")
    assert list((tmp_path / "runs").iterdir()) == []
