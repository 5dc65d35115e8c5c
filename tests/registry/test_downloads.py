"""Downloads from a server on this machine that does everything wrong that a server can do."""

from __future__ import annotations

import gc
import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hostile import DATA, ENDLESS, HALF, PROCESSES, Server

from zoo.errors import DataError, DownloadError, SettingError, StorageError, ZooError
from zoo.registry import downloads, pace, parts, transfers, unpacking, verification
from zoo.registry.downloads import fetch_files
from zoo.registry.specs import FileSpec
from zoo.storage.processes import find_port


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(downloads, "BACK_OFF", 0.0)
    monkeypatch.setattr(transfers, "READ_TIMEOUT", 10.0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def spec(*urls: str, path: str = "things/a.bin", data: bytes = DATA, **unpacked: Any) -> FileSpec:
    return FileSpec(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), urls=urls, **unpacked)


def packed(*urls: str) -> FileSpec:
    unpacked = {"unpacked_size": len(DATA), "unpacked_sha256": hashlib.sha256(DATA).hexdigest()}
    return spec(*urls, path="things/a.bin.gz", data=gzip.compress(DATA, mtime=0), **unpacked)


def fetch(root: Path, *files: FileSpec, **options: Any) -> None:
    fetch_files(files, root, name="things", **options)


def fail(error: type[ZooError], root: Path, *files: FileSpec, **options: Any) -> str:
    """Return the message of the error that fetching must raise."""
    with pytest.raises(error) as caught:
        fetch(root, *files, **options)
    return str(caught.value)


def place(root: Path, data: bytes, path: str = "things/a.bin") -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    return target


def found(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


def closed_port() -> str:
    return f"127.0.0.1:{find_port()}"


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("ok", ["ok"]),
        ("flaky", ["flaky"] * 3),
        ("nonsense-length", ["nonsense-length"]),
        ("moved", ["moved", "ok"]),
        ("moved-endless", ["moved-endless", "ok"]),
    ],
)
def test_fetches(server: Server, root: Path, name: str, asked: list[str]) -> None:
    mask = os.umask(0o027)
    try:
        fetch(root, spec(server.url(name)))
    finally:
        os.umask(mask)
    assert (root / "things/a.bin").read_bytes() == DATA
    assert (root / "things/a.bin").stat().st_mode & 0o777 == 0o640
    assert found(root) == ["things/a.bin"]
    assert server.asked == asked
    assert server.sent < ENDLESS


def test_takes_a_packed_file_as_it_is_stored(server: Server, root: Path) -> None:
    fetch(root, packed(server.url("encoded")))
    assert (root / "things/a.bin.gz").read_bytes() == gzip.compress(DATA, mtime=0)


KEEPING = ("cut", "cut-chunked", "cut-unannounced", "short-length")
"""Answers of which the first half is that of the file."""


