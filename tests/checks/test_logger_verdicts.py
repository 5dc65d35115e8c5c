"""What the certificate says of loggers: right ones pass, and each kind of wrong one is named."""

from __future__ import annotations

import pytest

import zoo
from zoo.checks.plugin import check_plugin

GOOD = """
import zoo

@zoo.logger(name="mine", params={"mark": "x"})
class Mine:
    def __init__(self, *, run_dir, mark):
        self.file = run_dir / "heard.txt"

    def run_started(self, run):
        self.file.write_text(run.record.status)

    def epoch_finished(self, epoch):
        assert epoch["test"]["accuracy"] <= 1

    def run_finished(self, run):
        assert run.record.status in ("finished", "failed", "diverged")
        self.file.write_text(f"{run.record.metrics} {run.record.error}")
"""


def find(own_folder, text):
    (own_folder / "mine.py").write_text(text)
    certificate = check_plugin("mine.py")
    return certificate, {found.check: found for found in certificate.findings.get("logger mine", [])}


def test_a_right_one_is_certified(own_folder):
    certificate, found = find(own_folder, GOOD)
    assert certificate.verdict == "certified"
    assert {name: one.status for name, one in found.items()} == dict.fromkeys(("builds", "hears", "place"), "passed")
    assert sorted(path.name for path in own_folder.iterdir() if path.suffix) == ["mine.py"]


@pytest.mark.parametrize(
    ("change", "check", "seen"),
    [
        (('run_dir / "heard.txt"', "1 / 0"), "builds", "ZeroDivisionError"),
        (("def __init__(self, *, run_dir, mark)", "def __init__(self, *, mark)"), "builds", "run_dir"),
        (('["accuracy"] <= 1', '["f1"] <= 1'), "hears", "epoch_finished failed: KeyError: 'f1'"),
        (('"finished", "failed", "diverged"', '"finished"'), "hears", "run_finished failed: AssertionError"),
        (('run_dir / "heard.txt"', '__import__("pathlib").Path("heard.txt")'), "place", "heard.txt into the current"),
        (
            ('run_dir / "heard.txt"', 'run_dir.parent / "two" / "h.txt"'),
            "place",
            "h.txt into the folder of another",
        ),
    ],
)
def test_a_wrong_one_is_refused_by_the_check_that_is_for_it(own_folder, change, check, seen):
    assert change[0] in GOOD
    certificate, found = find(own_folder, GOOD.replace(*change))
    assert certificate.verdict == "refused" and found[check].status == "failed"
    assert seen in found[check].seen and found[check].why


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of libraries below MLflow
@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_zoos_own_pass(name):
    certificate = check_plugin(f"zoo/{name}")
    statuses = {found.status for found in certificate.findings[f"logger {name}"]}
    assert statuses == {"passed"} and zoo.LoggerSpec.kind == "logger"
