from __future__ import annotations

import fcntl
import io
import itertools
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from zoo.errors import DivergedError
from zoo.training.progress import bar, is_terminal, no_progress

pytestmark = pytest.mark.promise("P13")

STEPS = 3000


class Terminal:
    """A pseudo terminal as standard error; `text` is what it showed, read while it is written to."""

    def __init__(self, columns=0):
        # A fresh pseudo terminal has none.
        self.columns = columns

    def resize(self, columns):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def __enter__(self):
        # Not as a fixture: pytest sets its own stream between that and the test.
        self.before = sys.stderr
        self.master, slave = pty.openpty()
        self.resize(self.columns)
        sys.stderr = self.stream = os.fdopen(slave, "w")
        self.shown = []
        self.reader = threading.Thread(target=self.read)
        self.reader.start()
        return self

    def read(self):
        # The end shows as an error on Linux and as nothing to read elsewhere.
        with suppress(OSError):
            while data := os.read(self.master, 65536):
                self.shown.append(data)

    def __exit__(self, *error):
        sys.stderr = self.before
        self.stream.close()
        self.reader.join()
        os.close(self.master)

    @property
    def text(self):
        return b"".join(self.shown).decode()


def through(show=bar, **options):
    return list(show(range(STEPS), total=STEPS, description="epoch 1", **options))


def test_a_terminal_shows_a_bar():
    with Terminal() as terminal:
        assert is_terminal()
        assert through(status=lambda: "loss 0.1234") == list(range(STEPS))
    assert "epoch 1" in terminal.text
    assert f"/{STEPS}" in terminal.text
    assert "loss 0.1234" in terminal.text
    assert "\n" not in terminal.text, "the bar is erased, nothing of it stays"
    assert terminal.text.endswith("\r")


def test_a_terminal_of_unknown_width_shows_a_bar_too(monkeypatch):
    # A fresh pseudo terminal has no columns.
    monkeypatch.delenv("COLUMNS", raising=False)
    with Terminal() as terminal:
        assert os.get_terminal_size(terminal.stream.fileno()).columns == 0
        through()
    assert "epoch 1" in terminal.text


def list_drawn(text):
    """Return the lines drawn one over the other, each on a cleared line and with the cursor back at its start."""
    drawn = text.split("\r\x1b[J")[1:]
    assert drawn and all(line.endswith("\r") and "\n" not in line for line in drawn)
    return [line.rstrip("\r") for line in drawn]


