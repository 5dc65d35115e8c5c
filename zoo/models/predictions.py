"""Predictions: what a loaded model makes of images, in columns and in rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from zoo.display import make_table, say


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The most probable class of one image."""

    index: int
    label: str
    probability: float


@dataclass(frozen=True, eq=False, repr=False)
class Predictions:
    """What a model makes of images, in columns: `probabilities` is an array `(N, num_classes)` of float32.

    Rows are `Prediction`s: `predictions[0].label`; `for prediction in predictions`.
    """

    probabilities: NDArray[numpy.float32]
    class_names: tuple[str, ...]

    @property
    def indices(self) -> NDArray[numpy.int64]:
        """The most probable class of each image, int64 `(N,)`."""
        return numpy.asarray(self.probabilities.argmax(axis=1), dtype=numpy.int64)

    @property
    def labels(self) -> NDArray[numpy.str_]:
        """Their names, an array of texts `(N,)`."""
        return numpy.asarray(numpy.array(self.class_names, dtype=numpy.str_)[self.indices])

    def top(self, k: int) -> list[list[Prediction]]:
        """Return the `k` most probable classes of each image, the most probable first."""
        order = (-self.probabilities).argsort(axis=1, kind="stable")[:, :k]
        return [[self._make(row, int(index)) for index in indices] for row, indices in enumerate(order)]

    def __len__(self) -> int:
        return len(self.probabilities)

    def __getitem__(self, row: int) -> Prediction:
        return self._make(row, int(self.probabilities[row].argmax()))

    def __iter__(self) -> Iterator[Prediction]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        told = [f"{self[row].label} {self[row].probability:.4f}" for row in range(min(len(self), 3))]
        return say("Predictions", f"{len(self)} image{'' if len(self) == 1 else 's'}", *told, *["..."][: len(self) > 3])

    def _repr_html_(self) -> str:
        rows = [(row, *(f"{one.label} {one.probability:.4f}" for one in best)) for row, best in enumerate(self.top(3))]
        return make_table(rows, ("image", "most probable", "second", "third")[: len(rows[0]) if rows else 1])

    def _make(self, row: int, index: int) -> Prediction:
        return Prediction(index=index, label=self.class_names[index], probability=float(self.probabilities[row, index]))
