"""Metadata of strangers, used: a short part of what `fuzz_metadata.py` does for as long as it is told to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import fuzz_metadata
import pytest
import torch
from fuzz_header import make_metadata
from weights_files import refuse, rewrite

import zoo
from zoo.cli.main import main
from zoo.errors import OutOfMemoryError, WeightsError
from zoo.limits import MAX_IMAGE_VALUES, MAX_RESIZE_VALUES, MAX_SIDE, MODEL_SPARE
from zoo.records.metadata import read_metadata

SHIPPED = Path(zoo.__file__).parents[1] / "plugins" / "zoo_plugins" / "weights" / "baseline-fashionmnist.safetensors"
NOTHING = {"digests": ..., "golden": ..., "statistics": ...}


@pytest.mark.promise("P4")
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA bounds all private memory on Linux only")
def test_whatever_a_file_says_it_can_be_used_or_is_refused(warm_python: str, tmp_path: Path) -> None:
    options = ["--executions", "20", "--seed", "12", "--folder", str(tmp_path)]
    command = [warm_python, fuzz_metadata.__file__, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr[-3000:]}"
    assert done.stdout.startswith("20 executions")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    path = tmp_path / "w.safetensors"
    path.write_bytes(SHIPPED.read_bytes())
    return path


def change(path: Path, **parts: Any) -> None:
    """Change parts of the metadata of a file; `...` takes one away, and so are those that would tell of the change."""

    def apply(metadata: dict[str, Any]) -> None:
        for key, value in {**NOTHING, **parts}.items():
            metadata.pop(key, None)
            if value is not ...:
                metadata[key] = value

    rewrite(path, change_metadata=apply)


def resized(shape: list[int]) -> dict[str, Any]:
    """Return metadata of images of a shape that become the inputs of the file's model."""
    steps = {"scale": None, "channels": 1 if shape[0] == 3 else None, "resize": [28, 28], "mean": [], "std": []}
    return {"image": {"shape": shape, "dtype": "uint8", "range": [0, 255]}, "preprocess": steps}


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ([1, 40_000, 40_000], f"image: expected a dtype, a range, and as shape .*at most {MAX_IMAGE_VALUES} values"),
        ([1, 2, 2**24], f"image: expected sides of at most {MAX_SIDE} pixels"),
        ([2, 28, 28], "image: expected preprocess to make"),
        ([1, 1, 28, 28], "image: expected channels, height and width"),
    ],
)
def test_images_that_no_memory_is_for_are_refused(shape: list[int], said: str, copy: Path) -> None:
    change(copy, **resized(shape))
    for use in (["show"], ["verify"], ["predict"], ["evaluate"], ["adapt", "--num-classes", "2", "--output", "x"]):
        with pytest.raises(WeightsError, match=said):
            read_metadata(copy, json.loads(json.dumps(zoo.records.header.read_header(copy).metadata)))
        command = [use[0], str(copy), *(["a.png"] if use[0] == "predict" else []), *use[1:]]
        if use[0] != "predict":
            assert main(command) == 4


def test_the_largest_image_is_used(copy: Path) -> None:
    change(copy, **resized([1, 2**12, 2**13]))
    predictor = zoo.load(copy)
    assert len(predictor(torch.zeros(1, 2**12, 2**13, dtype=torch.uint8))) == 1


def test_an_image_that_is_larger_on_its_way_than_at_its_ends_is_refused() -> None:
    table = make_metadata(
        input_shape=[1, 1, 2**13],
        image={"shape": [1, 2**15, 1], "dtype": "uint8", "range": [0, 255]},
        preprocess={"scale": None, "channels": None, "resize": [1, 2**13], "mean": [], "std": []},
        golden=...,
    )
    said = refuse(read_metadata, Path("w"), table)
    assert f"image: expected at most {MAX_RESIZE_VALUES} values where it is resized, got {2**28}" in said


