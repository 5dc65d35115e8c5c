"""Trains on an accelerator, on a stand-in where there is none, and prints which trainings waited for it, and where.

A watch is kept from the second or third batch of an epoch to its last one, over all that happens in between: steps,
batches, losses. Before that the order of the epoch is uploaded and a step may be proved; after it losses and scores are
read. A step in fp16 waits for its scale, and is not among these.
"""

from __future__ import annotations

import sys
import traceback
from contextlib import contextmanager, nullcontext
from math import isclose

import torch
from far_device import FAR, Device, set_up
from torch import nn
from torch.utils.data import TensorDataset

import zoo
from zoo.data import batches
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.models.device import use_seed
from zoo.registry.entries import choose_registry
from zoo.registry.factories import build_metric
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training import capture, course, optimizers, rates
from zoo.training.augmentation import find_augment
from zoo.training.losses import Losses
from zoo.training.metrics import move_metrics, share_counts
from zoo.training.predictions import OutcomeCollector
from zoo.training.trainer import Trainer

CPU = torch.device("cpu")
CLASSES = 6
CASES = {
    "plain": {"samples": 37, "measured": True},
    "adam": {"optimizer": "adam", "schedule": "cosine", "warmup": 3},
    "momentum": {"momentum": 0.9, "schedule": "one-cycle", "weight_decay": 0.01},
    "clipped": {"clip": 0.5, "clip_value": 0.1, "optimizer": "adamw"},
    "accumulated": {"accumulate": 3, "clip": 0.5},
    "averaged": {"ema": 0.9, "label_smoothing": 0.1},
    "bf16": {"precision": "bf16"},
    "augmented": {"augment": "flip,crop:padding=1", "erase": 0.5},
    "mixed": {"mixup": 0.4},
    "cut": {"augment": "flip", "cutmix": 1.0, "accumulate": 2},
    "balanced": {"balanced_sampling": True, "memory_format": "channels_last"},
    "too large": {"resident": False, "augment": "flip", "mixup": 0.4},
    "read one by one": {"resident": False, "dataset": True},
}


class Watched:
    """Batches in whose epochs a watch is kept, from the one after `spared` to the last one."""

    def __init__(self, made, watch, spared):
        self.made, self.watch, self.spared, self.samples = made, watch, spared, made.samples

    def __len__(self):
        return len(self.made)

    def epoch(self, epoch, start=0):
        made = self.made.epoch(epoch, start)
        for _ in range(self.spared):
            yield next(made)
        with self.watch():
            yield from made


@contextmanager
def watch_cuda():
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextmanager
def watch_calls():
    Device.watching = True
    try:
        with Device():
            yield
    finally:
        Device.watching = False


class Steady(nn.Sequential):
    def __init__(self):
        layers = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.2), nn.MaxPool2d(2)
        super().__init__(*layers, nn.Flatten(), nn.Linear(4 * 3 * 3, CLASSES))


def train(device, watch, *, samples=36, measured=False, resident=True, dataset=False, captured=False, **settings):
    """Train for two epochs on a device under a watch; return the losses and scores of each."""
    with use_seed(0):
        generator = torch.Generator().manual_seed(1)
        images = torch.randint(256, (samples, 1, 6, 6), generator=generator, dtype=torch.uint8)
        targets = torch.randint(CLASSES, (samples,), generator=generator)
        split = TensorDataset(images, targets) if dataset else (images, targets)
        config = TrainConfig(batch_size=6, epochs=2, lr=0.01, capture=captured, **settings)
        model, preprocess = Steady().to(device), Preprocess(mean=(0.5,), std=(0.25,))
        described = {"name": "shapes", "num_classes": CLASSES}
        plain = BatchSettings(batch_size=20, device=device)
        classes = targets if config.balanced_sampling else None
        shuffled = {"shuffle_seed": 3, "augment": find_augment(config), "classes": classes}
        shuffled["channels_last"] = config.memory_format == "channels_last"
        made = BatchSettings(batch_size=6, device=device, **shuffled)
        names = zoo.list_metrics("zoo/*") if measured else ()
        entries = {name: choose_registry(None, ()).get("metric", name) for name in names}
        metrics = {name: build_metric(entry, num_classes=CLASSES, params={}) for name, entry in entries.items()}
        metrics[course.NAME] = course.CourseStyle(6)
        move_metrics(metrics, device)
        share_counts(metrics)
        trainer = Trainer(model, config, device, metrics, outcomes=OutcomeCollector())
        if captured:  # whatever the device is, losses are not to be read in each step
            trainer.losses = Losses(torch.device("meta"))
        batches.MEMORY_BUDGET = resident * (1 << 30)
        train, test = (make_batches(split, preprocess, each, **described) for each in (made, plain))
        trainer.fit(Watched(train, watch, spared=1 + captured), Watched(test, watch, spared=1))
        assert not captured or trainer.step.capture.form is not None, "the step was not captured"
    return [(epoch["train"]["loss"], *epoch["test"].values()) for epoch in trainer.history]


def compare(history, known, tolerance):
    """Tell whether two trainings have the same losses and scores."""
    pairs = [pair for epochs in zip(history, known, strict=True) for pair in zip(*epochs, strict=True)]
    return all(isclose(one, other, rel_tol=tolerance) for one, other in pairs)


def main():
    capture.REPAID, batches.MADE_AT_ONCE = 0, 12
    if torch.cuda.is_available():
        device, watch = torch.device("cuda"), watch_cuda
        CASES["captured"] = {"captured": True, "clip": 0.5, "samples": 60}
    else:
        device, watch = set_up(), watch_calls
        # As on a GPU, updates are fused and rates lie on the device.
        optimizers.FUSED_ON.add(device.type)
        rates.DEVICES.add(device.type)
        del CASES["bf16"]  # the stand-in has no autocast
        # Nor can its tensors, of a kind of their own, be captured: what is replayed on a CPU is watched instead.
        train(CPU, watch, captured=True, clip=0.5)
    found = []
    for name, settings in CASES.items():
        try:
            with Device() if device.type == FAR else nullcontext():
                before = Device.moved
                history = train(device, watch, **settings)
                assert Device.moved == before or not settings.get("resident", True), "data were copied in a step"
        except Exception:  # noqa: BLE001 all cases are tried
            found.append(f"{name}\n{traceback.format_exc(-12)}")
        else:
            known = train(CPU, nullcontext, **settings)
            if not compare(history, known, 2e-3):
                found.append(f"{name}: other numbers than on a CPU: {history} {known}")
    print(*found, f"{Device.calls} calls watched", sep="\n")
    sys.exit(len(found))


if __name__ == "__main__":
    main()
