"""Fork server: a Python that has imported torch and forks for whoever needs another process, but not a cold one.

A test starts it with `start` and gets a command that stands where the path of a Python stands:
`subprocess.run([client, "-m", "zoo", "list"])`. What answers is a process of its own with the caller's arguments,
environment, current folder and open files, in which nothing of zoo is imported yet; the caller ends as it ends. With
other options, or variables for the interpreter such as PYTHONHASHSEED, a cold Python answers.

It is no stand-in where a test is about the start of a Python: what is imported and what that costs, threads, options
and variables of the interpreter, the seed of its hashes, signals.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import site
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module, invalidate_caches
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import guard

AVAILABLE = sys.platform == "linux"
# The libraries of zoo and of most plugins; no module of zoo itself, for environments differ in it.
PRELOADED = ("click", "numpy", "PIL.Image", "pluggy", "pydantic", "safetensors.torch", "torch", "torchvision")
# A test waits for each start of it: it imports as little as can be. What the server cannot do, a cold Python does.
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
if sys.argv[1].startswith("-") and sys.argv[1] not in ("-c", "-m", "-P") or any(
    name.startswith("PYTHON") and name != "PYTHONPATH" for name in os.environ
):
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
request = json.dumps([{program!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    socket.send_fds(server, [len(request).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(request)
    child = int(server.recv(16) or b"0")
    stops = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT] if child else []
    def pass_on(number, frame):
        try:
            os.kill(child, number)
        except ProcessLookupError:
            pass
    for number in stops:
        signal.signal(number, pass_on)
    code = int(server.recv(16) or b"1")
    for number in stops:  # it has ended: what comes now is too late to change how
        signal.signal(number, signal.SIG_IGN)
if code < 0:
    if -code in stops:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


@contextmanager
def start(python: Path, folder: Path) -> Iterator[Path]:
    """Start a server of this Python; give the path of its client, which is written to the folder.

    Where there is no such server, which needs Linux, the Python itself is its client.
    """
    if not AVAILABLE:
        yield python
        return
    client, address = folder / "python", folder / "socket"
    write_client(client, address, python, program=python)
    settings = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ZOO_"))}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        descriptor = listener.fileno()
        command = [python, __file__, str(descriptor)]
        server = subprocess.Popen(command, env=settings, stdin=subprocess.PIPE, pass_fds=[descriptor])
    # The server ends with its input, also when this process is killed.
    with server:
        yield client


def write_client(client: Path, address: Path, python: Path, program: Path) -> None:
    """Write a command that asks the server at the address for processes as this Python starts them.

    The program is what those processes know as their own Python.
    """
    text = CLIENT.format(python=str(python), program=str(program), address=str(address))
    client.write_text(text, encoding="utf-8")
    client.chmod(0o755)


def borrow(client: Path, python: Path) -> Path:
    """Return a client of the same server for the Python of another environment, beside that Python.

    The environment must have the server's libraries: what the server has imported stays imported. The processes are
    those of that environment, and what they start in turn is warm as well.
    """
    if not AVAILABLE:
        return python
    borrowed = python.with_name("warm-python")
    write_client(borrowed, client.with_name("socket"), python, program=borrowed)
    return borrowed


def serve(descriptor: int) -> None:
    """Fork for every request until the input ends."""
    for name in PRELOADED:
        with suppress(ImportError):
            import_module(name)
    gc.collect()
    gc.freeze()
    with socket.socket(fileno=descriptor) as listener:
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            if not os.fork():
                listener.close()
                answer(connection)
            connection.close()
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def answer(connection: socket.socket) -> NoReturn:
    """Read a request, run it in a child, and tell how that ended; if nobody waits for it any more, end it."""
    start, files, _, _ = socket.recv_fds(connection, 8, 3)
    with connection.makefile("rb") as stream:
        program, arguments, folder, settings = json.loads(stream.read(int.from_bytes(start, "big")))
    child = os.fork()
    if not child:
        connection.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(settings)
        if program != sys.executable:
            sys.executable, sys.prefix = program, str(Path(program).parent.parent)
            sys.exec_prefix = sys.prefix
        run(arguments)
    for file in files:
        os.close(file)
    with suppress(OSError):
        connection.sendall(str(child).ljust(16).encode())
    ended = os.pidfd_open(child)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with suppress(OSError):
        connection.sendall(str(code).encode())
    os._exit(0)


def run(arguments: list[str]) -> NoReturn:
    """Do what Python does with `-c CODE`, `-m MODULE` or the path of a script, perhaps after `-P`; end the process."""
    # New streams: those of the server know its own files.
    sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = os.fdopen(1, "w", 1 if os.isatty(1) else -1, encoding="utf-8", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()
    if os.environ.get(guard.LOG):
        guard.install()
    code: Any = 0
    try:
        execute(*arguments)
    except SystemExit as end:
        code = end.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:  # noqa: BLE001 what ends a Python with a traceback
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code or 0)


def execute(option: str, *rest: Any) -> None:
    """Run what the arguments name; what was installed since the server started is found."""
    safe = option == "-P"
    if safe:
        option, *rest = rest
    place = {"-c": "", "-m": str(Path.cwd())}.get(option, str(Path(option).absolute().parent))
    own = tuple(site.getsitepackages([sys.prefix]))
    library = [path for path in sys.path[1:] if path.startswith(sys.base_prefix) and not path.endswith("-packages")]
    sys.path[:] = [
        *(() if safe else (place,)),
        *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)),
        *library,
    ]
    for path in own:
        site.addsitedir(path)
    invalidate_caches()
    if option == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), main.__dict__)
    elif option == "-m":
        sys.argv = list(rest)
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = [option, *rest]
        runpy.run_path(option, run_name="__main__")


if __name__ == "__main__":
    serve(int(sys.argv[1]))
