"""Imports: a single file is the same module everywhere, also in worker processes that were not forked."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

# A data set of a file: its class, the pictures it reads through a function of the file, and its own error.
PLUGIN = """
    import torch
    from torch.utils.data import Dataset

    import zoo


    def picture(index):
        return torch.full((1, 4, 4), 20 * index, dtype=torch.uint8)


    class Greys(Dataset):
        def __init__(self, size, transform=picture):
            self.size, self.transform = size, transform
            self.shared = torch.arange(size)

        def __len__(self):
            return self.size

        def __getitem__(self, index):
            return self.transform(index), int(self.shared[index]) % 2


    @zoo.dataset(name="greys")
    def greys(*, root, local: bool = False):
        transform = (lambda index: picture(index)) if local else picture
        return zoo.DataSplits(train=Greys(10, transform), test=Greys(6), class_names=("even", "odd"))
"""
RUN = """
    import json, multiprocessing
    import zoo

    def run(method, workers, local=False):
        multiprocessing.set_start_method(method, force=True)
        try:
            result = zoo.run(
                dataset="greys", epochs=1, batch_size=4, workers=workers, plugins=["greys.py"],
                dataset_params={"local": local},
            )
            return {name: value.hex() for name, value in result.metrics.items()}
        except zoo.ZooError as error:
            return str(error)

    if __name__ == "__main__":
        print(json.dumps([run("fork", 0), run("spawn", 1), run("forkserver", 1), run("spawn", 1, True)]))
"""


@pytest.mark.slow
def test_workers_know_what_a_single_file_defines(tmp_path: Path) -> None:
    (tmp_path / "greys.py").write_text(textwrap.dedent(PLUGIN), encoding="utf-8")
    (tmp_path / "program.py").write_text(textwrap.dedent(RUN), encoding="utf-8")
    command = [sys.executable, "program.py"]  # a warm one starts no workers by spawn
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    here, spawned, served, refused = json.loads(done.stdout.splitlines()[-1])
    assert set(here) == {"loss", "accuracy"}
    assert spawned == here
    assert served == here
    assert refused.startswith("dataset 'greys' cannot be sent to a worker process: ")
    assert "Use workers=0, or define its class at the top level of its module" in refused
