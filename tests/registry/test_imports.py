"""Imports: a file given by path finds what lies beside it, and is the same module in every process."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import zoo
import zoo.testing
from zoo.cli.main import main
from zoo.registry.entries import Registry
from zoo.registry.factories import build_model

# A data set whose class and pictures are defined in files beside that of the plugin, one of them imported late.
PLUGIN = """
    import zoo
    from tones import picture


    @zoo.dataset(name="greys")
    def greys(*, root, local: bool = False):
        from greys_class.reader import Greys

        transform = (lambda index: picture(index)) if local else picture
        return zoo.DataSplits(train=Greys(10, transform), test=Greys(6, picture), class_names=("even", "odd"))
"""
TONES = """
    import torch


    def picture(index):
        return torch.full((1, 4, 4), 20 * index, dtype=torch.uint8)
"""
READER = """
    import torch
    from torch.utils.data import Dataset


    class Greys(Dataset):
        def __init__(self, size, transform):
            self.size, self.transform = size, transform
            self.shared = torch.arange(size)

        def __len__(self):
            return self.size

        def __getitem__(self, index):
            return self.transform(index), int(self.shared[index]) % 2
"""
RUN = """
    import json, multiprocessing
    import zoo

    def run(method, workers, local=False):
        multiprocessing.set_start_method(method, force=True)
        try:
            result = zoo.run(
                dataset="greys", epochs=1, batch_size=4, workers=workers, plugins=["plugin/greys.py"],
                dataset_params={"local": local},
            )
            return {name: value.hex() for name, value in result.metrics.items()}
        except zoo.ZooError as error:
            return str(error)

    if __name__ == "__main__":
        print(json.dumps([run("fork", 0), run("spawn", 1), run("forkserver", 1), run("spawn", 1, True)]))
"""


def write(folder: Path, **files: str) -> None:
    """Write Python files into a folder; a name may hold a folder."""
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


@pytest.mark.slow
def test_workers_know_what_a_single_file_and_its_neighbours_define(tmp_path: Path) -> None:
    files = {"plugin/greys": PLUGIN, "plugin/tones": TONES, "plugin/greys_class/reader": READER, "program": RUN}
    write(tmp_path, **files)
    command = [sys.executable, "program.py"]  # a warm one starts no workers by spawn
    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    here, spawned, served, refused = json.loads(done.stdout.splitlines()[-1])
    assert set(here) == {"loss", "accuracy"}
    assert spawned == here
    assert served == here
    assert refused.startswith("dataset 'greys' cannot be sent to a worker process: ")
    assert "Use workers=0, or define its class at the top level of its module" in refused


MODEL = """
    import json

    import torch
    import zoo
    from blocks import Block
    from parts.head import Head
    from torch import nn

    from .blocks import Block as SameBlock

    assert SameBlock is Block and json.loads("[]") == [] and torch.zeros(1) == 0


    @zoo.model(name="net")
    class Net(nn.Module):
        def __init__(self, *, input_shape, num_classes, width: int = 3):
            import parts.late as late

            super().__init__()
            self.block, self.head = Block(input_shape, width), Head(width, num_classes)
            self.place = late.PLACE

        def forward(self, inputs):
            return self.head(self.block(inputs))
"""
BLOCKS = """
    import math

    import sizes  # beside this one in turn
    from torch import nn


    class Block(nn.Sequential):
        def __init__(self, input_shape, width):
            super().__init__(nn.Flatten(), nn.Linear(math.prod(input_shape), sizes.FACTOR * width), nn.ReLU())
"""
HEAD = """
    import sizes
    from torch import nn


    class Head(nn.Linear):
        def __init__(self, width, num_classes):
            super().__init__(sizes.FACTOR * width, num_classes)
