"""The guard of the tests stops what zoo promises never to do, in every kind of process that tests start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import guard
import pytest
from conftest import Environment

pytestmark = pytest.mark.promise("P3", "P7", "P8")

BREAKS = {
    "unpickled: pathlib.": "import pickle, pathlib; pickle.loads(pickle.dumps(pathlib.Path('a')))",
    "connected: ('192.0.2.1', 9)": "import socket; socket.socket().connect(('192.0.2.1', 9))",
    "looked up: example.org": "import socket; socket.getaddrinfo('example.org', 80)",
    "written: OUTSIDE/new": "open('OUTSIDE/new', 'w')",
    "written: OUTSIDE/folder": "import os; os.mkdir('OUTSIDE/folder')",
    "written: OUTSIDE/moved": "import os; open('here', 'w').close(); os.rename('here', 'OUTSIDE/moved')",
    "written: OUTSIDE/old": "import os; os.remove('OUTSIDE/old')",
}
KEEPS = """
import multiprocessing, pathlib, pickle, socket, tempfile
queue = multiprocessing.SimpleQueue()
queue.put(pathlib.Path("a"))
assert queue.get() == pathlib.Path("a")
assert pickle.loads(pickle.dumps({"plain": [1, 2.0, "three"]}))["plain"][0] == 1
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
pathlib.Path("inside").write_text("mine")
tempfile.TemporaryFile().close()
open("OUTSIDE/old").close()
"""
TRY = """
import json, sys
found = []
for code in json.loads(sys.argv[1]):
    try:
        exec(compile(code, "somewhere.py", "exec"), {})
    except PermissionError as error:
        found.append(str(error))
    else:
        found.append("passed")
print(json.dumps(found))
"""


@pytest.mark.parametrize("kind", ["cold", "warm", "scratch"])
def test_each_rule_is_kept_in_every_kind_of_process(
    kind: str, own_folder: Path, warm_python: str, make_environment: Callable[[], Environment]
) -> None:
    outside, inside = own_folder / "outside", own_folder / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "old").write_text("kept")
    settings = {**os.environ, guard.LOG: str(inside / "notes"), guard.FOLDERS: str(inside)}
    python = {"cold": sys.executable, "warm": warm_python}.get(kind) or make_environment().python
    if kind == "scratch":  # it is not told by the variable
        del settings["PYTHONPATH"]
    code = [text.replace("OUTSIDE", str(outside)) for text in [*BREAKS.values(), KEEPS]]
    done = subprocess.run(
        [python, "-c", TRY, json.dumps(code)], cwd=inside, env=settings, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    *stopped, kept = json.loads(done.stdout)
    assert kept == "passed"
    expected = [text.replace("OUTSIDE", str(outside)) for text in BREAKS]
    for answer, rule in zip(stopped, expected, strict=True):
        assert answer.startswith(f"the guard of the tests: {rule}")
    notes = guard.take_notes(inside / "notes").splitlines()
    assert len(notes) == len(BREAKS)
    assert all(note.startswith(rule) and "somewhere.py" in note for note, rule in zip(notes, expected, strict=True))
    assert [path.name for path in outside.iterdir()] == ["old"]


def test_the_process_of_pytest_is_guarded_and_a_test_would_fail(guarded: Path) -> None:
    with pytest.raises(PermissionError, match="the guard of the tests: written: /guarded"):
        open("/guarded", "w")  # noqa: PTH123, SIM115 it is not opened
    # What is taken here would fail the test at its end, see `isolated_environment`.
    assert guard.take_notes(guarded).startswith("written: /guarded")
