"""What all tests share: an environment without the user's settings, and scratch installations."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import site
import subprocess
import sys
import sysconfig
import textwrap
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported: a test process is one of several, and their threads would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parent.parent
FIXTURES = Path(__file__).parent / "fixtures"
PACKAGES = FIXTURES / "packages"
SAMPLES = ("zoo-sample-model", "zoo-sample-dataset", "zoo-sample-metric", "zoo-twin-red", "zoo-twin-blue")
SETTINGS = ("ZOO_DATA_DIR", "ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_OFFLINE", "ZOO_DEBUG")


def _forbid_skip(report: Any) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("ZOO_TEST_NO_SKIP") == "1":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"ZOO_TEST_NO_SKIP=1 forbids to skip: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[None]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.fixture(autouse=True)
def isolated_environment(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep the user's settings out of every test, and what a test changes out of all else."""
    folder = tmp_path_factory.mktemp("zoo")
    monkeypatch.setenv("ZOO_HOME", str(folder / "home"))
    monkeypatch.setenv("ZOO_RUNS_DIR", str(folder / "runs"))
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    before = Path.cwd()
    # What `zoo.cli.main` changes for its process.
    log, terminate = logging.getLogger("zoo"), signal.getsignal(signal.SIGTERM)
    handlers, level, propagate = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.propagate = handlers, propagate
    log.setLevel(level)
    signal.signal(signal.SIGTERM, terminate)
    assert Path.cwd() == before, "the test left the current folder changed"


@pytest.fixture
def own_folder(tmp_path: Path) -> Iterator[Path]:
    """Return a folder of the test's own, the current one."""
    with contextlib.chdir(tmp_path):
        yield tmp_path


@pytest.fixture(scope="session")
def fashionmnist_root() -> Path:
    """Return a data folder with the real FashionMNIST/raw, as torchvision has it."""
    if not os.environ.get("ZOO_TEST_DATA"):
        pytest.skip("ZOO_TEST_DATA does not name a folder with FashionMNIST/raw, as torchvision has it")
    return Path(os.environ["ZOO_TEST_DATA"])


class Packages:
    """A folder on `sys.path` with packages as an installer leaves them: modules and their `.dist-info`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, name: str, entry_points: str | None, version: str = "1.0", **modules: str) -> Path:
        """Install `name` with the lines of its group `zoo` and its modules; `a__b` stands for the file `a/b.py`."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        if entry_points is not None:
            (info / "entry_points.txt").write_text(f"[zoo]\n{entry_points}\n", encoding="utf-8")
        for module, code in modules.items():
            self.write(f"{module.replace('__', '/')}.py", code)
        return info

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return file


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Packages]:
    """Return a folder of packages that this process sees as installed."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    yield Packages(folder)
    own = {path.stem for path in folder.iterdir()}
    for name in [name for name in sys.modules if name.partition(".")[0] in own]:
        del sys.modules[name]


class Environment:
    """A virtual environment that has its own zoo and plugins and borrows everything else from the running one."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "work"
        venv.create(folder / "venv", with_pip=False)
        self.home.mkdir()
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / Path(sys.executable).name
        if not self.python.exists():
            self.python = self.bin / "python"
        scheme = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
        self.site_packages = Path(sysconfig.get_path("purelib", "venv", scheme))
        # Paths only: the .pth files in there, such as that of an editable zoo, are not read through this one.
        outer = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()])
        (self.site_packages / "outer.pth").write_text("\n".join(outer), encoding="utf-8")

    def call(self, *command: str | Path, code: int = 0, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run a command outside the checkout, without the settings of the outer Python."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ZOO_", "PIP_"))}
        own = {"ZOO_HOME": str(self.home / "home"), "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
        done = subprocess.run(
            list(map(str, command)),
            env={**kept, **own, **settings},
            cwd=self.home,
            check=False,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def evaluate(self, code: str, **settings: str) -> Any:
        """Run Python code that prints JSON last; return that."""
        output = self.call(self.python, "-c", textwrap.dedent(code), **settings).stdout
        return json.loads(output.splitlines()[-1])

    def install(self, *what: str | Path) -> None:
        """Install wheels, or folders after `-e`."""
        # Installed already means in the outer environment here, which is not to be touched and not to be relied on.
        options = ("--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed", "-q")
        self.call(sys.executable, "-m", "pip", "--python", self.python, "install", *options, *what)

    def uninstall(self, *names: str) -> None:
        self.call(sys.executable, "-m", "pip", "--python", self.python, "uninstall", "-q", "-y", *names)


@pytest.fixture(scope="session")
def make_environment(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Environment]:
    """Return a function that makes a scratch environment in a fraction of a second."""
    return lambda: Environment(tmp_path_factory.mktemp("environment"))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Return the wheels of zoo and of the sample packages, built from the checkout, by name."""
    folder = tmp_path_factory.mktemp("wheels")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", folder)
    sources = (ROOT, *(PACKAGES / name for name in SAMPLES))
    command = [sys.executable, "-m", "pip", "wheel", *options, *sources]
    subprocess.run(list(map(str, command)), check=True, cwd=folder, timeout=120)
    return {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}