"""


@pytest.fixture
def twins(tmp_path: Path, own_folder: Path) -> dict[str, Path]:
    """Return two model files in folders whose neighbours have the same names; neither is the current folder."""
    for factor, name in enumerate(("one", "two"), start=1):
        beside = {"blocks": BLOCKS, "parts/__init__": "", "parts/head": HEAD, "sizes": f"FACTOR = {factor}"}
        hidden = dict.fromkeys(("json", "torch"), "raise SystemExit(1)")
        write(tmp_path / name, **{f"{name}-net": MODEL}, **beside, **hidden, **{"parts/late": f"PLACE = {name!r}"})
    return {name: tmp_path / name / f"{name}-net.py" for name in ("one", "two")}


def test_each_file_has_its_own_neighbours(
    twins: dict[str, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = list(sys.path)
    registry = Registry.discover(twins.values())
    for factor, name in enumerate(twins, start=1):
        entry = registry.get("model", f"{name}-net/net")
        model = build_model(entry, input_shape=(1, 2, 2), num_classes=2, params={"width": 3})
        assert model.block[1].weight.shape == (3 * factor, 4) and model.place == name
    assert sys.path == before and not {"blocks", "sizes", "parts"} & set(sys.modules)
    with pytest.raises(ModuleNotFoundError):
        import blocks  # noqa: F401 nobody else finds it
    # What the current folder of a program has under that name is not what lies beside the file.
    write(Path("program"), sizes="FACTOR = 7", blocks="raise SystemExit")
    monkeypatch.syspath_prepend("program")
    write(Path("three"), three=MODEL, blocks=BLOCKS, sizes="FACTOR = 3", **{"parts/head": HEAD})
    write(Path("three"), **{"parts/late": "PLACE = 'three'"})
    assert main(["list", "models", "--plugin", "three/three.py"]) == 0
    assert "three/net" in capsys.readouterr().out


def test_weights_are_made_and_read_again_with_neighbours(
    twins: dict[str, Path], capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    plugins = [str(path) for path in twins.values()]
    small = {"train_size": 64, "test_size": 32}
    run = zoo.run(model="two-net/net", dataset="shapes", dataset_params=small, epochs=1, plugins=plugins)
    hidden = [record.message for record in caplog.records if "two/json.py is not what" in record.message]
    assert len(hidden) == 1, "a neighbour that is passed over is named, once"
    assert zoo.load_model(run.weights, plugins=plugins).place == "two"
    assert main(["verify", str(run.weights), "--plugin", plugins[1]]) == 0
    assert "golden samples  8 replayed" in capsys.readouterr().out


def test_a_manifest_names_modules_beside_it_which_have_neighbours(twins: dict[str, Path]) -> None:
    twins["one"].rename(twins["one"].with_name("net.py"))
    manifest = twins["one"].with_name("registry.toml")
    manifest.write_text(
        'schema = 1\n[models.by-file]\nfactory = "net:Net"\n[models.deep]\nfactory = "parts.deep:Net"\n'
    )
    write(manifest.parent, **{"parts/deep": "from net import Net"})
    registry = Registry.discover([manifest])
    for name in ("by-file", "deep"):
        model = build_model(registry.get("model", name), input_shape=(1, 2, 2), num_classes=2, params={})
        assert model.place == "one"


def test_names_of_files_that_are_no_names_of_modules(tmp_path: Path) -> None:
    names = ("3d net", "my.net", "100%", "100%25", "layers")
    write(tmp_path, **dict.fromkeys(names, "import zoo\nfrom mine import NAME\nassert zoo.hookimpl\n"))
    write(tmp_path, mine="NAME = 1", **{"layers/__init__": "raise SystemExit"})
    registry = Registry.discover([tmp_path / f"{name}.py" for name in names])
    assert not registry.problems


def test_a_certificate_holds_until_a_neighbour_changes(tmp_path: Path) -> None:
    write(
        tmp_path,
        share="""
            import zoo
            from counting import Share

            @zoo.metric(name="share", higher_is_better=True, bounds=(0, 1))
            def share(*, num_classes):
                return Share()
        """,
        counting="""
            class Share:
                def __init__(self): self.reset()
                def reset(self): self.right = self.total = 0
                def update(self, logits, targets):
                    self.right = self.right + (logits.argmax(1) == targets).sum()
                    self.total += len(targets)
                def compute(self): return float(self.right) / self.total
        """,
    )
    certificate = zoo.testing.check_plugin(tmp_path / "share.py")
    assert certificate.holds
    write(tmp_path, counting="raise SystemExit")
    assert not certificate.holds


def test_compiled_models_have_neighbours_too(twins: dict[str, Path]) -> None:
    import torch

    registry = Registry.discover([twins["one"]])
    model = build_model(registry.get("model", "net"), input_shape=(1, 2, 2), num_classes=2, params={})
    inputs = torch.rand(2, 1, 2, 2)
    assert torch.equal(torch.compile(model, backend="eager", fullgraph=True)(inputs), model(inputs))
