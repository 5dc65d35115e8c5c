"""What all tests share: an environment without the user's settings, and scratch installations."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import os
import random
import shutil
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

import forkserver
import guard
import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings

from zoo.registry.entries import Registry
from zoo.registry.index import ensure_indexed

# Before torch is imported: a test process is one of several, and their threads would wait for one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Shells set these for their own Pythons. With the first, each process of a test compiles zoo anew; with any of them, no
# Python is warm.
for name in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
    os.environ.pop(name, None)
sys.dont_write_bytecode = False

# A job in the background of a script ignores SIGINT, one under nohup SIGHUP, and what tests start would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

ROOT = Path(__file__).parent.parent
# What hypothesis remembers stays where git ignores it, whatever folder a test is in.
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / ".hypothesis"))
FIXTURES = Path(__file__).parent / "fixtures"
GUARDED = Path(__file__).parent / "guarded"
PACKAGES = FIXTURES / "packages"
SAMPLES = ("zoo-sample-model", "zoo-sample-dataset", "zoo-sample-metric", "zoo-twin-red", "zoo-twin-blue")
MEANS = ("macro", "micro", "weighted")
# zoo's own, in the order of a listing.
METRICS = [
    *("accuracy", "balanced-accuracy", "cohen-kappa", *(f"f1-{mean}" for mean in MEANS), "matthews"),
    *(f"{score}-{mean}" for score in ("precision", "recall") for mean in MEANS),
    "top-k",
]
SETTINGS = ("ZOO_DATA_DIR", "ZOO_PLUGINS", "ZOO_DISABLE_PLUGINS", "ZOO_OFFLINE", "ZOO_MIRROR", "ZOO_DEBUG")


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


# What hypothesis says of examples that take long: a machine may be busy.
QUIET = [HealthCheck.too_slow]
# The longest files, longest first.
LONGEST = (
    "test_course",
    "test_docs",
    "test_launch",
    "test_model_verdicts",
    "test_resume",
    "test_examples",
    "test_benchmarks",
    "test_other_verdicts",
    "test_certificates",
    "test_many_ranks",
    "test_attach",
    "test_existing",
    "test_containment",
    "test_browser",
    "test_templates",
    "test_tuning",
    "test_torchmetrics_catalogue",
    "test_shapes_learning",
)


def pytest_configure(config: pytest.Config) -> None:
    """Let a property be tried with the same examples each time, however long they take, and by night with new ones.

    A fault that is found by chance would be found in a change that has nothing to do with it.
    """
    is_night = "nightly" in config.option.markexpr
    settings.register_profile("zoo", derandomize=not is_night, deadline=None, suppress_health_check=QUIET)
    settings.load_profile("zoo")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest files: begun last, they would run alone while the other process has nothing to do.

    What takes an hour is left to who asks for it.
    """
    if "nightly" not in config.option.markexpr:
        wanted = [item for item in items if item.get_closest_marker("nightly") is None]
        config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
        items[:] = wanted
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def guarded(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Put the guard into this process and into those that tests start; return the file of its notes."""
    log = tmp_path_factory.getbasetemp() / "guard.log"
    caches = [ROOT / name for name in (".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache")]
    allowed = [shared_folder, *caches, Path("~/.cache").expanduser(), Path("~/.config/matplotlib").expanduser()]
    os.environ[guard.LOG], os.environ[guard.FOLDERS] = str(log), os.pathsep.join(map(os.path.realpath, allowed))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARDED), os.environ.get("PYTHONPATH")]))
    # Of fixtures that serve several tests, and of a pytest that a test starts.
    own = tmp_path_factory.mktemp("session")
    os.environ["ZOO_HOME"], os.environ["PYTEST_DEBUG_TEMPROOT"] = str(own / "home"), str(own)
    if os.environ.get("ZOO_TEST_GUARD") == "0":
        del os.environ[guard.LOG]
    else:
        guard.install()
    yield log
    notes = guard.take_notes(log)
    assert not notes, f"the guard of the tests stopped something after the last test:\n{notes}"


@pytest.fixture(scope="session", autouse=True)
def empty_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make an empty folder the current one: what a test writes without saying where must not end in the checkout."""
    folder = tmp_path_factory.mktemp("empty")
    with contextlib.chdir(folder):
        yield folder


@pytest.fixture(scope="session")
def indexes(shared_folder: Path, guarded: Path) -> list[Path]:
    """Return the indexes of the plugins that are installed here, made once: that takes half a second."""
    home = shared_folder / "indexed"
    with FileLock(shared_folder / "indexed.lock"), pytest.MonkeyPatch.context() as patch:
        if not home.exists():
            patch.setenv("ZOO_HOME", str(home))
            for name in SETTINGS:
                patch.delenv(name, raising=False)
            for plugin in Registry.discover().plugins:
                ensure_indexed(plugin)
    return [*home.glob("cache/index-*")]


@pytest.fixture(autouse=True)
def isolated_environment(
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    empty_folder: Path,
    guarded: Path,
    indexes: list[Path],
) -> Iterator[None]:
    """Keep the user's settings out of every test, and what a test changes out of all else.

    Each has a home of its own, that of a user who has called zoo before.
    """
    folder = tmp_path_factory.mktemp("zoo")
    monkeypatch.setenv("ZOO_HOME", str(folder / "home"))
    (folder / "home" / "cache").mkdir(parents=True)
    for index in indexes:
        (folder / "home" / "cache" / index.name).hardlink_to(index)  # what is written there takes its place
    monkeypatch.setenv("ZOO_RUNS_DIR", str(folder / "runs"))
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    # A file given by path is not tried in another Python before it runs here: most tests would wait for that one to
    # import torch. tests/registry/test_single_files.py tries them, and so does every `zoo` in a process of its own.
    monkeypatch.setattr("zoo.storage.processes.is_contained", True)
    draw_alike()
    before = Path.cwd()
    # What `zoo.cli.main` changes for its process.
    log, stops = logging.getLogger("zoo"), [signal.SIGTERM, *filter(None, [getattr(signal, "SIGHUP", None)])]
    known = [signal.getsignal(number) for number in stops]
    handlers, level, propagate = log.handlers, log.level, log.propagate
    yield
    log.handlers, log.propagate = handlers, propagate
    log.setLevel(level)
    for number, handler in zip(stops, known, strict=True):
        signal.signal(number, handler)
    assert Path.cwd() == before, "the test left the current folder changed"
    left = [*empty_folder.iterdir()]
    for path in left:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    notes = guard.take_notes(guarded)
    assert not notes, f"the guard of the tests stopped something:\n{notes}"
    assert not left, f"the test wrote {left[0].name} into the current folder: it should take own_folder or tmp_path"


def draw_alike() -> None:
    """Let what a test draws at random be the same each time, whatever tests came before it in this process."""
    random.seed(0)
    for name, seed in (("numpy.random", "seed"), ("torch", "manual_seed")):
        if name in sys.modules:
            getattr(sys.modules[name], seed)(0)


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


@pytest.fixture(scope="session")
def unpacked_fashionmnist(fashionmnist_root: Path, shared_folder: Path) -> Path:
    """Return a data folder with the files of FashionMNIST as torchvision leaves them after a download."""
    folder = shared_folder / "unpacked"
    raw = folder / "FashionMNIST" / "raw"
    with FileLock(shared_folder / "unpacked.lock"):
        if not raw.exists():
            building = shared_folder / "unpacking"
            building.mkdir()
            for packed in (fashionmnist_root / "FashionMNIST" / "raw").glob("*.gz"):
                (building / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
                (building / packed.name).symlink_to(packed)
            raw.parent.mkdir(parents=True)
            building.rename(raw)
    return folder


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
    """A virtual environment that has its own zoo and plugins and borrows everything else from the running one.

    Its `warm` stands in place of its `python` in tests to which it does not matter how Python started.
    """

    def __init__(self, folder: Path, warm_python: str) -> None:
        self.folder, self.home = folder, folder / "work"
        venv.create(folder / "venv", with_pip=False)
        self.home.mkdir()
        self.bin = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        self.python = self.bin / Path(sys.executable).name
        if not self.python.exists():
            self.python = self.bin / "python"
        scheme = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
        self.site_packages = Path(sysconfig.get_path("purelib", "venv", scheme))
        self.warm = forkserver.borrow(Path(warm_python), self.python)
        # Paths only: the .pth files in there, such as that of an editable zoo, are not read through this one.
        outer = dict.fromkeys([sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()])
        (self.site_packages / "outer.pth").write_text("\n".join([*outer, str(GUARDED)]), encoding="utf-8")

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
            timeout=600,
        )
        assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
        return done

    def evaluate(self, code: str, *, warm: bool = True, **settings: str) -> Any:
        """Run Python code that prints JSON last; return that. A cold process tells what is imported."""
        output = self.call(self.warm if warm else self.python, "-c", textwrap.dedent(code), **settings).stdout
        return json.loads(output.splitlines()[-1])

    def install(self, *what: str | Path) -> None:
        """Install wheels, or folders after `-e`."""
        # Installed already means in the outer environment here, which is not to be touched and not to be relied on.
        options = ("--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed", "-q")
        self.call(sys.executable, "-m", "pip", "--python", self.python, "install", *options, *what)

    def uninstall(self, *names: str) -> None:
        self.call(sys.executable, "-m", "pip", "--python", self.python, "uninstall", "-q", "-y", *names)


@pytest.fixture(scope="session")
def make_environment(tmp_path_factory: pytest.TempPathFactory, warm_python: str) -> Callable[[], Environment]:
    """Return a function that makes a scratch environment in a fraction of a second."""
    return lambda: Environment(tmp_path_factory.mktemp("environment"), warm_python)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all processes of this run of pytest have in common."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def wheels(shared_folder: Path) -> dict[str, Path]:
    """Return the wheels of zoo and of the sample packages, built once from the checkout, by name."""
    folder = shared_folder / "wheels"
    with FileLock(shared_folder / "wheels.lock"):
        if not folder.exists():
            building = shared_folder / "wheels-building"
            options = ("--no-deps", "--no-build-isolation", "--no-index", "-q", "-w", building)
            sources = (ROOT, *(PACKAGES / name for name in SAMPLES))
            command = [sys.executable, "-m", "pip", "wheel", *options, *sources]
            subprocess.run(list(map(str, command)), check=True, cwd=shared_folder, timeout=600)
            building.rename(folder)
    return {path.name.split("-")[0].replace("_", "-"): path for path in folder.glob("*.whl")}


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return what stands in place of `sys.executable` in tests to which it does not matter how Python started."""
    with forkserver.start(Path(sys.executable), tmp_path_factory.mktemp("warm")) as client:
        yield str(client)


@pytest.fixture
def server() -> Iterator[Any]:
    """Return a server on this machine that answers as badly as a test asks for, see hostile.py."""
    from hostile import serve

    with serve() as running:
        yield running


@pytest.fixture
def warm_children(warm_python: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the processes that zoo starts from this one be warm ones."""
    monkeypatch.setattr(sys, "executable", warm_python)