@pytest.mark.promise("P4")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cause", "asked"),
    [
        ("404", "HTTP 404", 1),
        ("500", "HTTP 500", 3),
        ("cut", "the connection was cut", 3),
        ("cut-chunked", "the connection was cut", 3),
        ("cut-header", "sent 0 of 300000 bytes", 3),
        ("cut-unannounced", "sent 150000 of 300000 bytes", 3),
        ("short-length", "sent 150000 of 300000 bytes", 3),
        ("wrong-byte", "expected SHA-256 ", 1),
        ("page", "sent 58 of 300000 bytes; it looks like a web page", 1),
        ("long-page", "sent more than the 300000 bytes expected; it looks like a web page", 1),
        ("endless", "sent more than the 300000 bytes expected", 1),
        ("circle", "redirects in a circle", 31),
        ("to-file", "refused a redirect to file://", 1),
        ("to-http", "refused a redirect to http://elsewhere.invalid", 1),
        ("to-nonsense", "an answer without sense (ValueError)", 1),
    ],
)
def test_refuses(
    server: Server, root: Path, capfd: pytest.CaptureFixture[str], name: str, cause: str, asked: int
) -> None:
    message = fail(DownloadError, root, spec(server.url(name)))
    assert message.startswith(f"cannot download things: things/a.bin: 127.0.0.1:{server.server_port}: {cause}")
    assert "Get things/a.bin elsewhere and add them: zoo.data_add('things', 'FILE'), or use data_dir=..." in message
    assert "\n" not in message
    assert len(server.asked) == asked
    assert server.sent < ENDLESS
    # What of a file came before a connection was cut is kept, for the next time.
    assert not (root / "things/a.bin").exists()
    kept = [part.size for part in parts.find_parts(root / "things/a.bin")]
    assert len(kept) == (name in KEEPING)
    assert all(HALF - transfers.CHUNK < size <= HALF for size in kept)
    gc.collect()  # a connection left open would warn here, and a warning fails the test
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["stall", "silent"])
def test_a_server_that_stops_sending(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(transfers, "READ_TIMEOUT", 0.2)
    message = fail(DownloadError, root, spec(server.url(name), server.url("ok")))
    host = f"127.0.0.1:{server.server_port}"
    assert f"{host}: nothing came for 0.2 s; {host}: nothing came for 0.2 s. Get" in message
    server.hear(downloads.TRIES)
    assert server.asked == [name] * downloads.TRIES  # and its host is not asked again
    assert found(root) == []


@pytest.mark.parametrize("name", ["drip", "drip-chunked", "drip-header"])
def test_a_server_that_sends_a_byte_now_and_then(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(transfers, "keep_pace", lambda work, count, grace: pace.keep_pace(work, count, grace=0.0))
    monkeypatch.setattr(pace, "WINDOW", 1.0)
    message = fail(DownloadError, root, spec(server.url(name), server.url("ok")))
    host = f"127.0.0.1:{server.server_port}"
    assert f"{host}: fewer than 1000 bytes a second came for 1 s; {host}: fewer" in message
    server.hear(1)
    assert server.asked == [name], "its host is not asked again"
    assert not (root / "things/a.bin").exists()


def test_a_slow_download_that_keeps_the_pace_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, done = [0], threading.Event()

    def count() -> int:
        asked.append(asked[-1] + 1)
        if len(asked) == 10:
            done.set()
        return asked[-1]

    monkeypatch.setattr(pace, "WINDOW", 0.001)
    pace.keep_pace(lambda: done.wait(20), count, grace=0)
    assert len(asked) >= 10


def test_the_slowest_download_that_is_waited_for_fills_several_chunks() -> None:
    assert pace.MIN_RATE * pace.WINDOW >= 3 * transfers.CHUNK


@pytest.mark.promise("P4")
@pytest.mark.parametrize(
    "target", ["http://a.org/x", "HTTP://a.org/x", "http://127.0.0.1/x", "file:///x", "ftp://a.org/x", "data:,x"]
)
def test_a_redirect_may_not_leave_https(target: str) -> None:
    with pytest.raises(transfers.SourceError, match="refused a redirect to"):
        redirect(target)


@pytest.mark.parametrize("target", ["https://b.org/x", "HTTPS://b.org/x", "//b.org/x", "/x", "x"])
def test_a_redirect_within_https_is_followed(target: str) -> None:
    redirect(target)


def redirect(target: str) -> None:
    response = SimpleNamespace(
        url="https://a.org/a.bin",
        is_redirect=True,
        headers={"Location": target},
        raw=SimpleNamespace(headers={}),
        close=lambda: None,
    )
    transfers.check_redirect(response)


def test_the_next_source_is_used_and_told(server: Server, root: Path) -> None:
    lines: list[str] = []
    fetch(root, spec(server.url("wrong-byte"), server.url("ok")), report=lines.append)
    assert (root / "things/a.bin").read_bytes() == DATA
    assert lines == [f"downloading a.bin (0.3 MB) from 127.0.0.1:{server.server_port}"] * 2


@pytest.mark.promise("P4")
def test_a_mirror_of_ones_own_is_asked_first_and_believed_no_more_than_others(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared = spec(server.url("ok"), path="things/a b.bin")
    server.files["a%20b.bin"] = DATA
    monkeypatch.setenv("ZOO_MIRROR", f"{server.url('empty')} {server.url('mine')}/")
    fetch(root, declared)
    assert server.asked == ["a%20b.bin"] and server.proxied == ["empty/things"]
    # What only people can get may lie there too, and a wrong file costs no more than a question.
    (root / "things/a b.bin").unlink()
    fetch(root, spec(path="things/a b.bin"))
    server.files["a%20b.bin"] = DATA[::-1]
    (root / "things/a b.bin").unlink()
    fetch(root, declared)
    assert server.asked[-1] == "ok" and (root / "things/a b.bin").read_bytes() == DATA
    (root / "things/a b.bin").unlink()
    asked = len(server.asked)
    assert "offline and not there" in fail(DownloadError, root, declared, offline=True)
    for wrong in ("mirror.example.org", "http://mirror.example.org", "https://a.org/?x=", "file:///srv/data"):
        monkeypatch.setenv("ZOO_MIRROR", wrong)
        assert fail(SettingError, root, declared).startswith("ZOO_MIRROR: expected addresses")
    assert len(server.asked) == asked


def test_one_error_names_every_source_and_every_file_to_get(server: Server, root: Path) -> None:
    files = [spec(server.url("ok"), path="a"), spec(server.url("404"), server.url("page"), path="b"), spec(path="c/d")]
    message = fail(DownloadError, root, *files)
    host = f"127.0.0.1:{server.server_port}"
    assert message.startswith(f"cannot download things: b: {host}: HTTP 404; {host}: sent 58 of")
    assert "Get b, c/d elsewhere and add them: zoo.data_add('things', 'FILE')" in message
    assert "data_dir=" in message
    assert found(root) == ["a"]


def test_a_file_without_a_source(root: Path) -> None:
    assert "things/a.bin: no source is declared" in fail(DownloadError, root, spec())
    message = fail(DownloadError, root, spec(), homepage="https://a.org/b")
    assert "Get things/a.bin from https://a.org/b and add them: zoo.data_add('things', 'FILE')" in message
    message = fail(DownloadError, root, spec(), offline=True)
    assert f"offline and not there: things/a.bin in {root}. Get them and add them: " in message


def unsized(*urls: str, data: bytes = DATA) -> FileSpec:
    return FileSpec(path="things/a.bin", urls=urls, md5=hashlib.md5(data).hexdigest())


@pytest.mark.promise("P4")
def test_a_file_of_which_only_the_md5_is_known(server: Server, root: Path) -> None:
    lines = list[str]()
    fetch(root, unsized(server.url("ok")), report=lines.append)
    assert (root / "things/a.bin").read_bytes() == DATA
    assert lines == [f"downloading a.bin from 127.0.0.1:{server.server_port}"]
    fetch(root, unsized(), offline=True)
    assert server.asked == ["ok"]
    target = place(root, DATA[:-1])
    message = fail(DataError, root, unsized(server.url("ok")))
    expected = f"expected MD5 {hashlib.md5(DATA).hexdigest()}"
    assert message.startswith(f"{target} is not the file that things needs: {expected}, got ")
    assert target.read_bytes() == DATA[:-1]


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("cut", "the connection was cut"),
        ("cut-unannounced", "expected MD5 "),
        ("wrong-byte", "expected MD5 "),
        ("page", "it looks like a web page"),
    ],
)
def test_a_file_of_unknown_size_that_is_not_whole(server: Server, root: Path, name: str, cause: str) -> None:
    assert cause in fail(DownloadError, root, unsized(server.url(name)))
    assert not (root / "things/a.bin").exists()
    assert len(parts.find_parts(root / "things/a.bin")) == (name == "cut")


def test_a_file_of_unknown_size_ends_where_the_disk_would(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=2 << 20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    message = fail(DownloadError, root, unsized(server.url("endless")))
    assert f"sent more than the {1 << 20} bytes there is room for" in message
    assert server.sent < ENDLESS and found(root) == []


def test_a_large_file_is_hashed_again_only_when_it_changed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hashed = list[str]()
    digest = hashlib.file_digest
    monkeypatch.setattr(verification, "LARGE", len(DATA))
    monkeypatch.setattr(hashlib, "file_digest", lambda *given: hashed.append("file") or digest(*given))
    target = place(root, DATA)
    fetch(root, spec())
    fetch(root, spec())
    assert len(hashed) == 2  # just written: another change could have the same time
    an_hour_ago = time.time_ns() - 3600 * 10**9
    os.utime(target, ns=(an_hour_ago, an_hour_ago))
    for _ in range(3):
        fetch(root, spec())
    assert len(hashed) == 3
    with pytest.raises(DataError, match="expected MD5"):  # what is declared changed
        fetch(root, unsized(data=b"another file"))
    target.write_bytes(DATA[:-1] + b"x")
    assert "expected SHA-256" in fail(DataError, root, spec())
    os.utime(target, ns=(an_hour_ago + 1, an_hour_ago + 1))
    assert "expected SHA-256" in fail(DataError, root, spec())


def test_a_host_that_is_down_is_asked_once(server: Server, root: Path) -> None:
    down, lines = closed_port(), list[str]()
    files = [spec(f"http://{down}/{path}", server.url("ok"), path=path) for path in "abc"]
    fetch(root, *files, report=lines.append)
    assert found(root) == ["a", "b", "c"]
    assert sum(down in line for line in lines) == 1


def test_no_network_is_told_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    files = [spec(f"http://{closed_port()}/x", "https://a.invalid/x", path=path) for path in "abcd"]
    message = fail(DownloadError, root, *files)
    assert message.count("no connection: unknown host, refused, or no network") == 2


def test_a_refused_connection_is_told_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    message = fail(DownloadError, root, *(spec(f"http://{closed_port()}/x", path=path) for path in "abcd"))
    assert "no connection: unknown host, refused, or no network" in message


def test_a_server_without_a_certificate(server: Server, root: Path) -> None:
    message = fail(DownloadError, root, spec(server.url("ok").replace("http:", "https:")))
    assert "no secure connection: is the certificate valid, is the clock right? (today is " in message


def test_the_password_of_a_proxy_is_not_told(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://me:secret@{closed_port()}")
    monkeypatch.setenv("no_proxy", "")
    message = fail(DownloadError, root, spec(server.url("ok")))
    assert "no connection through the proxy" in message
    assert "secret" not in message


@pytest.mark.promise("P8")
def test_offline_connects_to_nothing(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*args: object, **options: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket.socket, "connect", forbidden)
    monkeypatch.setattr(socket, "getaddrinfo", forbidden)
    place(root, DATA, "a")
    fetch(root, spec(server.url("ok"), path="a"), offline=True)
    files = [spec(server.url("ok"), path=path) for path in ("a", "b", "c")]
    message = fail(DownloadError, root, *files, offline=True)
    assert message.startswith(
        f"cannot download things: offline and not there: b, c in {root}. Run with offline=False, "
    )
    assert "or get them and add them: zoo.data_add('things', 'FILE'), or use data_dir=..." in message
    assert found(root) == ["a"]


@pytest.mark.promise("P4")
@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.parametrize(
    ("data", "why"), [(DATA[:-1], "expected 300000 bytes, got 299999"), (DATA[:-1] + b"x", "expected SHA-256 ")]
)
def test_a_wrong_file_is_named_and_kept(server: Server, root: Path, data: bytes, why: str, offline: bool) -> None:
    target = place(root, data)
    message = fail(DataError, root, spec(server.url("ok")), offline=offline)
    assert message.startswith(f"{target} is not the file that things needs: {why}")
    assert message.endswith("Delete it to have it fetched again.")
    assert target.read_bytes() == data
    assert server.asked == []


def test_an_unpacked_file_is_as_good(root: Path) -> None:
    place(root, DATA)
    fetch(root, packed())
    assert found(root) == ["things/a.bin"]


@pytest.mark.promise("P4")
def test_a_wrong_unpacked_file_is_told_though_the_packed_one_is_right(root: Path) -> None:
    place(root, gzip.compress(DATA, mtime=0), "things/a.bin.gz")
    target = place(root, DATA[:-1])
    assert str(target) in fail(DataError, root, packed())


@pytest.mark.promise("P4")
@pytest.mark.parametrize("fetched", [False, True])
@pytest.mark.parametrize(
    ("data", "size", "got"),
    [
        (DATA, 1000, "more than 1000 bytes"),
        (DATA, len(DATA) + 1, f"{len(DATA)} {hashlib.sha256(DATA).hexdigest()}"),
        (DATA[:-1] + b"x", len(DATA), f"{len(DATA)} {hashlib.sha256(DATA[:-1] + b'x').hexdigest()}"),
    ],
)
def test_a_packed_file_that_unpacks_to_something_else_is_refused(
    server: Server, root: Path, data: bytes, size: int, got: str, fetched: bool
) -> None:
    # In two members, so that the size at the end of the file is not that of all.
    raw = gzip.compress(data[:-7], mtime=0) + gzip.compress(data[-7:], mtime=0)
    server.files["packed"] = raw
    declared = {"unpacked_size": size, "unpacked_sha256": hashlib.sha256(DATA).hexdigest()}
    file = spec(server.url("packed"), path="things/a.bin.gz", data=raw, **declared)
    if not fetched:
        place(root, raw, file.path)
    for _ in range(2):
        message = fail(DataError, root, file)
        assert "a.bin.gz does not unpack to the file that things needs: expected size and SHA-256" in message
        assert f"got {got}. What declares it is wrong" in message


def test_a_packed_file_that_is_damaged_inside_is_refused(root: Path) -> None:
    raw = gzip.compress(DATA, mtime=0)[:-9]
    declared = {"unpacked_size": len(DATA), "unpacked_sha256": hashlib.sha256(DATA).hexdigest()}
    place(root, raw, "things/a.bin.gz")
    message = fail(DataError, root, spec(path="things/a.bin.gz", data=raw, **declared))
    assert "a.bin.gz cannot be unpacked for things: EOFError" in message


def test_what_a_file_unpacks_to_is_found_out_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(root, gzip.compress(DATA, mtime=0), "things/a.bin.gz")
    fetch(root, packed())

    def refuse(*_: object) -> str:
        raise AssertionError

    monkeypatch.setattr(unpacking, "_unpack", refuse)
    fetch(root, packed())
    (memory,) = (root.parent / "home" / "cache").glob("unpacked-*")
    for damage in (b"", b"x" * 1000):
        memory.write_bytes(damage)
        with pytest.raises(AssertionError):
            fetch(root, packed())


@pytest.mark.parametrize("name", ["a.bin", "a.bin.gz"])
def test_a_pipe_in_the_place_of_a_file(root: Path, name: str) -> None:
    (root / "things").mkdir(parents=True)
    os.mkfifo(root / "things" / name)
    message = fail(StorageError, root, packed())
    assert f"cannot read {root / 'things' / name}: it is a pipe, not a regular file" in message


def test_a_folder_in_the_place_of_a_file(root: Path) -> None:
    (root / "things/a.bin").mkdir(parents=True)
    assert f"cannot read {root / 'things/a.bin'}" in fail(StorageError, root, spec())


def test_a_file_in_the_place_of_a_folder(server: Server, root: Path) -> None:
    place(root, b"", "things")
    message = fail(StorageError, root, spec(server.url("ok")))
    assert message.endswith("Use data_dir=... for another data folder.")
    assert server.asked == []


@pytest.mark.promise("P7")
def test_writes_only_into_the_folder_it_fills(server: Server, root: Path) -> None:
    full = place(root, DATA, "full/a.bin").parent
    before = full.stat().st_mtime_ns
    fetch(root, spec(server.url("ok"), path="full/a.bin"), spec(server.url("ok"), path="empty/a.bin"))
    assert full.stat().st_mtime_ns == before
    assert found(root) == ["empty/a.bin", "full/a.bin"]


CHILD = """
import os
import sys
from contextlib import nullcontext
from pathlib import Path
from zoo.registry import downloads, pace, parts, transfers, unpacking, verification
from zoo.registry.specs import FileSpec

root, url, size, sha256, how = sys.argv[1:]
if how == "without locks":
    downloads.lock = lambda path, **options: nullcontext()
if how == "as nobody" and os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
file = FileSpec(path="things/a.bin", size=int(size), sha256=sha256, urls=(url,))
print("ready", flush=True)
sys.stdin.readline()
transfers.READ_TIMEOUT = 20.0
downloads.fetch_files([file], Path(root), name="things")
"""


def start_child(root: Path, url: str, how: str) -> subprocess.Popen[str]:
    file = spec(url)
    command = [sys.executable, "-B", "-c", CHILD, str(root), url, str(file.size), file.sha256, how]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.Popen(command, env=environment, text=True, **pipes)


@pytest.mark.promise("P9")
@pytest.mark.slow
@pytest.mark.parametrize("how", ["with locks", "without locks"])
def test_many_processes_want_the_same_file(server: Server, root: Path, how: str) -> None:
    if how == "without locks":
        server.patience = 15.0
    children = [start_child(root, server.url("gate"), how) for _ in range(PROCESSES)]
    assert [child.stdout.readline() for child in children if child.stdout] == ["ready\n"] * PROCESSES
    for child in children:
        if child.stdin:
            child.stdin.write("go\n")
            child.stdin.flush()
    assert [child.communicate()[0] for child in children] == [""] * PROCESSES
    assert [child.returncode for child in children] == [0] * PROCESSES
    assert (root / "things/a.bin").read_bytes() == DATA
    assert found(root) == ["things/a.bin"]
    assert len(server.asked) == (1 if how == "with locks" else PROCESSES)


def test_a_read_only_folder_with_the_right_file_works() -> None:
    # Mode bits do not stop root, so its child becomes another user, who may not enter tmp_path.
    base = Path(tempfile.mkdtemp())
    try:
        folder = place(base, DATA).parent
        folder.chmod(0o555)
        base.chmod(0o555)
        child = start_child(base, "https://a.invalid/x", "as nobody")
        output, _ = child.communicate("go\n", timeout=600)
        assert (output, child.returncode) == ("ready\n", 0)
        assert found(base) == ["things/a.bin"]
    finally:
        base.chmod(0o755)
        (base / "things").chmod(0o755)
        shutil.rmtree(base)


def test_too_small_a_disk_is_told_before_anything_is_asked(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=len(DATA) - 1))
    message = fail(StorageError, root, spec(server.url("ok")))
    assert message.startswith(f"cannot download into {root}: expected 0.3 MB of free space, got 0.3 MB")
    assert server.asked == []
    assert not root.exists()


def test_a_write_that_fails(server: Server, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, hard))
    try:
        message = fail(StorageError, root, spec(server.url("ok"), server.url("ok")))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert message.startswith(f"cannot download into {root / 'things'}: File too large.")
    assert message.endswith("Use data_dir=... for another data folder.")
    assert server.asked == ["ok"]
    assert found(root) == []


@pytest.mark.promise("P1")
def test_the_file_is_on_the_disk_before_it_has_its_name(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    sync, replace = os.fsync, os.replace

    def note_sync(file: int) -> None:
        calls.append(f"fsync {Path(f'/proc/self/fd/{file}').readlink().suffix}")
        sync(file)

    def note_replace(*paths: Any) -> None:
        calls.append("replace")
        replace(*paths)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(os, "replace", note_replace)
    fetch(root, spec(server.url("ok")))
    end = calls.index("replace")
    assert calls[end - 1 : end + 2] == ["fsync .partial", "replace", "fsync "], "the folder is brought to the disk too"


@pytest.mark.promise("P1")
@pytest.mark.parametrize(
    ("where", "name"), [(parts.Part, "append"), (parts.Part, "hash"), (os, "fsync"), (os, "replace")]
)
def test_an_interrupted_download_leaves_nothing_at_its_place(
    server: Server, root: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(where, name, interrupt)
        with pytest.raises(KeyboardInterrupt):
            fetch(root, spec(server.url("ok")))
    assert not (root / "things/a.bin").exists()
    fetch(root, spec(server.url("ok")))
    assert found(root) == ["things/a.bin"]


def test_importing_is_light() -> None:
    heavy = "torch numpy requests urllib3 filelock platformdirs"
    code = f"import sys, zoo.registry.downloads; print([name for name in '{heavy}'.split() if name in sys.modules])"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "[]\n"
