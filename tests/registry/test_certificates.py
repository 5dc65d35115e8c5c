"""Certificates: zoo's own entries have one, verdicts survive what a plugin does, and old ones no longer hold."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import PACKAGES, Packages

import zoo
from zoo.checks.plugin import check_plugin
from zoo.cli.main import main
from zoo.registry.entries import Registry
from zoo.registry.specs import SPEC_CLASSES

# Each certificate is the work of another process; how that one starts matters only to those that take COLD.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("warm_children")]
COLD = sys.executable

GOOD = """
import zoo

@zoo.metric(name="good", bounds=(0, 1))
class Good:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.right = self.total = 0

    def update(self, logits, targets):
        self.right += int((logits.argmax(dim=1) == targets).sum())
        self.total += len(targets)

    def compute(self):
        return self.right / self.total
"""
"""A metric, because its checks take a tenth of the time of a model's."""
SECOND = """
@zoo.metric(name="{0}")
class {0}(Good):
    def compute(self):
        {1}
        return super().compute()
"""
RELU = """
import torch
import zoo
from torch import nn

@zoo.model(name="relu")
class Net(nn.Module):
    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        size = torch.Size(input_shape).numel()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(size, num_classes), nn.ReLU())

    def forward(self, inputs):
        return self.layers(inputs)
"""
ENDINGS = {
    "ends": ("import os; os._exit(0)", "it ended the process (exit code 0)"),
    "crashes": ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11: Segmentation fault"),
    "loops": ("while True: pass", "it took more than 5 s"),
    "exits": ("raise SystemExit(3)", "SystemExit: 3"),
}
"""Lines that end or block the process, by the names of their entries, and what the certificate says of each."""


