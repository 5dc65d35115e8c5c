"""Single files: one that ends, blocks or crashes its process does so in another one first, however it was given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
import zoo.registry.index
from zoo.cli.main import main
from zoo.errors import PluginError
from zoo.registry.imports import import_file


@pytest.fixture(autouse=True)
def tried(monkeypatch: pytest.MonkeyPatch, isolated_environment: None) -> None:
    """Let files be tried as in any other process."""
    monkeypatch.setattr("zoo.storage.processes.is_contained", False)


HOOK = "import os, time, zoo\n@zoo.hookimpl\ndef zoo_models():\n"
# What a file does at its top or in its hook, and what is said of it.
DEADLY = {
    "ends-well": ("import os\nos._exit(0)", "importing it failed: it ended the process (exit code 0)"),
    "ends": ("import os\nos._exit(3)", "importing it failed: it ended the process (exit code 3)"),
    "crashes": ("import ctypes\nctypes.string_at(0)", "it ended the process (signal 11: Segmentation fault)"),
    "kills": ("import os\nos.kill(os.getpid(), 9)", "it ended the process (signal 9: Killed)"),
    "kills-its-group": ("import os\nos.killpg(0, 15)", "it ended the process (signal 15: Terminated)"),
    "leaves-a-child": ("import os, time\nif os.fork() == 0:\n time.sleep(600)\nos._exit(3)", "(exit code 3)"),
    "hook": (f"{HOOK} os._exit(0)", "it ended the process (exit code 0)"),
    "hook-late": (f"{HOOK} yield zoo.ModelSpec(name='a', factory='a:b')\n os._exit(0)", "it ended the process"),
    "loops": ("while True: pass", "it took more than 1 s. Look for an endless loop"),
    "sleeps": ("import time\ntime.sleep(600)", "it took more than 1 s"),
    "waits": ("import threading\nthreading.Lock().acquire() or 0\nthreading.Event().wait()", "it took more than 1 s"),
}


@pytest.mark.promise("P5")
@pytest.mark.parametrize("name", DEADLY)
def test_a_file_that_ends_or_blocks_its_process_is_refused(
    name: str, own_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, why = DEADLY[name]
    path = Path(f"{name}.py").absolute()
    path.write_text(code)
    if "1 s" in why:
        monkeypatch.setattr(zoo.registry.index, "FILE_TIME_LIMIT", 1.0)
    assert main(["list", "--plugin", path.name]) == 5
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"Error: plugin '{name}': ") and why in err and len(err.splitlines()) == 1
    if name in ("ends", "loops"):  # the other doors
        with pytest.raises(PluginError, match=f"plugin '{name}': importing it failed"):
            zoo.list_models(plugins=[path])
        monkeypatch.setenv("ZOO_PLUGINS", str(path))
        assert main(["list", "models"]) == 5
        monkeypatch.setenv("ZOO_DISABLE_PLUGINS", name)
        assert main(["list"]) == 0


@pytest.mark.slow
def test_it_is_tried_once_until_it_changes(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, log = Path("mine.py").absolute(), Path("log").absolute()
    code = f"import os, zoo\nopen({str(log)!r}, 'a').write(f'{{os.getpid()}}\\n')\n"

    def count(*, here: bool = True) -> tuple[int, int]:
        """Return in how many other processes, and how often in its own, the file ran for one command."""
        log.write_text("")
        done = subprocess.run(
            [sys.executable, "-c", "import os, sys\nfrom zoo.cli.main import main\n"
             "code = main(['list', '--plugin', 'mine.py']) + main(['list', '--plugin', 'mine.py'])\n"
             "open('log', 'a').write(f'here {os.getpid()}')\nsys.exit(code)"],
            capture_output=True, check=False,
        )  # fmt: skip
        assert (done.returncode == 0) == here, done.stderr
        *ran, own = log.read_text().splitlines()
        return len([pid for pid in ran if pid != own.split()[1]]), ran.count(own.split()[1])

    path.write_text(code)
    assert count() == (1, 1)
    assert count() == (0, 1)
    path.write_text(f"{code}# changed\n")
    assert count() == (1, 1)
    path.write_text(f"{code}os._exit(0)\n")
    assert count(here=False) == (2, 0), "what went wrong is tried again, for its cause may be elsewhere"
    # An error is harmless, so it is raised here as well, with its traceback.
    path.write_text(f"{code}raise RuntimeError\n")
    assert count(here=False) == (1, 2)
    monkeypatch.setenv("ZOO_HOME", str(path))  # where nothing can be kept
    path.write_text(code)
    assert count() == count() == (1, 1)


def test_it_is_tried_again_when_a_neighbour_changes(own_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine").mkdir()
    Path("mine/mine.py").write_text("import zoo\nimport layers.first\n")
    Path("mine/layers").mkdir()
    Path("mine/layers/first.py").write_text("from second import X\n")
    Path("mine/second.py").write_text("X = 1\n")
    path = Path("mine/mine.py").absolute()
    assert main(["list", "models", "--plugin", "mine/mine.py"]) == 0
    for name in [name for name in sys.modules if name.startswith(import_file(path).__package__)]:
        del sys.modules[name]
    Path("mine/second.py").write_text("import os\nos._exit(3)\n")
    capsys.readouterr()
    assert main(["list", "models", "--plugin", "mine/mine.py"]) == 5
    assert "importing it failed: it ended the process (exit code 3)" in capsys.readouterr().err


def test_files_that_use_each_other_start_no_chain(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        Path(f"{one}.py").write_text(
            f"import zoo\nzoo.list_models(plugins=[{str(Path(other).absolute())!r} + '.py'])\n"
        )
    monkeypatch.setenv("ZOO_PLUGINS", os.pathsep.join(str(Path(name).absolute()) for name in ("a.py", "b.py")))
    assert zoo.list_models()


def test_the_error_of_a_file_keeps_its_traceback(own_folder: Path) -> None:
    Path("mine.py").write_text("raise RuntimeError('no luck')\n")
    with pytest.raises(PluginError, match="RuntimeError: no luck") as caught:
        zoo.list_models(plugins=["mine.py"])
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_file_that_was_imported_is_not_tried(own_folder: Path) -> None:
    Path("mine.py").write_text("import os\nwith open('log', 'a') as log: print(os.getpid(), file=log)\n")
    import_file(Path("mine.py").absolute())
    assert zoo.list_models(plugins=["mine.py"])
    assert [int(line) for line in Path("log").read_text().splitlines()] == [os.getpid()]


def test_a_damaged_note_only_costs_time(own_folder: Path) -> None:
    Path("mine.py").write_text("import zoo\n")
    assert main(["list", "--plugin", "mine.py"]) == 0
    (kept,) = Path(os.environ["ZOO_HOME"], "cache").glob("file-mine-*.json")
    assert json.loads(kept.read_text())["file"]["size"] == 11
    for damage in (b"", b"\xff", b"null"):
        kept.write_bytes(damage)
        del sys.modules[import_file(Path("mine.py").absolute()).__name__]
        assert main(["list", "--plugin", "mine.py"]) == 0
        assert json.loads(kept.read_text())["file"]["size"] == 11
