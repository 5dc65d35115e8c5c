"""What this package tells zoo: a data set for each of its sizes."""

from __future__ import annotations

from collections.abc import Iterator

import zoo

SIZES = {"stripes": 8, "stripes-large": 16}


@zoo.hookimpl
def zoo_datasets() -> Iterator[zoo.DatasetSpec]:
    """Yield stripes in each size."""
    for name, size in SIZES.items():
        yield zoo.DatasetSpec(
            name=name,
            factory="zoo_sample_dataset.stripes:stripes",
            description=f"Lying and standing stripes, {size} x {size} in gray",
            params={"size": size},
            input_shape=(1, size, size),
            class_names=("lying", "standing"),
            samples={"train": 48, "test": 16},
        )
