"""Pictures of 2 x 2 pixels, dark or bright, from a file that zoo fetches."""

from __future__ import annotations

from pathlib import Path

import torch

import zoo


def tones(*, root: Path, file: str = "tones.bin") -> zoo.DataSplits:
    """Return the splits: the file holds five bytes per sample, the target and four pixels."""
    samples = torch.frombuffer(bytearray((root / "tones" / file).read_bytes()), dtype=torch.uint8).view(-1, 5)
    images, targets = samples[:, 1:].reshape(-1, 1, 2, 2), samples[:, 0].long()
    return zoo.DataSplits(
        train=(images[:48], targets[:48]), test=(images[48:], targets[48:]), class_names=("dark", "bright")
    )
