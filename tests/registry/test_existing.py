"""A plugin file becomes a package: it installs, runs and passes its tests at once, and its weights come along."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Environment

import zoo
from zoo.cli.main import main
from zoo.registry.templates import plugin_new
from zoo.registry.templates.sources import read_sources

FILES = {
    "My_Net.py": '''
        """A model, a data set and a metric, with what lies beside the file."""
        import blocks.conv, sizes as s
        import zoo
        from counting import (
            Misses,
        )
        from torch import nn

        from .blocks import conv as same

        if s.WIDTH: import sizes; import os, counting as c

        assert blocks.conv is same and c.Misses is Misses and sizes is s

        @zoo.metric(name="misses", higher_is_better=False, bounds=(0, 1))
        class OwnMisses(Misses):
            pass

        @zoo.hookimpl
        def zoo_datasets():
            names = ("dark", "bright")
            yield zoo.DatasetSpec(name="tones", factory="tones:load", input_shape=(1, 4, 4), class_names=names)
            yield zoo.DatasetSpec(name="more-tones", factory='tones:load', params={"size": 80})

        @zoo.hookimpl
        def zoo_metrics():
            yield zoo.MetricSpec(name="counted", factory=Misses, higher_is_better=False, bounds=(0, 1))

        @zoo.model(name="net", input_shape=(1, "*", "*"))
        class Net(nn.Module):
            """Größe egal."""

            def __init__(self, *, input_shape, num_classes, width: int = s.WIDTH):
                super().__init__()
                from late import POOL
                self.layers = nn.Sequential(blocks.conv.Conv(width), nn.AdaptiveMaxPool2d(POOL), nn.Flatten(),
                                            nn.Linear(width * POOL * POOL, num_classes))

            def forward(self, inputs):
                return self.layers(inputs)
    ''',
    "blocks/__init__.py": "",
    "blocks/conv.py": """
        from blocks.base import Base
        from ..sizes import WIDTH

        class Conv(Base):
            pass
    """,
    "blocks/base.py": """
        from torch import nn

        class Base(nn.Sequential):
            def __init__(self, width):
                super().__init__(nn.LazyConv2d(width, 3, padding=1), nn.ReLU())
    """,
    "counting.py": """
        class Misses:
            def __init__(self, *, num_classes): self.reset()
            def reset(self): self.wrong = self.total = 0
            def update(self, logits, targets):
                self.wrong = self.wrong + (logits.argmax(1) != targets).sum()
                self.total += len(targets)
            def compute(self): return float(self.wrong) / self.total
    """,
    "tones.py": """
        import torch
        import zoo
        from sizes import SIZE

        def load(*, root, size: int = SIZE):
            generator = torch.Generator().manual_seed(0)
            targets = torch.arange(size) % 2
            noise = torch.randint(100, (size, 1, 4, 4), generator=generator, dtype=torch.uint8)
            images = noise + (100 * targets).to(torch.uint8).view(-1, 1, 1, 1)
            train, test = (images[20:], targets[20:]), (images[:20], targets[:20])
            return zoo.DataSplits(train=train, test=test, class_names=("dark", "bright"))
    """,
    "sizes.py": "WIDTH, SIZE = 4, 120\n",
    "late.py": """
        try:
            import timm
            import nowhere_to_be_found
        except ImportError:
            pass
        import torchvision, numpy, PIL.Image
        POOL = 2
    """,
    "unused.py": "raise SystemExit",
}


def write(folder: Path, files: dict[str, str] = FILES) -> Path:
    """Write files into a folder; return the first."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
    return folder / next(iter(files))


