"""Verdicts on data sets, metrics and plugins: each wrong one is refused for its reason, each right one certified.

`fixtures/wrong/KIND/` holds plugins with one mistake each; the first line names the checks that must see it:
`Refused by` or, where it refuses nothing, `Warned by`. `fixtures/right/KIND/` holds odd ones that are right.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import zoo
from zoo.checks.plugin import check_plugin
from zoo.cli.main import cli, main
from zoo.registry.certificates import Certificate, Finding

pytestmark = pytest.mark.slow

HERE = Path(__file__).parents[1] / "fixtures"
KINDS = ("datasets", "metrics", "losses", "recipes", "plugins")
WRONG = sorted(path for kind in KINDS for path in (HERE / "wrong" / kind).glob("*.*"))
BESIDE = {"strokes.py"}  # modules that a manifest names
RIGHT = sorted(path for kind in KINDS for path in (HERE / "right" / kind).glob("*.*") if path.name not in BESIDE)
STATUSES = {"Refused": "failed", "Warned": "warning"}


def test_there_is_something_to_check() -> None:
    counts = {"datasets": (40, 10), "metrics": (40, 10), "losses": (25, 6), "recipes": (7, 1), "plugins": (15, 0)}
    for kind, (wrong, right) in counts.items():
        found = [[path for path in paths if path.parent.name == kind] for paths in (WRONG, RIGHT)]
        assert len(found[0]) >= wrong and len(found[1]) >= right, kind


def name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def check(path: Path, data_dir: Path) -> Certificate:
    return check_plugin(path, data_dir=data_dir, offline=True)


def find(certificate: Certificate, status: str, check: str) -> Finding:
    return next(found for _, found in certificate.list_findings(status) if found.check == check)


def show(certificate: Certificate) -> str:
    found = certificate.list_findings("failed", "warning", "untried")
    return "\n".join(f"{entry}: {one.check} {one.status}: {one.seen}" for entry, one in found)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a wrong one may leave a file open
@pytest.mark.parametrize("path", WRONG, ids=name)
def test_wrong_is_refused_by_the_named_check(path: Path, tmp_path: Path) -> None:
    asked = re.match(r"# (Refused|Warned) by: ([a-z, ]+)\n# .+\n", path.read_text(encoding="utf-8"))
    assert asked, "expected two comments: the checks, and what is wrong"
    certificate = check(path, tmp_path / "data")
    status, checks = STATUSES[asked[1]], set(asked[2].split(", "))
    assert {found.check for _, found in certificate.list_findings("failed", "warning")} == checks, show(certificate)
    assert certificate.verdict == ("refused" if status == "failed" else "certified"), show(certificate)
    for check_name in checks:
        found = find(certificate, status, check_name)
        assert found.seen and found.why and found.fix


@pytest.mark.parametrize("path", RIGHT, ids=name)
def test_right_is_certified_without_a_warning(path: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "data" / "strokes" / "pictures.bin"
    pictures.parent.mkdir(parents=True)
    pictures.write_bytes(bytes((place * 37 + place // 64 * 11) % 251 for place in range(4096)))
    certificate = check(path, tmp_path / "data")
    assert certificate.verdict == "certified" and not certificate.list_findings("warning"), show(certificate)


def test_there_is_a_wrong_one_for_every_check() -> None:
    from zoo.checks.dataset.contract import DATASET_CHECKS
    from zoo.checks.loss.contract import LOSS_CHECKS
    from zoo.checks.metric.contract import METRIC_CHECKS
    from zoo.checks.recipe import RECIPE_CHECKS

    # What `listing` warns of needs an installed package.
    known = {"datasets": DATASET_CHECKS, "metrics": METRIC_CHECKS, "losses": LOSS_CHECKS, "recipes": RECIPE_CHECKS}
    for kind, checks in {**known, "plugins": ("loads", "names")}.items():
        first = [path.read_text(encoding="utf-8").splitlines()[0] for path in WRONG if path.parent.name == kind]
        seen = {check for line in first for check in line.partition(": ")[2].split(", ")}
        # A missing file, a factory that is not there and a bad proof are those of whole plugins; params is a warning.
        left = set(checks) - seen - ({"files"} if kind == "datasets" else {"params"} if kind == "metrics" else set())
        assert not left, f"{kind}: no wrong one for {left}"


@pytest.mark.parametrize(
    ("path", "check_name", "seen", "line"),
    [
        ("datasets/labels_from_one.py", "builds", "target 4 at sample 3 is outside 0..3", "def load"),
        ("datasets/copies_before_split.py", "disjoint", "34 of 80 test images (42.50%) are also training", "def load"),
        ("datasets/float_bytes.py", "range", "train inputs lie between 0 and 255", "def load"),
        ("datasets/longer_than_it_is.py", "builds", "sample 60: IndexError", "self.lines[index + 1]"),
        ("datasets/shared_buffer.py", "same", "sample 1 changes the image of sample 0", "class Decoder"),
        ("datasets/split_by_hash.py", "processes", "in another process", "def load"),
        ("metrics/mean_of_batch_means.py", "batches", "0.600985 and 0.7", "class BatchMean"),
        ("metrics/ten_classes.py", "classes", "1 for 10, 0.3 for 3", "class Balanced"),
        ("metrics/error_rate_up.py", "direction", "give 0, 0.399, 0.798, 1", "class Errors"),
        ("losses/sum_of_losses.py", "mean", "once and twice give", "def make"),
        ("losses/counts_errors.py", "gradient", "what it gives has no gradient", "def make"),
        ("losses/ten_weights.py", "builds", "for 3 classes: RuntimeError: weight tensor", "weights.to(logits.device)"),
        ("metrics/squeezes.py", "batches", "IndexError: Dimension out of range", "logits.squeeze()"),
    ],
)
def test_findings_name_numbers_and_the_line(path: str, check_name: str, seen: str, line: str, tmp_path: Path) -> None:
    found = find(check(HERE / "wrong" / path, tmp_path / "data"), "failed", check_name)
    assert seen in found.seen
    file, _, number = found.where.rpartition(":")
    around = Path(file).read_text(encoding="utf-8").splitlines()[int(number) - 1 : int(number) + 2]
    assert any(line in one for one in around), (found.where, around)  # a decorator stands above its class


def test_first_party_entries_are_certified(fashionmnist_root: Path) -> None:
    # All of them at once are in tests/registry/test_certificates.py.
    for target in ("zoo/fashionmnist", "zoo/cross-entropy", "zoo/f1-macro"):
        certificate = check_plugin(target, data_dir=fashionmnist_root, offline=True)
        assert len([entry for entry in certificate.findings if entry != "plugin"]) == 1, target
        assert certificate.verdict == "certified" and not certificate.list_findings("warning"), show(certificate)


def test_sample_packages_are_certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tones = tmp_path / "data" / "tones" / "tones.bin"
    tones.parent.mkdir(parents=True)
    for package in ("zoo-sample-dataset", "zoo-sample-metric"):
        monkeypatch.syspath_prepend(HERE / "packages" / package)
        module = package.replace("-", "_")
        source = next((HERE / "packages" / package / module).glob("registry.toml"), None)
        certificate = check(source or HERE / "packages" / package / module / "hooks.py", tmp_path / "data")
        assert certificate.verdict == "certified" and not certificate.list_findings("warning"), show(certificate)


@pytest.mark.parametrize("kind", ["dataset", "metric", "loss"])
def test_a_new_plugin_is_certified(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        done = CliRunner().invoke(cli, ["plugin", "new", f"my-{kind}", "--kind", kind, "--single-file"])
    assert done.exit_code == 0, done.output
    certificate = check(tmp_path / f"my_{kind}.py", tmp_path / "data")
    assert certificate.verdict == "certified" and not certificate.list_findings("warning"), show(certificate)


@pytest.mark.parametrize(
    ("path", "verdict", "checks"),
    [
        ("wrong/datasets/order_of_a_set.py", "refused", ["processes"]),
        ("wrong/metrics/mean_of_batch_means.py", "refused", ["batches"]),
        ("right/metrics/brier.py", "certified", []),
    ],
)
@pytest.mark.usefixtures("warm_children")
def test_the_command_says_the_same(
    path: str, verdict: str, checks: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["plugin", "test", str(HERE / path), "--json", "--data-dir", str(tmp_path)])
    out, err = capsys.readouterr()
    data = json.loads(out)
    assert (code == 0) == (verdict == "certified"), err
    assert data["verdict"] == verdict and data["zoo"] == zoo.__version__
    assert [one["check"] for many in data["findings"].values() for one in many if one["status"] == "failed"] == checks
