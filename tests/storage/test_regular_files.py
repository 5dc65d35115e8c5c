from __future__ import annotations

import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from zoo.storage.reading import explain, open_regular, read_file


def make_odd(kind: str, folder: Path) -> Path:
    """Return the path of something that is no regular file."""
    path = folder / "x"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    else:
        path.symlink_to(os.devnull)
    return path


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "a socket", "a device"])
def test_what_is_no_regular_file_is_refused_without_waiting(kind: str, tmp_path: Path) -> None:
    path = make_odd(kind, tmp_path)
    said: list[str] = []

    def read() -> None:
        with pytest.raises(OSError, match="not a regular file") as caught:
            read_file(path, 10)
        said.append(explain(caught.value))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert said == [f"it is {kind}, not a regular file"]


def test_what_became_a_pipe_after_it_was_looked_at_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, regular = make_odd("a pipe", tmp_path), Path(__file__).stat()
    monkeypatch.setattr(os, "stat", lambda path, **_: regular)
    with pytest.raises(OSError, match="it is a pipe"), open_regular(path):
        pass


def test_a_file_is_read_up_to_a_limit_and_no_byte_beyond(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_file(path, 5) == b"12345"
    with pytest.raises(OSError, match="it has 5 bytes, at most 4 are read") as caught:
        read_file(path, 4)
    assert caught.value.errno == errno.EFBIG
    with path.open("r+b") as file:
        file.truncate(1 << 40)  # a terabyte that takes no room on the disk
    with pytest.raises(OSError, match="1099511627776 bytes"):
        read_file(path, 1 << 20)
    path.write_bytes(b"")
    assert read_file(path, 0) == b""


def test_a_link_to_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    assert read_file(tmp_path / "link", 1) == b"1"


def test_the_reason_has_no_path(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        read_file(tmp_path / "x", 1)
    assert explain(caught.value) == "No such file or directory"
    assert explain(ValueError("embedded null byte")) == "ValueError: embedded null byte"
