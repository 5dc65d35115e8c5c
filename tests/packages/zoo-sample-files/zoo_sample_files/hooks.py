"""The same data as the manifest's, declared by a hook."""

from __future__ import annotations

from collections.abc import Iterator

import zoo

FILE = zoo.FileSpec(
    path="tones/hooked.bin",
    size=320,
    sha256="569553633749c7cd28564325a770dd810d2e05e278312dbed0b80b605874fa8a",
    urls=("http://127.0.0.1:8000/hooked.bin",),
)


@zoo.hookimpl
def zoo_datasets() -> Iterator[zoo.DatasetSpec]:
    """Yield the data set."""
    yield zoo.DatasetSpec(
        name="tones-hooked",
        factory="zoo_sample_files.tones:tones",
        description="Dark and bright pictures, declared by a hook",
        params={"file": "hooked.bin"},
        input_shape=(1, 2, 2),
        class_names=("dark", "bright"),
        samples={"train": 48, "test": 16},
        files=(FILE,),
        homepage="https://example.org/tones",
        license="CC0-1.0",
    )
