"""Weights: loading, saving, showing and predicting beside the plainest code that does the same work."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import safetensors.torch
import torch
from measure import alternate, check_ratio, find_ratio, make_parser
from torch import nn

import zoo

LOAD_LIMIT, SAVE_LIMIT, SHOW_LIMIT, PREDICT_LIMIT = 3.5, 2.0, 1.5, 1.5
NAMES = [f"class {number}" for number in range(10)]


class Wide(nn.Module):
    """Square layers of so many megabytes."""

    def __init__(self, *, input_shape: tuple[int, ...], num_classes: int, megabytes: int = 100) -> None:
        super().__init__()
        layers = [nn.Linear(1024, 1024) for _ in range(max(1, round(megabytes * 1e6 / 4 / 1024**2)))]
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(784, 1024), *layers, nn.Linear(1024, num_classes))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.layers(inputs)


def plain_load(path: Path, megabytes: int) -> None:
    model = Wide(input_shape=(1, 28, 28), num_classes=10, megabytes=megabytes)
    model.load_state_dict(safetensors.torch.load_file(path))


def plain_save(model: nn.Module, path: Path) -> None:
    safetensors.torch.save_file(model.state_dict(), path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def plain_predict(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return torch.cat([model(part.float() / 255).softmax(1) for part in images.split(1024)])


def timed(call: partial[object]) -> float:
    started = perf_counter()
    call()
    return perf_counter() - started


def show(path: Path) -> float:
    started = perf_counter()
    subprocess.run([sys.executable, "-m", "zoo", "show", path], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - started


def main() -> int:
    parser = make_parser(__doc__, rounds=7)
    parser.add_argument("--megabytes", type=int, default=100, help="of the file that is loaded and saved")
    parser.add_argument("--large", type=int, default=1000, help="megabytes of the file that is shown")
    options = parser.parse_args()
    torch.set_num_threads(1)
    registry = zoo.Registry()
    registry.add(zoo.ModelSpec(name="wide", factory=Wide))
    images = torch.randint(0, 256, (10_000, 1, 28, 28), dtype=torch.uint8)
    facts = {"model": "wide", "input_shape": (1, 28, 28), "class_names": NAMES, "registry": registry}
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)

        def save(megabytes: int, name: str) -> Path:
            model = Wide(input_shape=(1, 28, 28), num_classes=10, megabytes=megabytes)
            return zoo.save(model, folder / name, **facts, params={"megabytes": megabytes}, images=images[:256])

        path, small, large = save(options.megabytes, "file"), save(1, "small"), save(options.large, "large")
        wide = zoo.load_model(path, registry=registry)
        shared = {"params": {"megabytes": options.megabytes}, "images": images[:256]}
        baseline = nn.Sequential(nn.Flatten(), nn.Linear(784, 10), nn.Linear(10, 10))
        predictor = zoo.load(zoo.run(epochs=0, runs_dir=folder / "runs").weights)
        contenders = {
            "zoo.load_model": partial(zoo.load_model, path, registry=registry),
            "load_file": partial(plain_load, path, options.megabytes),
            "zoo.save": partial(zoo.save, wide, folder / "saved", **facts, **shared),
            "save_file": partial(plain_save, wide, folder / "plain"),
            "predictor": partial(predictor, images),
            "by hand": partial(plain_predict, baseline, images),
        }
        calls = {name: partial(timed, call) for name, call in contenders.items()}
        calls |= {"show large": partial(show, large), "show small": partial(show, small)}
        times = alternate(options.rounds, calls)
    for name, seconds in times.items():
        print(f"{name:<16} {min(seconds):8.4f} s at least")
    pairs = [
        ("zoo.load_model", "load_file", LOAD_LIMIT),
        ("zoo.save", "save_file", SAVE_LIMIT),
        ("show large", "show small", SHOW_LIMIT),
        ("predictor", "by hand", PREDICT_LIMIT),
    ]
    kept = [check_ratio(f"{name} / {other}", find_ratio(times, name, other), limit) for name, other, limit in pairs]
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
