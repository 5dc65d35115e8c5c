from __future__ import annotations

import os
import random

import numpy as np
import pytest
import torch

from zoo.data import workers
from zoo.data.workers import count_cores
from zoo.errors import DeviceError
from zoo.models.device import (
    CONVOLVED_FLOP,
    THREAD_FLOP,
    choose_threads,
    describe_device,
    resolve_device,
    use_seed,
    use_threads,
)
from zoo.models.flop import Work


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)


@pytest.fixture
def accelerator(request, monkeypatch):
    """Let torch seem to see devices of one kind: ("cuda", 2) means two of cuda."""
    kind, count = request.param
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *args, **options: torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


def refuse(wish):
    with pytest.raises(DeviceError) as caught:
        resolve_device(wish)
    assert caught.value.exit_code == 2
    assert str(caught.value).startswith(f"device {wish!r} was asked for, but ")
    return str(caught.value)


@pytest.mark.parametrize("wish", ["auto", "cpu", "cpu:0"])
def test_the_cpu_is_there(wish, no_accelerator):
    assert resolve_device(wish) == torch.device("cpu")


@pytest.mark.parametrize("wish", ["cuda", "cuda:0", "cuda:9", "mps", "mps:0", "xpu"])
def test_an_absent_device_is_refused_and_never_replaced(wish, no_accelerator):
    kind = wish.split(":")[0].upper()
    assert f"this build of torch sees no {kind} device. Use device='auto' or 'cpu'." in refuse(wish)


@pytest.mark.parametrize("accelerator", [("cuda", 2)], indirect=True)
@pytest.mark.parametrize(
    ("wish", "text"),
    [
        ("gpu", "torch has no device of that name. Use device='cuda' or 'auto'."),
        ("gpu:0", "torch has no device of that name"),
        ("cpu:1", "there is one cpu device. Use device='cpu'; see threads=..."),
        ("meta", "zoo knows auto, cpu, cuda, mps and xpu"),
        ("", "zoo knows"),
        (" cpu", "zoo knows"),
        ("CPU", "zoo knows"),
        ("Auto", "zoo knows"),
        ("auto:0", "zoo knows"),
        ("cuda:", "zoo knows"),
        ("cuda:-1", "zoo knows"),
        ("cuda:01", "zoo knows"),
        ("cuda:00001", "zoo knows"),
        ("cuda:\u0661", "zoo knows"),
        ("cuda:1:1", "zoo knows"),
        ("cuda\n", "zoo knows"),
        ("cuda:2", "the last one here is cuda:1. Use device='cuda:1' or 'cuda'."),
        ("cuda:9", "the last one here is cuda:1"),
        ("mps", "sees no MPS device"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(wish, text, accelerator):
    assert text in refuse(wish)


@pytest.mark.parametrize(
    ("accelerator", "kind", "wishes"),
    [
        (("cuda", 2), "cuda", ["cuda", "cuda:0", "cuda:1"]),
        (("mps", 1), "mps", ["mps", "mps:0"]),
        (("xpu", 1), "xpu", ["xpu", "xpu:0"]),
    ],
    indirect=["accelerator"],
)
def test_an_accelerator_that_is_there_is_found(accelerator, kind, wishes):
    assert resolve_device("auto") == torch.device(kind)
    assert resolve_device("cpu") == torch.device("cpu")
    assert [resolve_device(wish) for wish in wishes] == [torch.device(wish) for wish in wishes]


def test_this_machine_is_described():
    assert describe_device(torch.device("cpu")) == "cpu"
    assert resolve_device("auto").type in ("cpu", "cuda", "mps", "xpu")


def test_threads_follow_the_work_of_a_step():
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    dense, convolved = Work(flop=int(1e6)), Work(flop=int(1e6), convolved=int(6e5))
    with use_threads(2):
        assert choose_threads(Work(), 1000) == 1
        for work, least in ((dense, int(THREAD_FLOP / 1e6)), (convolved, int(CONVOLVED_FLOP / 1e6))):
            assert choose_threads(work, least - 1) == 1
            assert choose_threads(work, least) == choose_threads(work, 10**6) == min(2, available)
            assert choose_threads(work, 1, 7) == 7 and choose_threads(work, 10**6, 1) == 1, "a given number wins"


def test_threads_are_never_more_than_the_processors_allowed(monkeypatch, tmp_path):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    with use_threads(2):
        assert choose_threads(Work(flop=10**9), 1000) == 1
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(64), raising=False)
    monkeypatch.setattr(workers, "CONTAINER", tmp_path)
    assert count_cores() == 64
    for quota, cores in (("max 100000", 64), ("250000 100000", 3), ("1000 100000", 1), ("9900000 100000", 64)):
        (tmp_path / "cpu.max").write_text(f"{quota}\n")
        assert count_cores() == cores, quota
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    for quota, cores in ((-1, 64), (200000, 2)):
        (tmp_path / "cpu/cpu.cfs_quota_us").write_text(f"{quota}\n")
        (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
        assert count_cores() == cores, quota


@pytest.mark.parametrize("failure", [None, ValueError, KeyboardInterrupt])
def test_use_threads_restores_the_number(failure):
    before = torch.get_num_threads()
    for threads in (1, 3):
        try:
            with use_threads(threads):
                assert torch.get_num_threads() == threads
                torch.set_num_threads(before + 2)
                if failure:
                    raise failure
        except (ValueError, KeyboardInterrupt) as error:
            assert type(error) is failure
        assert torch.get_num_threads() == before


def draws():
    return torch.rand(3).tolist(), [random.random() for _ in range(3)], np.random.rand(3).tolist()


@pytest.mark.parametrize("seed", [0, 42, 2**32, 2**63 - 1])
def test_use_seed_gives_the_same_draws(seed):
    found = []
    for _ in range(2):
        with use_seed(seed):
            found.append(draws())
            torch.manual_seed(1)
    assert found[0] == found[1]
    with use_seed(seed):
        assert torch.rand(3).tolist() == torch.rand(3, generator=torch.Generator().manual_seed(seed)).tolist()
    with use_seed(7):
        assert all(one != other for one, other in zip(draws(), found[0], strict=True))


@pytest.mark.parametrize("failure", [None, ValueError, KeyboardInterrupt])
def test_use_seed_restores_every_random_state(failure):
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    expected = draws()
    torch.manual_seed(3)
    random.seed(3)
    np.random.seed(3)
    try:
        with use_seed(5):
            draws()
            if failure:
                raise failure
    except (ValueError, KeyboardInterrupt) as error:
        assert type(error) is failure
    assert draws() == expected
