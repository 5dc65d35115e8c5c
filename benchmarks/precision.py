"""What other precisions and layouts are worth: training steps of tinyvgg in bf16 and with the channels last.

Each against float32 with contiguous channels, on the same batches.
"""

from __future__ import annotations

import sys
from functools import partial
from statistics import median
from time import perf_counter

import torch
from measure import alternate, check_ratio, find_ratio, make_parser
from torch import nn

from zoo.models.layout import CHANNELS_LAST, CONTIGUOUS, lay_model
from zoo.registry.settings import resolve_config
from zoo.training.optimizers import build_optimizer
from zoo.training.step import build_step
from zoo_plugins.models.tinyvgg import TinyVGG

LIMIT = 1.5
SHAPE, CLASSES = (1, 28, 28), 10
REFERENCE = "fp32 contiguous"


def time_steps(name: str, width: int, batch: int, steps: int, device: torch.device) -> float:
    """Return the seconds of so many steps of a new model, in the precision and memory format that the name says."""
    precision, layout = name.split()
    torch.manual_seed(0)
    model = TinyVGG(input_shape=SHAPE, num_classes=CLASSES, hidden_units=width)
    lay_model(model.to(device), layout)
    config = resolve_config({}, {"lr": 1e-3, "precision": precision, "memory_format": layout})
    step = build_step(model, nn.functional.cross_entropy, build_optimizer(model, config), None, config)
    inputs = torch.rand(batch, *SHAPE, device=device)
    targets = torch.randint(CLASSES, (batch,), device=device)
    float(step(inputs, targets))
    started = perf_counter()
    for _ in range(steps):
        loss = step(inputs, targets)
    float(loss)  # an accelerator is waited for
    return perf_counter() - started


def main() -> int:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--steps", type=int, default=30, help="of each contender in each round")
    parser.add_argument("--width", type=int, default=10, help="hidden units of tinyvgg")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="where the model trains")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    size = options.width, options.batch_size, options.steps, torch.device(options.device)
    names = [f"{precision} {layout}" for precision in ("fp32", "bf16") for layout in (CONTIGUOUS, CHANNELS_LAST)]
    times = alternate(options.rounds, {name: partial(time_steps, name, *size) for name in names})
    for name, seconds in times.items():
        print(f"{name:<20} {median(seconds) / options.steps * 1e3:8.2f} ms a step")
    others = [name for name in names if name != REFERENCE]
    # Whether it pays depends on the processor; the best choice must not be slower than none.
    ratios = {name: find_ratio(times, name, REFERENCE) for name in others}
    for name, ratio in ratios.items():
        print(f"{name:<20} / {REFERENCE} {ratio:7.3f}")
    kept = check_ratio(f"the best of them / {REFERENCE}", min(ratios.values()), LIMIT)
    return 0 if options.no_check or kept else 1


if __name__ == "__main__":
    sys.exit(main())
