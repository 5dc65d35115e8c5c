"""Samples in tar files, as webdataset has them: data larger than a machine."""

from __future__ import annotations

from pathlib import Path

from zoo import DataSplits, read_shards


def image_shards(
    *,
    root: str | Path,
    path: str = "",
    test: float = 0.2,
    seed: int = 0,
    size: int = 0,
    channels: int = 0,
    window: int = 16,
) -> DataSplits:
    """Read a folder that `zoo data shard` wrote, a folder of tar files, or a pattern of them; see `zoo.read_shards`.

    Args:
        root: The data folder; not used.
        path: The folder, or the pattern.
        test: The share of each class that is held back as the test split, where there is none.
        seed: Which samples these are.
        size: Pixels of a side of the inputs; 0 leaves that to the folder.
        channels: 3, or 1 for grey; 0 leaves that to the folder.
        window: Tar files that a training shuffles through at a time.
    """
    return read_shards(path, test=test, seed=seed, size=size, channels=channels, window=window)
