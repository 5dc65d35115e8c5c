"""The catalogue `torchmetrics/NAME`: what it lists is there, gives one number, and is certified."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import torch

import zoo
from zoo.checks.plugin import check_plugin
from zoo.cli.main import main
from zoo.registry.factories import build_metric, load_factory
from zoo.registry.manifest import read_manifest
from zoo.registry.params import resolve_params
from zoo.registry.specs import MetricSpec
from zoo_plugins.torchmetrics import metrics as catalogue

library = import_module("torchmetrics.classification")
MANIFEST = Path(catalogue.__file__).with_name("registry.toml")
SPECS: dict[str, MetricSpec] = {spec.name: spec for spec in read_manifest(MANIFEST).specs}
REGISTRY = zoo.Registry.discover()
# These do not fit: curves, tables, pairs of a value and a threshold, and what has a number for each class by default.
LEFT_OUT = {
    *("confusion_matrix", "precision_recall_curve", "roc", "stat_scores", "eer", "logauc"),
    *("precision_at_fixed_recall", "recall_at_fixed_precision"),
    *("sensitivity_at_specificity", "specificity_at_sensitivity"),
}
LOGITS = 3 * torch.randn(120, 4, generator=torch.Generator().manual_seed(1))
TARGETS = torch.randint(4, (120,), generator=torch.Generator().manual_seed(2))


def build(name: str, **params: Any) -> Any:
    """Build a metric for 4 classes as a run does, from its name and params as a command gives them."""
    entry = REGISTRY.get("metric", f"torchmetrics/{name}")
    values = resolve_params(entry.spec, load_factory(entry), params)
    return build_metric(entry, num_classes=4, params=values)


def evaluate(metric: Any, *batches: tuple[torch.Tensor, torch.Tensor]) -> float:
    for batch in batches or [(LOGITS, TARGETS)]:
        metric.update(*batch)
    return float(metric.compute())


def test_the_manifest_has_all_that_fit() -> None:
    functions = import_module("torchmetrics.functional.classification")
    there = {name.removeprefix("multiclass_") for name in vars(functions) if name.startswith("multiclass_")}
    assert list(SPECS) == sorted(catalogue.CLASSES)
    assert there == {*SPECS, *LEFT_OUT}
    for name, spec in SPECS.items():
        assert spec.factory == f"zoo_plugins.torchmetrics.metrics:{name}"
        theirs = getattr(library, catalogue.CLASSES[name])
        assert theirs.higher_is_better in (None, spec.higher_is_better)
        assert spec.description and spec.bounds
        assert not set(vars(catalogue)) & set(SPECS)


@pytest.mark.parametrize("name", SPECS)
def test_what_is_declared_is_the_default_of_the_library(name: str) -> None:
    params = resolve_params(SPECS[name], getattr(catalogue, name), {})
    defaults = catalogue.signature(getattr(library, catalogue.CLASSES[name])).parameters
    assert not set(catalogue.DECIDED) & set(params)
    assert {param: defaults[param].default for param in params if param != "beta"} == {
        param: value for param, value in params.items() if param != "beta"
    }
    theirs = getattr(library, catalogue.CLASSES[name])(num_classes=4, **params)
    assert evaluate(build(name)) == evaluate(theirs)


@pytest.mark.parametrize("name", SPECS)
def test_every_choice_gives_one_number_within_the_bounds(name: str) -> None:
    choices = {}
    for param in catalogue.signature(getattr(catalogue, name)).parameters.values():
        options = [param.annotation, *get_args(param.annotation)]
        if literal := next((option for option in options if get_origin(option) is Literal), None):
            choices[param.name] = get_args(literal)
    assert "none" not in choices.get("average", ())
    low, high = SPECS[name].bounds or (0, 0)
    for values in product(*choices.values()):
        params = dict(zip(choices, values, strict=True))
        assert low <= evaluate(build(name, **params)) <= high, params


@pytest.mark.parametrize("name", SPECS)
def test_a_batch_whose_logits_look_like_probabilities_changes_nothing(name: str) -> None:
    # TorchMetrics itself takes the second batch for probabilities: the areas under curves would change.
    small = torch.rand(60, 4, generator=torch.Generator().manual_seed(3))
    batches = [(LOGITS[:60], TARGETS[:60]), (small, TARGETS[60:])]
    whole = torch.cat([LOGITS[:60], small]), TARGETS
    assert evaluate(build(name), *batches) == pytest.approx(evaluate(build(name), whole), abs=1e-6)


@pytest.mark.slow
def test_they_are_certified(tmp_path: Path) -> None:
    certificate = check_plugin("torchmetrics", data_dir=tmp_path, offline=True)
    found = certificate.list_findings("failed", "warning", "untried")
    assert certificate.verdict == "certified" and not found, found
    assert set(certificate.findings) == {"plugin", *(f"metric {name}" for name in SPECS)}
    skipped = {(entry, one.check) for entry, one in certificate.list_findings("skipped")}
    assert not {check for _, check in skipped} - {"sharing", "classes"}, skipped  # so all of them are merged


def test_a_run_with_params_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["torchmetrics/auroc.thresholds=50", "torchmetrics/calibration_error.norm=max"]
    given += ["torchmetrics/fbeta_score.average=weighted", "torchmetrics/fbeta_score.beta=0.5"]
    words = ["run", "--epochs", "0", "--runs-dir", str(tmp_path), "--dataset-param", "train_size=64", "--json"]
    for one in given:
        words += ["--metric", one.partition(".")[0], "--metric-param", one]
    assert main(words) == 0
    printed = capsys.readouterr().out
    for name in ("auroc", "calibration_error", "fbeta_score"):
        assert f'"torchmetrics/{name}"' in printed


@pytest.mark.parametrize(
    ("param", "why"),
    [
        ("auroc.average=none", "average: must be one of 'macro' or 'weighted'"),
        ("calibration_error.n_bins=few", "n_bins: must be a whole number"),
        ("recall.multidim_average=samplewise", "multidim_average"),
        ("recall.compute_on_cpu=true", "compute_on_cpu"),
        ("recall.top_k=-1", "top_k: expected 1 to 10"),
        ("recall.top_k=11", "top_k: expected 1 to 10"),
    ],
)
def test_params_that_do_not_fit_are_refused(
    param: str, why: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"torchmetrics/{param.partition('.')[0]}"
    words = ["run", "--runs-dir", str(tmp_path), "--metric", name, "--metric-param", f"torchmetrics/{param}"]
    assert main(words) == 2
    assert why in capsys.readouterr().err


def test_bare_names_are_answered_with_the_qualified_one() -> None:
    with pytest.raises(zoo.UnknownNameError, match=r"Did you mean 'torchmetrics/auroc'\?"):
        REGISTRY.get("metric", "auroc")
    with pytest.raises(zoo.UnknownNameError, match=r"'recall-weighted' or 'torchmetrics/recall'\?"):
        REGISTRY.get("metric", "recall")
    assert not any("/" in name for name in zoo.list_metrics())


def test_listing_and_showing_import_no_library() -> None:
    code = """
import sys
from zoo.cli.main import cli
for arguments in (["list", "metrics", "--search", "torchmetrics/*"], ["show", "torchmetrics/auroc"]):
    cli(arguments, standalone_mode=False)
assert not {"torch", "torchmetrics"} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "torchmetrics/specificity" in done.stdout and "torchmetrics.metrics:auroc" in done.stdout


def test_torchmetrics_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(zoo.ZooError, match=r"needs torchmetrics.* not installed.* pip install 'zoo-torch\[metrics\]'"):
        zoo.run(metrics="torchmetrics/auroc", epochs=0)


def test_a_metric_that_the_library_lacks() -> None:
    with pytest.raises(zoo.UsageError, match=r"torchmetrics \d\S* has no metric 'of_tomorrow'.* pip install -U torch"):
        _ = catalogue.of_tomorrow
    assert re.match(r"\d", import_module("torchmetrics").__version__)
