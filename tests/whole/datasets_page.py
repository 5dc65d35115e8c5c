"""The page of torchvision's data sets, docs/reference/datasets.md: made from the manifest of the catalogue."""

from __future__ import annotations

from pathlib import Path

import zoo_plugins.torchvision
from zoo.registry.compatibility import show_shape
from zoo.registry.manifest import read_manifest
from zoo.registry.specs import DatasetSpec

HEADER = ("", "train", "validation", "test", "classes", "one picture", "to fetch", "terms")


def make_datasets_page() -> str:
    """Return a table of the data sets, and what may be chosen of some."""
    specs = read_manifest(Path(zoo_plugins.torchvision.__file__).parent / "registry.toml").specs
    rows = [HEADER, ("---",) * len(HEADER)]
    for spec in specs:
        if isinstance(spec, DatasetSpec):
            counts = [f"{spec.samples[split]:,}" if split in spec.samples else "" for split in HEADER[1:4]]
            classes = f"{spec.num_classes:,}" if spec.num_classes else ""
            shape = show_shape(spec.input_shape or ())
            name = f"[`{spec.name}`]({spec.homepage})"
            rows.append((name, *counts, classes, shape, show_download(spec), spec.license))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def show_download(spec: DatasetSpec) -> str:
    """Return how much is fetched, or that it is got by hand."""
    if not any(file.urls for file in spec.files):
        return "by hand"
    sizes = [file.size for file in spec.files]
    known = sum(size for size in sizes if size is not None)
    shown = f"{known / 1e9:.1f} GB" if known >= 1e9 else f"{known / 1e6:.1f} MB"
    return "unknown" if not known else f"over {shown}" if None in sizes else shown
