"""Shared memory that is too small for the batches of workers, for real where a small one can be mounted."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo.data import dataset_batches, shared
from zoo.data.batch import BatchSettings
from zoo.data.dataset_batches import DatasetBatches
from zoo.data.reader import BatchReader
from zoo.errors import WorkerError
from zoo.registry.preprocess import Preprocess

PLUGIN = """
import os, signal
import torch, zoo
from torch.utils.data import Dataset, get_worker_info

class Samples(Dataset):
    def __len__(self):
        return 200
    def __getitem__(self, index):
        if {hang} and get_worker_info() is not None:
            with open({pipe!r}, "w") as file:
                file.write("x")
            while True:
                signal.pause()
        return torch.full((3, 64, 64), index, dtype=torch.uint8), index % 2

@zoo.dataset(name="rows")
def rows(*, root):
    return zoo.DataSplits(train=Samples(), test=Samples(), class_names=["a", "b"])
"""
MOUNT = "mount -t tmpfs -o size=1m tmpfs /dev/shm"


class Rows(torch.utils.data.Dataset[Any]):
    def __len__(self) -> int:
        return 16

    def __getitem__(self, index: int) -> Any:
        return torch.zeros(1, 64, 64, dtype=torch.uint8), index % 2


def make_batches(workers: int) -> DatasetBatches:
    settings = BatchSettings(batch_size=4, device=torch.device("cpu"), workers=workers)
    return DatasetBatches(BatchReader(Rows(), "rows", 2), Preprocess(), settings)


# 4 images of 4096 bytes and a page of targets, six times: two ahead for each of two workers, two in the main process.
NEEDED = 6 * (4 * 4096 + 4096)


@pytest.mark.parametrize(("free", "enough"), [(NEEDED, True), (NEEDED - 1, False), (0, False), (None, True)])
def test_batches_of_workers_need_room_for_all_that_are_under_way(
    free: int | None, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_batches, "find_free", lambda: free)
    if enough:
        assert sum(len(targets) for _, targets in make_batches(2).epoch(0)) == 16
        return
    with pytest.raises(WorkerError, match=r"dataset 'rows': its workers need 0.1 MB of shared memory") as caught:
        list(make_batches(2).epoch(0))
    assert "workers=" in caught.value.fix
    assert sum(len(targets) for _, targets in make_batches(0).epoch(0)) == 16, "without workers nothing is shared"


def test_what_others_have_taken_since_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "find_free", lambda: 4096)
    with pytest.raises(WorkerError, match=r"need 0.0 MB of shared memory: /dev/shm has 0.0 MB free"):
        list(make_batches(2).epoch(0))


def test_a_system_without_such_a_folder_has_no_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shared, "FOLDER", tmp_path / "none")
    assert shared.find_free() is None
    monkeypatch.setattr(shared, "FOLDER", tmp_path)
    assert shared.find_free()


def write_plugin(folder: Path, hang: bool) -> Path:
    path = folder / "rows.py"
    path.write_text(PLUGIN.format(hang=hang, pipe=str(folder / "pipe")), encoding="utf-8")
    return path


def unshare() -> list[str]:
    """Return the start of a command in which a file system can be mounted that no one else sees."""
    options = ["-m"] if os.geteuid() == 0 else ["-r", "-m"]
    command = ["unshare", *options, "sh", "-c", f'{MOUNT} && exec "$@"', "sh"]
    works = (
        shutil.which("unshare") and not subprocess.run([*command, "true"], capture_output=True, check=False).returncode
    )
    if not works:
        pytest.skip("nothing can be mounted here")
    return command


RUN = ("-m", "zoo", "run", "--dataset", "rows", "--epochs", "1", "--plugin")


@pytest.mark.slow
def test_a_run_whose_shared_memory_is_too_small_ends_before_the_first_batch(own_folder: Path) -> None:
    command = [*unshare(), sys.executable, *RUN, str(write_plugin(own_folder, hang=False)), "--workers", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 10, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: dataset 'rows': its workers need 2.4 MB of shared memory: /dev/shm has 1.0 MB free.")


@pytest.mark.slow
def test_a_run_whose_workers_hang_ends_when_it_is_told_to(own_folder: Path) -> None:
    path, pipe = write_plugin(own_folder, hang=True), own_folder / "pipe"
    os.mkfifo(pipe)
    # torch waits five seconds for each worker before it ends it. Here it would wait for a day, left to itself.
    code = "import sys; from zoo.training import signals; from zoo.cli.main import main; signals.GRACE = 1.0; "
    code += "from torch.utils.data import _utils; _utils.MP_STATUS_CHECK_INTERVAL = 86400; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *RUN[2:], str(path), "--workers", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        end = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        hangs = select.select([end], [], [], 600)[0]
        os.close(end)
        assert hangs or process.kill(), "no worker was asked for a sample"
        process.send_signal(signal.SIGTERM)
        try:
            _, said = process.communicate(timeout=300)
        finally:
            process.kill()
    assert process.returncode == 143, said
    assert said.splitlines()[-1].startswith("Stopped.")
