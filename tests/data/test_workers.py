"""Worker processes end with their main process, and are not started where too few files may be open."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

TRAINING = """
import os, time
import torch, zoo
from torch.utils.data import Dataset, get_worker_info

class Samples(Dataset):
    def __len__(self):
        return 40

    def __getitem__(self, index):
        if HANG and get_worker_info():
            os.write(1, b"%d\\n" % os.getpid())
            time.sleep(600)
        return torch.rand(1, 4, 4), index % 3

@zoo.dataset(name="slow")
def slow(*, root):
    return zoo.DataSplits(train=Samples(), test=Samples(), class_names=("a", "b", "c"))
"""


def begin(python, folder, hang, workers, before=""):
    (folder / "own.py").write_text(TRAINING.replace("HANG", str(hang)))
    command = ["run", "--plugin", "own.py", "--dataset", "slow", "--epochs", "1", "--threads", "1"]
    code = f"import sys\n{before}\nfrom zoo.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    words = [python, "-c", code, *command, "--workers", str(workers), "--runs-dir", "runs"]
    return subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are watched as Linux lets one")
def test_workers_end_with_a_main_process_that_is_killed(tmp_path, warm_python):
    """Each of them reads a sample that takes ten minutes."""
    with begin(warm_python, tmp_path, True, 2) as main:
        workers = {os.pidfd_open(int(main.stdout.readline())) for _ in range(2)}
        main.kill()
        gone = set()
        while gone != workers and (found := select.select(workers - gone, [], [], 60)[0]):
            gone.update(found)
        for worker in workers - gone:
            signal.pidfd_send_signal(worker, signal.SIGKILL)
    assert gone == workers


FEW_FILES = """
import os, resource, torch, zoo.training.run
used = len(os.listdir("/proc/self/fd"))
resource.setrlimit(resource.RLIMIT_NOFILE, (used + 16,) * 2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="open files are counted as Linux lets one")
@pytest.mark.parametrize(("workers", "code"), [(0, 0), (12, 7)])
def test_too_few_open_files_are_told_and_enough_for_a_run_without_workers(tmp_path, warm_python, workers, code):
    with begin(warm_python, tmp_path, False, workers, FEW_FILES) as main:
        _, err = main.communicate(timeout=600)
    assert main.returncode == code, err
    if code:
        told = "dataset 'slow': too many files are open: OSError: [Errno 24] Too many open files"
        assert f"Error: {told}. Use fewer --workers, or allow more files with ulimit -n. 0 of 1" in err