def test_golden_samples_that_are_few_bytes_and_many_values_are_refused(copy: Path) -> None:
    image = {"shape": [1, 4096, 4096], "dtype": "uint8", "range": [0, 255]}
    table = make_metadata(input_shape=[1, 4096, 4096], image=image)
    table["golden"] |= {"shape": [20, 1, 1, 1], "stride": 4096, "images": "AAAA" * 6 + "AAA="}
    table["golden"] |= {"probabilities": [[0.5, 0.5]] * 20, "labels": ["cat"] * 20}
    assert "golden: expected at most 268435456 values of its images, got 335544320" in refuse(
        read_metadata, Path("w"), table
    )


def test_steps_that_only_pictures_have_are_refused_for_other_inputs() -> None:
    steps = {"scale": None, "channels": 3, "resize": None, "mean": [], "std": []}
    said = refuse(read_metadata, Path("w"), make_metadata(input_shape=[3], image=..., preprocess=steps, golden=...))
    assert "input_shape: expected channels, height and width, which preprocess needs, got [3]" in said


@pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "uint64"])
def test_images_without_a_range_need_a_scale(dtype: str) -> None:
    image = {"shape": [1, 2, 2], "dtype": dtype, "range": [0, 255]}
    table = make_metadata(image=image, golden=...)
    assert f"preprocess: expected a scale for images of {dtype}" in refuse(read_metadata, Path("w"), table)
    table["preprocess"]["scale"] = 255
    read_metadata(Path("w"), table)


@pytest.mark.parametrize("value", [10**30, 10**20, 2**63, -(10**19), [1, [2**64]], {"a": 10**20}])
def test_params_beyond_64_bits_are_refused_by_name(value: Any) -> None:
    said = refuse(read_metadata, Path("w"), make_metadata(params={"hidden_units": value}))
    assert "params: expected a table, its whole numbers of at most 64 bits" in said or "out of range" in said
    dataset = {"name": "pets", "plugin": None, "params": {"size": value}}
    assert "dataset: expected" in refuse(read_metadata, Path("w"), make_metadata(dataset=dataset))


def test_a_model_that_the_file_has_no_tensors_for_is_refused_before_it_is_there(copy: Path) -> None:
    change(copy, params={"hidden_units": 10**6})
    said = refuse(zoo.load, copy)
    assert "its model asks for 3,136.0 MB of memory, at most" in said
    assert f"{MODEL_SPARE / 1e6 + 4 * 31_840 / 1e6:,.1f} MB are right for the tensors in the file" in said
    change(copy, params={"hidden_units": 11})
    assert "(10,) torch.float32 in the file, (11,) torch.float32 in the model" in refuse(zoo.load, copy)


@pytest.mark.parametrize("units", [10**18, 2**62])
def test_a_model_that_no_memory_can_hold_is_out_of_memory(units: int, copy: Path) -> None:
    change(copy, params={"hidden_units": units})
    with pytest.raises((OutOfMemoryError, WeightsError)) as caught:
        zoo.load(copy)
    assert caught.value.exit_code in (4, 9)
    assert "frame #" not in str(caught.value) and "not enough memory for its model 'baseline'" in str(caught.value)


@pytest.mark.promise("P4")
def test_tensors_are_compared_before_they_are_read(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(copy, params={"hidden_units": 11})
    monkeypatch.setattr("zoo.models.weights.read_tensors", lambda *_, **__: 1 / 0)
    assert "in the file, (11,)" in refuse(zoo.load, copy)


def test_advice_to_be_pasted_is_quoted(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "/tmp/x.py; rm -rf ~"
    change(copy, plugin={"name": "mine", "version": "1", "source": evil}, model="net")
    assert main(["verify", str(copy)]) == 5
    assert f"Give it with --plugin '{evil}' if you trust it\n" in capsys.readouterr().err
    change(copy, plugin={"name": "evil-package", "version": "1", "source": "installed"})
    assert main(["verify", str(copy)]) == 5
    said = capsys.readouterr().err
    assert "pip install" not in said and "installing a package runs its code" in said
    assert "an installed plugin called 'evil-package'" in said
