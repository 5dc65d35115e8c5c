"""Downloads that go on where they broke off, from a server that does with ranges whatever a server can do."""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest
from hostile import DATA, HALF, Server, serve
from test_downloads import CHILD, closed_port, fail, fetch, found, spec, unsized

from zoo.errors import DownloadError
from zoo.registry import downloads, parts, transfers

pytestmark = [pytest.mark.usefixtures("quick"), pytest.mark.promise("P4")]


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(downloads, "BACK_OFF", 0.0)
    # So that a test can tell to the byte where a download went on.
    monkeypatch.setattr(transfers, "CHUNK", 1000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the pauses that are asked for, none of which is made."""
    made = list[float]()
    monkeypatch.setattr(time, "sleep", made.append)
    return made


def assert_whole(root: Path) -> None:
    assert (root / "things/a.bin").read_bytes() == DATA
    assert found(root) == ["things/a.bin"]


def plant(root: Path, url: str, data: bytes, validator: str = "", pid: int = 0) -> Path:
    """Leave a part file as a process of this number leaves it, 0 for one that ended in order."""
    (root / "things").mkdir(parents=True, exist_ok=True)
    file = spec(url)
    part = parts.Part(root / file.path, parts.make_key(url, file.sha256))
    part.begin_piece(validator)
    part.append(data)
    part._close()
    return part.path.rename(part._name(pid))


@pytest.mark.parametrize(
    ("name", "ranges", "conditions"),
    [
        # What is missing is asked for, of the version that the first half is of.
        ("ranges-cut-once", [None, f"bytes={HALF}-"], [None, None]),
        ("ranges-dated", [None, f"bytes={HALF}-"], [None, "Wed, 21 Oct 2015 07:28:00 GMT"]),
        # The server sends no ranges: its answer is the whole.
        ("ranges-ignored", [None, f"bytes={HALF}-"], [None, None]),
        # It says, or does not say, that it sends something else: once more from the start, and no ranges any more.
        ("ranges-of-others", [None, f"bytes={HALF}-", None], [None, None, None]),
        ("ranges-from-zero", [None, f"bytes={HALF}-", None], [None, None, None]),
        ("ranges-endless", [None, f"bytes={HALF}-", None], [None, None, None]),
        ("no-such-range", [None, f"bytes={HALF}-", None], [None, None, None]),
        # The file changed in between: it says so, it does not, it breaks its word.
        ("changed", [None, f"bytes={HALF}-"], [None, '"v0"']),
        ("changed-untold", [None, f"bytes={HALF}-", None], [None, None, None]),
        ("changed-against-its-word", [None, f"bytes={HALF}-", None], [None, '"v0"', None]),
        # A range that is the whole, though nobody asked for one.
        ("ranges-unasked", [None], [None]),
    ],
)
def test_a_download_that_broke_off(
    server: Server, root: Path, name: str, ranges: list[str | None], conditions: list[str | None]
) -> None:
    fetch(root, spec(server.url(name)))
    assert_whole(root)
    assert (server.ranges, server.conditions) == (ranges, conditions)


def test_what_cannot_be_put_together_twice_is_refused(server: Server, root: Path) -> None:
    message = fail(DownloadError, root, spec(server.url("wrong-in-two")))
    assert "expected SHA-256" in message
    assert server.ranges == [None, f"bytes={HALF}-", None]
    assert found(root) == [], "what can never become the file is not kept"


def test_the_next_run_goes_on(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "TRIES", 1)
    file, lines = spec(server.url("ranges-cut")), list[str]()
    for done in (100_000, 200_000):
        assert "the connection was cut" in fail(DownloadError, root, file, report=lines.append)
        assert [part.size for part in parts.find_parts(root / file.path)] == [done]
    fetch(root, file, report=lines.append)
    assert_whole(root)
    assert server.ranges == [None, "bytes=100000-", "bytes=200000-"]
    assert server.conditions == [None, '"v1"', '"v1"']
    host = f"127.0.0.1:{server.server_port}"
    assert lines[-1] == f"downloading a.bin (0.3 MB, the first 0.2 MB are here) from {host}"


def test_a_source_that_gets_on_is_asked_as_often_as_it_takes(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "TRIES", 1)
    monkeypatch.setattr(downloads, "PROGRESS", 50_000)
    fetch(root, spec(server.url("ranges-cut")))
    assert_whole(root)
    assert len(server.asked) == 3


def test_a_file_of_unknown_size_goes_on(server: Server, root: Path) -> None:
    fetch(root, unsized(server.url("ranges-cut-once")))
    assert_whole(root)
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_killed_in_between(server: Server, root: Path) -> None:
    file = spec(server.url("gated-half"))
    command = [sys.executable, "-c", CHILD, str(root), *file.urls, str(file.size), file.sha256, ""]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.Popen(command, env=environment, **pipes)
    with child:
        child.stdin.write("go\n")
        child.stdin.flush()
        assert server.half.wait(30)
        while not (begun := parts.find_parts(root / file.path)) or not begun[0].size:
            assert child.poll() is None
            server.stop.wait(0.01)
        assert begun[0].is_busy
        child.send_signal(signal.SIGKILL)
    (left,) = parts.find_parts(root / file.path)
    assert found(root) == [f"things/{left.path.name}"], "nothing at its place"
    assert not left.is_busy
    fetch(root, file)
    assert_whole(root)
    assert server.ranges == [None, f"bytes={left.size}-"]
    assert server.conditions == [None, '"v1"']


@pytest.mark.parametrize(("data", "ranges"), [(DATA, []), (bytes(len(DATA)), [None]), (bytes(len(DATA) + 1), [None])])
def test_a_part_that_is_the_whole(server: Server, root: Path, data: bytes, ranges: list[str | None]) -> None:
    plant(root, server.url("ranges"), data)
    fetch(root, spec(server.url("ranges")))
    assert_whole(root)
    assert server.ranges == ranges


def test_a_part_from_another_address_is_not_gone_on_with(server: Server, root: Path) -> None:
    plant(root, server.url("other"), DATA[:HALF])
    fetch(root, spec(server.url("ranges")))
    assert_whole(root)
    assert server.ranges == [None]


@pytest.mark.promise("P9")
@pytest.mark.parametrize("where", ["here", "elsewhere"])
def test_a_part_that_a_process_writes_is_left_alone(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    number = os.getpid()
    if where == "elsewhere":
        monkeypatch.setattr(parts, "_name_machine", lambda: "0" * 8)
        number = 2**22 + 1  # more than a process is numbered
    path = plant(root, server.url("ranges"), DATA[:HALF], pid=number)
    monkeypatch.undo()
    monkeypatch.setenv("ZOO_HOME", str(root.parent / "home"))
    fetch(root, spec(server.url("ranges")))
    assert server.ranges == [None]
    assert found(root) == [f"things/{path.name}", "things/a.bin"]
    assert path.read_bytes() == DATA[:HALF]
    # None writes for so long, whatever has its number now.
    (root / "things/a.bin").unlink()
    os.utime(path, (time.time() - 700,) * 2)
    fetch(root, spec(server.url("ranges")))
    assert server.ranges == [None, f"bytes={HALF}-"]
    assert_whole(root)


@pytest.mark.promise("P7")
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_in_the_place_of_a_part_is_not_written_through(
    server: Server, root: Path, link: Callable[..., None]
) -> None:
    path = plant(root, server.url("ranges"), DATA[:HALF])
    victim = root.parent / "victim"
    path.rename(victim)
    link(victim, path)
    fetch(root, spec(server.url("ranges")))
    assert (root / "things/a.bin").read_bytes() == DATA
    assert server.ranges == [None]
    assert victim.read_bytes() == DATA[:HALF]


def test_old_parts_are_removed(server: Server, root: Path) -> None:
    paths = [plant(root, server.url(name), DATA[:HALF]).rename(root / "things" / name) for name in ("old", "new")]
    names = [f".b.bin.{'0' * 16}..{'0' * 8}.0-{'0' * 7}{number}.partial" for number in range(2)]
    old, new = (path.rename(path.with_name(name)) for path, name in zip(paths, names, strict=True))
    os.utime(old, (time.time() - parts.KEPT - 60,) * 2)
    fetch(root, spec(server.url("ranges")))
    assert found(root) == [f"things/{new.name}", "things/a.bin"]


def test_a_login_page_does_not_cost_what_is_here(server: Server, root: Path) -> None:
    file = spec(server.url("then-a-page"))
    assert "it looks like a web page" in fail(DownloadError, root, file)
    assert [part.size for part in parts.find_parts(root / file.path)] == [HALF]


def test_what_is_here_needs_no_room(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    plant(root, server.url("ranges"), DATA[:HALF])
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda _: SimpleNamespace(free=len(DATA) - HALF))
    fetch(root, spec(server.url("ranges")))
    assert_whole(root)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("busy", [7.0]), ("busy-until", [30.0]), ("busy-for-nonsense", [0.0]), ("busy-for-a-day", [30.0, 30.0])],
)
def test_a_busy_server_says_when_to_come_back(
    server: Server, root: Path, pauses: list[float], name: str, expected: list[float]
) -> None:
    lines = list[str]()
    if name == "busy-for-a-day":
        assert "HTTP 429" in fail(DownloadError, root, spec(server.url(name)), report=lines.append)
    else:
        fetch(root, spec(server.url(name)), report=lines.append)
        assert_whole(root)
    assert pauses == expected
    status = "429" if name == "busy-for-a-day" else "503"
    told = [f"127.0.0.1:{server.server_port}: HTTP {status}, asked again in {pause:g} s" for pause in expected if pause]
    assert lines[1:] == told


def test_who_waits_for_another_process_says_so(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    released, lines = threading.Event(), list[str]()
    held = list[Path]()
    taken = threading.Event()
    lock = downloads.lock

    def hold(path: Path) -> None:
        with lock(path, timeout=10):
            taken.set()
            released.wait(10)

    def take_first(path: Path, **options: object) -> object:
        held.append(path)
        threading.Thread(target=hold, args=(path,)).start()
        assert taken.wait(10)
        return lock(path, **options)

    def report(line: str) -> None:
        lines.append(line)
        released.set()

    monkeypatch.setattr(downloads, "lock", take_first)
    fetch(root, spec(server.url("ok")), report=report)
    assert lines[0] == "waiting for another process that fetches a.bin"
    assert_whole(root)


def set_proxy(monkeypatch: pytest.MonkeyPatch, scheme: str, proxy: str, without: str = "") -> None:
    monkeypatch.setenv(f"{scheme}_proxy", proxy)
    monkeypatch.setenv("no_proxy", without)


def test_a_proxy_is_asked(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_proxy(monkeypatch, "http", f"http://me:secret@127.0.0.1:{server.server_port}")
    down = closed_port()
    fetch(root, spec(f"http://{down}/ranges-cut-once"))
    assert_whole(root)
    assert server.proxied == [f"http://{down}"] * 2
    (root / "things/a.bin").unlink()
    set_proxy(monkeypatch, "http", f"http://127.0.0.1:{server.server_port}", without="localhost,127.0.0.1")
    message = fail(DownloadError, root, spec(f"http://{down}/ok"))
    assert "no connection: unknown host, refused, or no network" in message
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("scheme", "given", "said"),
    [
        ("http", "http://me:secret@{down}", "no connection through the proxy {down}: refused, or not there"),
        ("https", "http://me:secret@{down}", "no connection through the proxy {down}: refused, or not there"),
        ("https", "http://me:secret@{here}", "no connection through the proxy {here}: it answers HTTP 407"),
        ("http", "http://me:secret@{here}", "the proxy {here} wants a name and a password (HTTP 407)"),
        ("http", "gopher://me:secret@{here}", "the proxy {here} cannot be used"),
        ("http", "socks5://me:secret@{here}", "the proxy {here} cannot be used"),
        ("http", "http://", "the proxy cannot be used"),
    ],
)
def test_a_proxy_that_does_not_help(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch, scheme: str, given: str, said: str
) -> None:
    hosts = {"down": closed_port(), "here": f"127.0.0.1:{server.server_port}"}
    set_proxy(monkeypatch, scheme, given.format(**hosts))
    message = fail(DownloadError, root, spec(f"{scheme}://{closed_port()}/407"))
    assert said.format(**hosts) in message
    assert "secret" not in message and "me:" not in message


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the certificate of an authority, and of a server that it vouches for, made for a day."""
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "server.cnf").write_text("subjectAltName=IP:127.0.0.1\n", encoding="utf-8")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=authority -keyout authority.key -out authority.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr",
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 1 -extfile server.cnf"
        " -out server.pem",
        "x509 -req -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days -1 -extfile server.cnf"
        " -out past.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def encrypt(server: Server, certificates: Path, name: str = "server.pem") -> None:
    """Let a server speak https alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / name, certificates / "server.key")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)


def test_https(server: Server, root: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encrypt(server, certificates)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "authority.pem"))
    url = server.url("").replace("http:", "https:")
    with serve() as plain:
        server.plain = plain.url("ok")
        message = fail(DownloadError, root, spec(f"{url}to-plain"))
        assert "refused a redirect to http://127.0.0.1." in message
        assert plain.asked == []
    fetch(root, spec(f"{url}ranges-cut"))
    assert_whole(root)
    assert server.ranges == [None, None, "bytes=100000-", "bytes=200000-"]


@pytest.mark.parametrize("name", ["server.pem", "past.pem"])
def test_a_certificate_that_nobody_trusts_or_of_the_past(
    server: Server, root: Path, certificates: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    encrypt(server, certificates, name)
    if name == "past.pem":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates / "authority.pem"))
    message = fail(DownloadError, root, spec(server.url("ok").replace("http:", "https:")))
    assert f"no secure connection: is the certificate valid, is the clock right? (today is {date.today()})" in message
    assert server.asked == []