@pytest.fixture(scope="module")
def moved(make_environment: Callable[[], Environment], wheels: dict[str, Path]) -> tuple[Environment, dict[str, str]]:
    """Return an environment with the package made of FILES, and what `zoo plugin new` printed; the files are gone.

    `weights.safetensors` there was trained with the file before, `other.safetensors` with another param.
    """
    environment = make_environment()
    environment.install(wheels["zoo-torch"])
    file = write(environment.home / "alone")
    zoo_program = environment.bin / "zoo"
    code = f"""
        import json, shutil, zoo
        def train(name, **params):
            run = zoo.run(model="net", dataset="tones", metrics=["accuracy", "misses"], params=params, epochs=2,
                          plugins=[{str(file)!r}], runs_dir={str(environment.home / "runs")!r})
            shutil.copy(run.weights, name)
        train("weights.safetensors"); train("other.safetensors", width=5)
        print("{{}}")
    """
    environment.evaluate(code)
    done = environment.call(environment.warm, zoo_program, "plugin", "new", "--from", "alone/My_Net.py")
    environment.install("-e", environment.home / "zoo-my-net")
    for path in sorted(file.parent.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    return environment, {"out": done.stdout, "err": done.stderr}


@pytest.mark.slow
def test_the_package_has_what_the_file_needs(moved: tuple[Environment, dict[str, str]]) -> None:
    environment, printed = moved
    package = environment.home / "zoo-my-net"
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["dependencies"] == ["zoo-torch>=0.1", "timm"]
    assert project["entry-points"]["zoo"] == {"zoo_my_net": "zoo_my_net.My_Net"}
    modules = sorted(path.relative_to(package).as_posix() for path in package.rglob("*.py"))
    kept = [name for name in FILES if name != "unused.py"]
    assert modules == sorted(
        ["tests/test_my_net.py", "zoo_my_net/__init__.py", *(f"zoo_my_net/{name}" for name in kept)]
    )
    assert (
        printed["err"]
        == "Warning: no installed package has nowhere_to_be_found: add what brings it to pyproject.toml\n"
    )
    listed = [line.strip() for line in printed["out"].splitlines()]
    assert listed[0] == "wrote zoo-my-net" and sorted(listed[3 : listed.index("next")]) == modules
    readme = (package / "README.md").read_text(encoding="utf-8")
    (install, run, test), (convert,) = (
        block.splitlines() for block in re.findall(r"^```sh\n(.*?)^```", readme, re.DOTALL | re.MULTILINE)
    )
    assert (install, test) == ("pip install -e '.[test]'", "python -m pytest")
    assert listed[-3:] == ["pip install -e './zoo-my-net[test]'", run, "python -m pytest ./zoo-my-net"]
    assert convert == "zoo convert WEIGHTS --as zoo-my-net/net --output weights.safetensors"


@pytest.mark.slow
def test_it_is_listed_runs_and_passes_its_tests(moved: tuple[Environment, dict[str, str]]) -> None:
    environment, printed = moved
    listed = json.loads(environment.call(environment.bin / "zoo", "list", "--json").stdout)
    kinds = ("models", "datasets", "metrics")
    names = {kind: [entry["name"] for entry in listed[kind] if "my-net" in entry["name"]] for kind in kinds}
    assert names["models"] == ["zoo-my-net/net"] and names["datasets"] == ["zoo-my-net/more-tones", "zoo-my-net/tones"]
    assert names["metrics"] == ["zoo-my-net/counted", "zoo-my-net/misses"]
    run = next(line.strip() for line in printed["out"].splitlines() if "zoo run" in line)
    done = environment.call(environment.warm, environment.bin / "zoo", *shlex.split(run)[1:], "--epochs", "2", "--json")
    scores = json.loads(done.stdout)["metrics"]
    assert scores["accuracy"] == pytest.approx(1 - scores["zoo-my-net/counted"]) and "Warning" not in done.stderr
    options = ("-q", "-W", "error", "-p", "no:cacheprovider", "--rootdir", environment.home)
    done = environment.call(environment.warm, "-m", "pytest", *options, environment.home / "zoo-my-net")
    assert re.search(r"^5 passed", done.stdout, re.MULTILINE)


@pytest.mark.slow
def test_weights_of_the_file_become_weights_of_the_package(moved: tuple[Environment, dict[str, str]]) -> None:
    environment, _ = moved
    # One process, because each has to import torch.
    code = """
        import contextlib, io, json
        import zoo
        from zoo.cli.main import main

        def call(*words):
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = main([*words])
            return code, out.getvalue(), err.getvalue()

        done = {
            "orphan": call("verify", "weights.safetensors"),
            "converted": call("convert", "weights.safetensors", "--as", "zoo-my-net/net", "--output",
                              "new.safetensors"),
            "verified": call("verify", "new.safetensors"),
            "shown": call("show", "new.safetensors"),
            "itself": call("convert", "other.safetensors", "--as", "net", "--output", "other.safetensors"),
            "over": call("convert", "other.safetensors", "--as", "net", "--output", "other.safetensors", "--overwrite",
                         "--json"),
            "evaluated": call("evaluate", "new.safetensors", "--json"),
            "another": call("convert", "new.safetensors", "--as", "baseline", "--output", "x.safetensors"),
            "unknown": call("convert", "new.safetensors", "--as", "zoo-my-net/nett", "--output", "x.safetensors"),
        }
        old, new = (zoo.load(name, plugins=[]).metadata for name in ("other.safetensors", "new.safetensors"))
        print(json.dumps({**done, "other": old, "new": new}))
    """
    found = environment.evaluate(code)
    assert found["orphan"][0] == 5, "the file's plugin is gone"
    code, out, _ = found["converted"]
    assert code == 0 and out.splitlines()[0] == "my-net/net -> zoo-my-net/net"
    assert re.fullmatch(r"8 golden samples replayed, probabilities within \S+", out.splitlines()[1])
    assert found["verified"][0] == 0 and "golden samples  8 replayed" in found["verified"][1]
    origin = f"{environment.home.name}/weights.safetensors"
    assert f"converted from  {origin}, weights of my-net/net" in found["shown"][1]
    table = found["new"]
    assert table["plugin"] == {"name": "zoo-my-net", "version": "0.1.0", "source": "installed"}
    assert table["converted_from"] == {"path": origin, "digest": table["digests"]["tensors"], "model": "my-net/net"}
    assert table["metrics"] and table["statistics"] and table["train_config"]["epochs"] == 2
    assert str(environment.home) not in json.dumps(table)
    assert found["itself"][0] == 2 and "is the file to convert. Write to another one" in found["itself"][2]
    assert found["over"][0] == 0 and json.loads(found["over"][1])["model"] == "zoo-my-net/net"
    assert found["other"]["plugin"]["name"] == "zoo-my-net" and found["other"]["params"] == {"width": 5}
    code, _, err = found["another"]
    assert code == 4 and "new.safetensors cannot become weights of 'zoo/baseline': " in err
    assert found["unknown"][0] == 2 and "Did you mean 'zoo-my-net/net'?" in found["unknown"][2]
    assert not (environment.home / "x.safetensors").exists()


MODEL = """
    import torch, zoo
    from torch import nn

    @zoo.model(name="net")
    class Net(nn.Module):
        def __init__(self, *, input_shape, num_classes, size=3):
            super().__init__()
            self.first, self.last = nn.Linear(4, size), nn.Linear(size, num_classes)

        def forward(self, inputs):
            return self.last(self.first(inputs.flatten(1)).relu()) * 1.0
"""


def test_weights_of_another_model_are_refused_in_words(own_folder: Path) -> None:
    import torch

    files = {
        "old.py": MODEL,
        "renamed.py": MODEL.replace("self.first", "self.begin"),
        "wider.py": MODEL.replace("super", "size *= 2; super"),
        "scaled.py": MODEL.replace("* 1.0", "* 1.5"),
        "paramless.py": MODEL.replace("size=3):", "**_):\n            size = 3").replace(", **_", ""),
    }
    for name, text in files.items():
        write(own_folder, {name: text})
    net = zoo.Registry.discover(["old.py"])
    from zoo.registry.factories import build_model

    torch.manual_seed(0)
    module = build_model(net.get("model", "net"), input_shape=(1, 2, 2), num_classes=2, params={})
    names = ["cat", "dog"]
    zoo.save(module, "old.safetensors", model="net", input_shape=(1, 2, 2), class_names=names, registry=net)
    before = Path("old.safetensors").read_bytes()
    expected = {
        "renamed": "the file lacks 2 of 4 tensors: the first is 'begin.",
        "wider": r"the file: tensor 'first.bias': \(3,\) torch.float32 in the file, \(6,\) torch.float32 in the model",
        "scaled": r"with that model a probability of its golden samples is off by 0\.\d+, at most 0.0001 is right",
        "paramless": "has no setting 'size'",
    }
    for name, why in expected.items():
        with pytest.raises(zoo.WeightsError, match=f"cannot become weights of '{name}/net': .*{why}"):
            zoo.convert("old.safetensors", f"{name}/net", output="new.safetensors", plugins=[f"{name}.py"])
        assert not Path("new.safetensors").exists()
    made = zoo.convert("old.safetensors", "old/net", output="new.safetensors", plugins=["old.py"])
    assert (made.was, made.model, made.samples) == ("old/net", "old/net", 8) and made.difference <= 1e-6
    assert Path("old.safetensors").read_bytes() == before
    damaged = bytearray(before)
    damaged[-1] ^= 1
    Path("old.safetensors").write_bytes(damaged)
    with pytest.raises(zoo.WeightsError, match="has changed since it was saved"):
        zoo.convert("old.safetensors", "old/net", output="newer.safetensors", plugins=["old.py"])


@pytest.mark.parametrize(
    ("files", "arguments", "code", "line"),
    [
        ({"a.py": "import zoo"}, "--from a.py", 2, "declares nothing. Mark a class or function with @zoo.model"),
        ({"a.py": "raise ValueError('x')"}, "--from a.py", 5, "plugin 'a': importing it failed: ValueError: x"),
        ({"a.toml": "schema = 1"}, "--from a.toml", 2, "expected a plugin file like my_model.py"),
        ({"a.py": MODEL}, "--from b.py", 2, "b.py': cannot be read: No such file"),
        ({"a.py": MODEL}, "--from a.py --kind model", 2, "it provides. Leave --kind and --single-file out"),
        ({"a.py": MODEL}, "Große --from a.py", 2, "name: expected lower-case letters"),
        ({"con-.py": MODEL}, "--from con-.py", 2, "its name cannot name a plugin: name: 'con' is the name of a device"),
        ({"torch.py": MODEL}, "--from torch.py", 2, "name: 'zoo-torch' is zoo's own"),
        (
            {"a.py": "import zoo\ndef make():\n    @zoo.model(name='n')\n    def net(**_): pass\n    return net\n"
             "net = make()"},
            "--from a.py", 5, "its factory cannot be imported by its name",
        ),
        (
            {"a.py": "import zoo\n@zoo.hookimpl\ndef zoo_models():\n"
             "    yield zoo.ModelSpec(name='n', factory='be' 'side:N')", "beside.py": "N = 1"},
            "--from a.py", 0, "wrote zoo-a",
        ),
        (
            {"a.py": "import zoo\n@zoo.hookimpl\ndef zoo_models():\n"
             "    yield zoo.ModelSpec(name='n', factory=f'{\"beside\"}:N')", "beside.py": "N = 1"},
            "--from a.py", 5, "its factory 'beside:N' is beside the file, and the code does not say so as one text",
        ),
        (
            {"a.py": "import zoo\n@zoo.hookimpl\ndef zoo_weights():\n"
             "    yield zoo.WeightsSpec(name='w', model='net', dataset='shapes', file='w.safetensors')"},
            "--from a.py", 5, "weights 'w': they are weights of the file's own model",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_a_package_is_refused(
    files: dict[str, str], arguments: str, code: int, line: str, own_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(own_folder, files)
    before = sorted(own_folder.iterdir())
    assert main(["plugin", "new", *arguments.split()]) == code
    out, err = capsys.readouterr()
    assert line in out + err
    if code:
        assert sorted(path for path in own_folder.iterdir() if path.name != "__pycache__") == before


def test_nothing_that_exists_is_overwritten(own_folder: Path) -> None:
    file = write(own_folder, {"net.py": MODEL})
    (own_folder / "zoo-net").mkdir()
    with pytest.raises(zoo.UsageError, match="'zoo-net' exists: nothing is overwritten"):
        plugin_new(source=file)
    assert plugin_new(source=file, output="other").path == Path("other")
    assert plugin_new("mine", source=file).path == Path("zoo-mine")
    with pytest.raises(zoo.SettingError, match="kind: expected model or dataset or metric or loss, got 'modle'"):
        plugin_new("mine", "modle")


def test_rewritten_code_keeps_all_else(own_folder: Path) -> None:
    text = '# -*- coding: latin-1 -*-\r\nimport a; x = "größe"; import b.c as d, os\r\nfrom a import y  # größe\r\n'
    file = own_folder / "mine.py"
    file.write_bytes(text.encode("latin-1"))
    write(own_folder, {"a.py": "y = 1", "b/c.py": "", "json.py": ""})
    sources = read_sources(file)
    assert sources.beside == {"a", "b"} and sources.foreign == ("os",)
    written = sources.rewrite("zoo_mine", {})
    expected = text.replace("import a;", "from zoo_mine import a;").replace("from a", "from zoo_mine.a")
    expected = expected.replace("import b.c as d, os", "from zoo_mine.b import c as d; import os")
    assert written["mine.py"] == expected.encode("latin-1")
    assert sorted(written) == ["a.py", "b/c.py", "mine.py"]