@pytest.mark.parametrize(
    ("columns", "form"),
    [
        (100, r"epoch 1: +\d+%\|.{10,}\| +\d+/3000 \[\d\d:\d\d<\S+, +\S+, loss 0\.1234\]"),
        (60, r"epoch 1: +\d+% \d\d:\d\d<\S+ +\S+, loss 0\.1234"),
        (40, r"epoch 1: +\d+% \d\d:\d\d<\S+, loss 0\.1234"),
        (32, r"epoch 1: +\d+% \S+, loss 0\.1234"),
        (24, r" *\d+% \S+, loss 0\.1234"),
        (18, r" *\d+%, loss 0\.1234"),
        (8, r" *\d+%"),
        (3, r" .*"),
    ],
)
def test_a_narrow_terminal_keeps_loss_and_time_as_long_as_they_fit(columns, form, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    with Terminal(columns) as terminal:
        through(status=lambda: "loss 0.1234")
    drawn = [line for line in list_drawn(terminal.text) if line]
    assert all(re.fullmatch(form, line) and len(line) < columns for line in drawn), drawn


def test_columns_may_be_fewer_than_the_terminal_has(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    with Terminal(80) as terminal:
        through(status=lambda: "loss 0.1234")
    assert max(map(len, list_drawn(terminal.text))) < 30


def test_a_terminal_that_becomes_narrower_or_wider_is_followed(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    ticks = itertools.count()
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(ticks)))
    with Terminal(90) as terminal:
        for number in bar(range(60), total=60, description="epoch 1", status=lambda: "loss 0.1234"):
            if number % 20 == 0:
                terminal.resize({0: 90, 20: 40, 40: 120}[number])
    drawn = list_drawn(terminal.text)
    assert drawn[1:20] and all(len(line) == 89 for line in drawn[1:20])
    assert all(30 < len(line) < 40 for line in drawn[22:40])
    assert all(len(line) == 119 for line in drawn[43:60])


def test_a_dumb_terminal_gets_no_escapes(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    with Terminal(50) as terminal:
        through(status=lambda: "loss 0.1234")
    assert "\x1b" not in terminal.text and "loss 0.1234" in terminal.text
    assert {len(line) for line in terminal.text.split("\r")} <= {0, 49}


def test_the_way_processes_are_started_is_not_chosen():
    code = (
        "import multiprocessing as m, sys, os; from zoo.training.progress import bar; sys.stderr.isatty = lambda: True;"
        "list(bar([1, 2], total=2, description='d')); print(m.get_start_method(allow_none=True))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "d:" in done.stderr and done.stdout == "None\n"


def test_the_status_is_asked_only_when_the_bar_is_redrawn():
    asked = []

    def status():
        asked.append(1)
        return f"answer {len(asked)}"

    with Terminal() as terminal:
        through(status=status)
    assert 1 <= len(asked) < STEPS / 10
    assert all(f"answer {number}" in terminal.text for number in range(1, len(asked) + 1))


def test_a_redraw_comes_with_the_time_not_with_the_items(monkeypatch):
    # Fast items first, then slow ones: a number of items guessed from the fast ones would hide the slow ones.
    now = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    asked = []
    with Terminal():
        for number in bar(range(1100), total=1100, description="d", status=lambda: str(asked.append(now[0]))):
            now[0] += 0.001 if number < 1000 else 1.0
    assert 8 <= sum(time <= 1.0 for time in asked) <= 12, "ten times in the first second"
    assert sum(time > 1.0 for time in asked) >= 99, "at each slow item"


def test_no_thread_is_started():
    with Terminal():
        before = threading.active_count()
        counts = {threading.active_count() for _ in bar(range(STEPS), total=STEPS, description="d")}
    assert counts == {before}


def test_items_are_taken_one_by_one():
    taken = []

    def items():
        for number in range(5):
            taken.append(number)
            yield number

    with Terminal():
        for number in bar(items(), total=5, description="d"):
            assert taken == list(range(number + 1))


def test_errors_pass_through():
    def items():
        yield 1
        raise ValueError("bad sample")

    def status():
        raise DivergedError("the loss became nan")

    with Terminal():
        with pytest.raises(ValueError, match="bad sample"):
            list(bar(items(), total=2, description="d"))
        with pytest.raises(DivergedError):
            through(status=status)
        assert through() == list(range(STEPS)), "the next bar still works"


def test_a_terminal_that_goes_away_stops_nothing(monkeypatch):
    master, slave = pty.openpty()
    stream = os.fdopen(slave, "w")
    monkeypatch.setattr(sys, "stderr", stream)
    # A clock that has the bar redrawn at each item.
    ticks = itertools.count()
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(ticks)))
    for number in bar(range(100), total=100, description="d"):
        if number == 10:
            os.close(master)
    assert number == 99
    with pytest.raises(OSError, match="Input/output error"):
        stream.close()


class FullTerminal(io.TextIOWrapper):
    """A terminal that takes nothing, as one whose output goes to a full disk."""

    def isatty(self):
        return True


@pytest.mark.parametrize("by_line", [True, False])
def test_a_full_terminal_stops_nothing(by_line, monkeypatch):
    # Standard error of a terminal is buffered by line, for which a carriage return counts: there write() fails as well,
    # and of one that is buffered by block only flush().
    stream = FullTerminal(io.BufferedWriter(io.FileIO("/dev/full", "w")), line_buffering=by_line)
    monkeypatch.setattr(sys, "stderr", stream)
    if by_line:
        with pytest.raises(OSError, match="No space left"):
            stream.write("\r")
    assert is_terminal()
    asked = []
    assert through(status=lambda: str(asked.append(1))) == list(range(STEPS))
    assert asked, "nothing was shown, so nothing could fail"
    with pytest.raises(OSError, match="No space left"):
        stream.close()


def test_a_stream_closed_on_the_way_stops_nothing(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr("tqdm.std.time", lambda: float(next(ticks)))
    with Terminal() as terminal:
        for number in bar(range(100), total=100, description="d"):
            if number == 10:
                terminal.stream.close()
    assert number == 99


def never():
    raise AssertionError("asked for a display that nobody sees")


def test_a_pipe_shows_nothing(monkeypatch):
    read, write = os.pipe()
    with os.fdopen(write, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert not is_terminal()
        assert through(status=never) == list(range(STEPS))
    with os.fdopen(read) as shown:
        assert shown.read() == ""


def test_a_missing_stream_shows_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert not is_terminal()
    assert through(status=never) == list(range(STEPS))


def test_a_closed_stream_shows_nothing(monkeypatch, tmp_path):
    stream = (tmp_path / "log").open("w")
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    assert not is_terminal()
    assert through(status=never) == list(range(STEPS))


def test_a_full_disk_shows_nothing(monkeypatch):
    with Path("/dev/full").open("w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        assert not is_terminal()
        assert through(status=never) == list(range(STEPS))


def test_without_progress_nothing_is_shown():
    items = range(STEPS)
    with Terminal() as terminal:
        assert no_progress(items, total=STEPS, description="d", status=never) is items
    assert terminal.text == ""