def write(folder: Path, text: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def statuses(certificate: zoo.Certificate, entry: str) -> dict[str, str]:
    return {found.check: found.status for found in certificate.findings[entry]}


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = main(list(map(str, arguments)))
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def test_every_entry_of_zoo_itself_has_a_certificate(fashionmnist_root):
    certificate = check_plugin("zoo", data_dir=fashionmnist_root, offline=True)
    own = {
        f"{kind} {entry.name}"
        for kind in SPEC_CLASSES
        for entry in Registry.discover(disabled=["all"]).list_entries(kind, "*")
    }
    assert set(certificate.findings) == {"plugin", *own} and len(own) >= 9
    assert certificate.list_findings("failed", "warning") == []
    # Their files are not here.
    absent = {f"dataset {name}" for name in ("mnist", "kmnist", "cifar10", "cifar100")}
    assert {entry for entry, _ in certificate.list_findings("untried")} == absent
    assert certificate.verdict == "incomplete" and certificate.whole


@pytest.mark.parametrize("name", ["zoo-sample-model", "zoo-sample-dataset", "zoo-sample-metric", "zoo-twin-red"])
def test_the_sample_packages_are_certified(name, packages: Packages, monkeypatch):
    folder = PACKAGES / name
    monkeypatch.syspath_prepend(folder)
    manifests = [*folder.glob("*/registry.toml"), *folder.glob("*/hooks.py")]
    assert len(manifests) == 1
    certificate = check_plugin(manifests[0], offline=True)
    assert [(entry, found.check, found.seen) for entry, found in certificate.list_findings("failed", "warning")] == []


@pytest.mark.promise("P5")
def test_a_plugin_that_ends_or_blocks_the_process_is_refused_and_the_rest_is_checked(tmp_path):
    # The names sort so that a good entry comes before, between and after those that end the process.
    bad = "".join(SECOND.format(name, line) for name, (line, _) in ENDINGS.items())
    others = "".join(GOOD.replace("good", name).replace("Good", name[:1].upper()) for name in ("a-good", "f-good"))
    certificate = zoo.certify(
        write(tmp_path, GOOD.replace('name="good"', 'name="z-good"') + others + bad), time_limit=5
    )
    assert certificate.verdict == "refused"
    failed = {entry.removeprefix("metric "): found for entry, found in certificate.list_findings("failed")[::-1]}
    assert set(failed) == set(ENDINGS)
    for name, (_, seen) in ENDINGS.items():
        assert seen in failed[name].seen and failed[name].fix and failed[name].why
    for name in ("a-good", "f-good", "z-good"):
        assert set(statuses(certificate, f"metric {name}").values()) <= {"passed", "skipped"}


def test_what_a_plugin_prints_is_not_taken_for_a_finding(tmp_path):
    line = "print('{\"files\": []}'); import os; os.write(1, b'{\"files\": []}\\n')"
    certificate = zoo.certify(write(tmp_path, GOOD + SECOND.format("second", line)))
    assert certificate.verdict == "certified"
    assert len(certificate.findings["metric second"]) == len(certificate.findings["metric good"]) > 10


def test_the_certificate_is_shown_until_the_plugin_changes(tmp_path, capsys):
    path = write(tmp_path, GOOD)
    code, out, _ = run(capsys, "plugins", "mine", "--plugin", path)
    assert code == 0 and "none; see: zoo plugin test mine" in out
    code, out, err = run(capsys, "plugin", "test", path)
    assert code == 0 and "mine: certified" in out and "metric good: 13 passed" in out and "checking metric good" in err
    (kept,) = Path(os.environ["ZOO_HOME"], "certificates").iterdir()
    state = path.stat()
    assert json.loads(kept.read_bytes())["files"] == [[str(path), [state.st_mtime_ns, state.st_size]]]
    code, out, _ = run(capsys, "plugins", "--plugin", path)
    (row,) = [line for line in out.splitlines() if line.startswith("mine")]
    assert f"by zoo {zoo.__version__}" in row and "certified 2" in row
    (shown,) = json.loads(run(capsys, "plugins", "mine", "--plugin", path, "--json")[1])["plugins"]
    assert shown["certificate"]["verdict"] == "certified" and shown["certificate"]["holds"] is True
    write(tmp_path, f"{GOOD}\n# changed\n")
    assert "changed since" in run(capsys, "plugins", "mine", "--plugin", path)[1]


def test_a_refusal_tells_what_why_how_and_where(tmp_path, capsys):
    path = write(tmp_path, RELU)
    code, out, err = run(capsys, "plugin", "test", path)
    line = next(number for number, found in enumerate(RELU.splitlines(), 1) if "nn.ReLU" in found)
    assert code == 5
    for part in (
        "ReLU on the logits, by layers.2 (ReLU)",
        "why   Cross-entropy",
        "fix   Take out layers.2",
        f"mine.py:{line}",
    ):
        assert part in out, part
    assert "plugin 'mine': certificate refused: " in err and "model relu: activation" in err
    code, out, err = run(capsys, "plugin", "test", path, "--json")
    data = json.loads(out)
    assert code == 5 and data["verdict"] == "refused" and json.loads(err)["error"]["exit"] == 5
    found = next(found for found in data["findings"]["model relu"] if found["status"] == "failed")
    assert found["where"] == f"{path}:{line}" and found["check"] == "activation"
    assert "refused" in run(capsys, "plugins", "--plugin", path)[1]


def test_some_entries_alone_give_no_certificate(tmp_path, capsys, monkeypatch):
    path = write(tmp_path, GOOD + SECOND.format("second", "return 0"))
    code, out, _ = run(capsys, "plugin", "test", "mine/good", "--plugin", path)
    assert code == 0 and "passed, in part" in out and "second" not in out
    assert "none; see" in run(capsys, "plugins", "mine", "--plugin", path)[1]
    code, _, err = run(capsys, "plugin", "test", "mine/goof", "--plugin", path)
    assert code == 2 and "has no entry 'goof'" in err


def test_names_and_paths_that_are_not_there_are_usage_errors(tmp_path, capsys):
    for target, told in (
        ("zo", "Did you mean 'zoo'?"),
        (tmp_path / "none.py", "cannot be read"),
        (tmp_path, "no plugin"),
    ):
        code, _, err = run(capsys, "plugin", "test", target)
        assert code == 2 and told in err, err


def test_a_broken_plugin_is_refused_by_what_breaks_it(tmp_path):
    certificate = zoo.certify(write(tmp_path, 'schema = 1\n[models.net]\nfactroy = "a:b"\n', "registry.toml"))
    ((entry, found),) = certificate.list_findings("failed")
    assert (entry, found.check) == ("plugin", "loads") and "factroy: unknown key" in found.seen
    empty = zoo.certify(write(tmp_path, "import zoo\n", "empty.py"))
    assert [found.seen for _, found in empty.list_findings("failed")] == ["it provides nothing"]


def test_data_that_are_not_here_leave_it_incomplete(tmp_path, capsys):
    digest = "0" * 64
    text = f"""
    schema = 1
    [datasets.far]
    factory = "far:load"
    files = [{{ path = "far/a.bin", size = 3, sha256 = "{digest}", urls = ["https://far.invalid/a.bin"] }}]
    """
    path = write(tmp_path, text, "registry.toml")
    write(tmp_path, "def load(*, root): ...\n", "far.py")
    code, out, err = run(capsys, "plugin", "test", path, "--offline", "--data-dir", tmp_path / "data")
    assert code == 6 and "certificate incomplete" in err and "untried files" in " ".join(out.split())


def test_installed_plugins_are_checked_by_name(packages: Packages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", COLD)  # in a warm one torch is there before the plugin imports it
    packages.add(
        "zoo-hooks", "hooks = zoo_hooks.hooks", zoo_hooks____init__="", zoo_hooks__hooks=f"import torch\n{GOOD}"
    )
    certificate = zoo.certify("zoo-hooks")
    assert certificate.verdict == "certified" and certificate.version == "1.0"
    ((_, found),) = certificate.list_findings("warning")
    assert found.check == "listing" and "torch" in found.seen
    assert any(file.path.endswith("zoo_hooks/hooks.py") for file in certificate.files) and certificate.holds


def test_asking_for_a_certificate_imports_no_torch():
    code = "import sys, zoo; zoo.certify('nobody') if len(sys.argv) > 9 else zoo.certify; print('torch' in sys.modules)"
    done = subprocess.run([COLD, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
