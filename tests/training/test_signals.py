"""Signals wait while something is finished, and a second one does not stop what the first one started."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from zoo.training import signals
from zoo.training.signals import STOPS, defer_signals, stop_once

pytestmark = pytest.mark.promise("P12")


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Let each signal raise as SIGINT does, and check that nothing else is left behind."""
    former = {number: signal.signal(number, signal.default_int_handler) for number in STOPS}
    yield
    left = {number: signal.getsignal(number) for number in STOPS}
    for number, handler in former.items():
        signal.signal(number, handler)
    assert all(handler in (signal.default_int_handler, signal.SIG_IGN) for handler in left.values())


@pytest.mark.parametrize("number", STOPS)
def test_a_signal_waits_for_the_end(number):
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals():
        for _ in range(3):
            signal.raise_signal(number)
        done.append(True)
    assert done
    with defer_signals(again=False):
        signal.raise_signal(number)


def test_a_signal_waits_for_the_end_of_all_that_is_finished(monkeypatch):
    done = []
    with pytest.raises(KeyboardInterrupt), defer_signals():
        with defer_signals():
            signal.raise_signal(signal.SIGTERM)
        done.append(True)
    assert done


def test_a_signal_is_not_lost_where_an_error_ends_the_body():
    with pytest.raises(KeyboardInterrupt) as caught, defer_signals():
        signal.raise_signal(signal.SIGINT)
        raise ValueError
    assert isinstance(caught.value.__context__, ValueError)


def test_a_second_signal_means_the_first(monkeypatch):
    done = []
    with pytest.raises(KeyboardInterrupt), stop_once():
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            done.append(True)
    assert done
    # Later it counts again: something may have swallowed the first.
    monkeypatch.setattr(signals, "SAME_STOP", 0.0)
    with stop_once():
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)


def test_a_handler_that_only_takes_note_hears_every_signal():
    heard = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    with stop_once():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
    assert heard == [signal.SIGTERM] * 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with stop_once(), defer_signals():
        signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_forked_worker_is_ended_by_its_signals():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with stop_once():
        child = os.fork()
        if not child:
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM


def test_in_another_thread_nothing_changes():
    seen = []

    def work():
        with stop_once(), defer_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
