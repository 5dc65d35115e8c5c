"""What an epoch of zoo's trainer takes on a CUDA device: a small model against ordinary steps, a larger one by hand.

The data are random and lie on the device. Where there is no such device, a line says so: no GPU was at hand when this
was written, and neither limit has been measured. `--device cpu` shows that the script works, its ratios mean nothing.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import torch
from measure import alternate, check_ratio, find_ratio, make_parser
from torch import Tensor, nn
from torchvision.models import resnet18

from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches
from zoo.models.layout import CHANNELS_LAST, lay_model
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training import capture
from zoo.training.losses import Losses
from zoo.training.trace import DETAIL
from zoo.training.trainer import Trainer, train_one_epoch
from zoo_plugins.models.baseline import Baseline

GRAPH_LIMIT, HAND_LIMIT = 0.25, 1.03
BATCH, CLASSES, LR, SEED = 32, 10, 0.1, 0
SMALL = 1, 28, 28


def build(shape: tuple[int, ...]) -> nn.Module:
    torch.manual_seed(SEED)
    return Baseline(input_shape=shape, num_classes=CLASSES) if shape == SMALL else resnet18(num_classes=CLASSES)


def draw(shape: tuple[int, ...], steps: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randint(256, (BATCH * steps, *shape), dtype=torch.uint8, generator=generator)
    return images, torch.randint(CLASSES, (BATCH * steps,), generator=generator)


def wait(device: torch.device) -> float:
    """Return the time when the device has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return perf_counter()


def train(device: torch.device, shape: tuple[int, ...], steps: int, *, captured: bool, last: bool, bf16: bool) -> float:
    """Train as a run does; return the seconds of an epoch, in which a graph is made and proved."""
    precision, layout = "bf16" if bf16 else "fp32", "channels_last" if last else "contiguous"
    config = TrainConfig(batch_size=BATCH, lr=LR, capture=captured, precision=precision, memory_format=layout)
    model = build(shape).to(device)
    lay_model(model, config.memory_format)
    trainer = Trainer(model, config, device)
    made = BatchSettings(batch_size=BATCH, device=device, shuffle_seed=SEED, channels_last=last)
    batches = TensorBatches(*draw(shape, steps), Preprocess(), made, CLASSES)
    step, started = trainer.prepare(len(batches)), wait(device)
    train_one_epoch(model, step, batches, Losses(device), 0, later=2 * capture.REPAID)
    return wait(device) - started


def train_by_hand(device: torch.device, shape: tuple[int, ...], steps: int, *, last: bool) -> float:
    """Train in bf16 with a loop by hand that never waits for the device; return the seconds of an epoch."""
    form = torch.channels_last if last else torch.contiguous_format
    model = build(shape).to(device, memory_format=form)
    optimizer, loss_fn = torch.optim.SGD(model.parameters(), lr=LR, fused=True), nn.CrossEntropyLoss()
    images, targets = (each.to(device) for each in draw(shape, steps))
    inputs = (images / 255).contiguous(memory_format=form)
    total, started = torch.zeros((), device=device), wait(device)
    for chosen in torch.randperm(len(inputs)).to(device).split(BATCH):
        with torch.autocast(device.type, torch.bfloat16):
            outputs = model(inputs.index_select(0, chosen))
        loss = loss_fn(outputs.float(), targets.index_select(0, chosen))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.detach()
    float(total)
    return wait(device) - started


def main() -> int:
    parser = make_parser(__doc__, rounds=5)
    parser.add_argument("--device", default="cuda", help="where the models train")
    parser.add_argument("--side", type=int, default=64, help="pixels along the images of resnet18")
    parser.add_argument("--steps", type=int, default=1000, help="of an epoch")
    options = parser.parse_args()
    device, shape = torch.device(options.device), (3, options.side, options.side)
    if device.type == "cuda" and not torch.cuda.is_available():
        print(f"no CUDA device here: not measured   limit {GRAPH_LIMIT} and {HAND_LIMIT}")
        return 0
    logging.getLogger("zoo").setLevel(DETAIL)  # it says why a step is not captured, or not one graph
    logging.getLogger("zoo").addHandler(logging.StreamHandler())
    small = partial(train, device, SMALL, options.steps, last=False, bf16=False)
    large = partial(train, device, shape, options.steps, captured=True, bf16=True)
    hand = partial(train_by_hand, device, shape, options.steps)
    contenders: dict[str, Callable[[], float]] = {
        "baseline": partial(small, captured=True),
        "baseline, ordinary steps": partial(small, captured=False),
        "resnet18": partial(large, last=False),
        f"resnet18, {CHANNELS_LAST}": partial(large, last=True),
        "resnet18 by hand": partial(hand, last=False),
        f"resnet18 by hand, {CHANNELS_LAST}": partial(hand, last=True),
    }
    for contender in contenders.values():
        contender()  # kernels are loaded when they are first used
    times = alternate(options.rounds, contenders)
    for name, seconds in times.items():
        print(f"{name:<36} {median(seconds) / options.steps * 1e3:8.3f} ms a step")
    # Each in its better layout.
    own = min(("resnet18", f"resnet18, {CHANNELS_LAST}"), key=lambda name: median(times[name]))
    other = min((name for name in times if "by hand" in name), key=lambda name: median(times[name]))
    kept = [
        check_ratio(
            "baseline / ordinary steps", find_ratio(times, "baseline", "baseline, ordinary steps"), GRAPH_LIMIT
        ),
        check_ratio(f"{own} / {other}", find_ratio(times, own, other), HAND_LIMIT),
    ]
    return 0 if options.no_check or all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
