"""Predictions: what a model predicted for each sample of a split, and the small file that keeps it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from numpy.typing import ArrayLike, NDArray

from zoo.display import make_table, say
from zoo.errors import WeightsError
from zoo.limits import MAX_CLASSES, MAX_PREDICTIONS
from zoo.records.header import Header, expect, is_text, read_header
from zoo.registry.fields import SHA256_PATTERN
from zoo.storage.files import ELSEWHERE, write_file
from zoo.storage.reading import explain, open_regular

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
AGAIN = "Delete it: it can be computed again from the weights"
SMALL = 256
"""The number of classes up to which the file holds an index in one byte; above it takes four."""


@dataclass(frozen=True, kw_only=True)
class OutcomeOrigin:
    """What was predicted with what: `digest` is the SHA-256 of the data, `weights` that of the tensors.

    Either is None where it is not known.
    """

    format: int = FORMAT
    model: str
    dataset: str
    split: str
    digest: str | None = None
    weights: str | None = None


class Outcomes:
    """What a model predicted for the N samples of a split, in their order.

    It keeps numpy arrays, so that results can be compared without torch, and gives tensors of the same memory.

    Fields:
        targets, predictions: class indices, int64 `(N,)`; of equal logits the first class is predicted.
        target_probabilities, probabilities: of the target and of the prediction, float32 `(N,)`.
        class_names: the C classes.
        origin: which model, data set and split they are of, and the digests of the data and of the model's tensors.
    """

    def __init__(
        self,
        *,
        targets: ArrayLike,
        predictions: ArrayLike,
        target_probabilities: ArrayLike,
        probabilities: ArrayLike,
        class_names: tuple[str, ...],
        origin: OutcomeOrigin,
    ) -> None:
        self.arrays: dict[str, NDArray[Any]] = {
            "targets": numpy.asarray(targets, dtype=numpy.int64),
            "predictions": numpy.asarray(predictions, dtype=numpy.int64),
            "target_probabilities": numpy.asarray(target_probabilities, dtype=numpy.float32),
            "probabilities": numpy.asarray(probabilities, dtype=numpy.float32),
        }
        self.class_names, self.origin = class_names, origin

    @property
    def facts(self) -> dict[str, Any]:
        """The origin as a table."""
        return asdict(self.origin)

    def __len__(self) -> int:
        return len(self.arrays["targets"])

    def __repr__(self) -> str:
        origin, right = self.origin, int(self.hits.sum())
        where = f"{origin.model} on {origin.dataset}, split {origin.split}"
        return say("Outcomes", where, f"{right:,} of {len(self):,} right")

    def _repr_html_(self) -> str:
        from zoo.training.confusion import score_predictions

        scores = score_predictions(self.targets, self.predictions, self.class_names)
        rows = [(score.name, score.support, _show(score.recall), _show(score.precision)) for score in scores]
        return make_table(rows, ("class", "samples", "recall", "precision"), caption=repr(self))

    @property
    def targets(self) -> Tensor:
        """The class of each sample: int64 `(N,)`."""
        return self._tensor("targets")

    @property
    def predictions(self) -> Tensor:
        """The class predicted for each sample: int64 `(N,)`."""
        return self._tensor("predictions")

    @property
    def target_probabilities(self) -> Tensor:
        """The probability of each sample's class: float32 `(N,)`."""
        return self._tensor("target_probabilities")

    @property
    def probabilities(self) -> Tensor:
        """The probability of each prediction: float32 `(N,)`."""
        return self._tensor("probabilities")

    @property
    def matrix(self) -> Tensor:
        """How often each class was taken for each: int64 `(C, C)`, rows are targets, columns predictions."""
        from zoo.training.confusion import count_confusion

        return count_confusion(self.targets, self.predictions, len(self.class_names))

    @property
    def correct(self) -> Tensor:
        """Which predictions are right: bool `(N,)`."""
        return self.targets == self.predictions

    @property
    def hits(self) -> NDArray[numpy.bool_]:
        """Which predictions are right, without torch: bool `(N,)`."""
        found: NDArray[numpy.bool_] = self.arrays["targets"] == self.arrays["predictions"]
        return found

    @property
    def accuracy(self) -> float:
        """The share of right predictions, an exact count divided by N."""
        return int(self.hits.sum()) / len(self)

    def _tensor(self, name: str) -> Tensor:
        import torch

        return torch.from_numpy(self.arrays[name])


def _show(share: float | None) -> str:
    return "-" if share is None else f"{share:.4f}"


class OutcomeCollector:
    """Collects outcomes over the batches of an evaluation; they stay on the device and are read once, at the end."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.indices: list[Tensor] = []
        self.probabilities: list[Tensor] = []

    def __bool__(self) -> bool:
        return bool(self.indices)

    def update(self, logits: Tensor, targets: Tensor) -> None:
        """Take in one batch of logits `(N, C)` and targets `(N,)`."""
        import torch

        indices = torch.stack([targets.to(torch.int64), logits.argmax(dim=1)], dim=1)
        self.indices.append(indices)
        self.probabilities.append(logits.to(torch.float32).softmax(dim=1).gather(1, indices))

    def collect(self, class_names: Sequence[str], origin: OutcomeOrigin) -> Outcomes:
        """Return the outcomes of all batches since the last reset, on the CPU."""
        import torch

        targets, predictions = torch.cat(self.indices).cpu().T.contiguous()
        target_probabilities, probabilities = torch.cat(self.probabilities).cpu().T.contiguous()
        return Outcomes(
            targets=targets,
            predictions=predictions,
            target_probabilities=target_probabilities,
            probabilities=probabilities,
            class_names=tuple(class_names),
            origin=origin,
        )


def save_outcomes(path: Path, outcomes: Outcomes, *, fix: str = ELSEWHERE) -> None:
    """Write outcomes, 10 or 16 bytes a sample; `fix` is the advice where that fails.

    Raises:
        StorageError: the file cannot be written; an older one stays.
    """
    import safetensors.numpy

    index_type = numpy.uint8 if len(outcomes.class_names) <= SMALL else numpy.int32
    indices = {name: outcomes.arrays[name].astype(index_type) for name in ("targets", "predictions")}
    tensors = {**outcomes.arrays, **indices}
    told = {**outcomes.facts, "class_names": list(outcomes.class_names)}
    text = json.dumps({"format": told.pop("format"), "predictions": told}, allow_nan=False)
    write_file(path, safetensors.numpy.save(tensors, {"zoo": text}), what="predictions", fix=fix)


def read_outcomes(path: Path) -> Outcomes:
    """Read outcomes, checked as a stranger's: nothing executed, sizes and ranges as they must be.

    Raises:
        WeightsError: the file cannot be read, is damaged or something else, or was written by a newer zoo.
    """
    header = read_header(path)
    number = header.metadata.get("format", FORMAT)
    if number > FORMAT:
        why = f"this zoo reads up to {FORMAT}"
        raise WeightsError(f"{path} has format {number}", why, "Upgrade: pip install -U zoo-torch")
    try:
        names, origin = _read_origin(header.metadata.get("predictions"), number)
        index_type = _check_tensors(header, len(names))
        size = header.size - header.data_start
        expect(size <= MAX_PREDICTIONS, f"expected at most {MAX_PREDICTIONS} bytes of tensors", size)
        data = bytearray(size)
        # The file is read, not mapped: if another process cut a mapped file, this process would end.
        with open_regular(path) as file:
            file.seek(header.data_start)
            found = file.readinto(data)
        expect(found == len(data), f"expected {len(data)} bytes of tensors", found)
        tensors = {}
        for name, info in header.tensors.items():
            dtype, high = ("<f4", 1) if info.dtype == "F32" else (index_type, len(names) - 1)
            tensors[name] = numpy.frombuffer(data[info.start : info.end], dtype=dtype)
            _check_range(name, tensors[name], high)
    except ValueError as error:
        raise WeightsError(f"{path} cannot be used as predictions", str(error), AGAIN) from error
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", explain(error)) from error
    return Outcomes(**tensors, class_names=names, origin=origin)


def _read_origin(table: Any, number: int) -> tuple[tuple[str, ...], OutcomeOrigin]:
    """Return the class names, and what the file says was predicted with what."""
    expect(isinstance(table, dict), "expected a table of what was predicted", table)
    for key in ("model", "dataset", "split"):
        expect(is_text(table.get(key)), f"{key}: expected a name", table.get(key))
    for key in ("digest", "weights"):
        value = table.get(key)
        good = value is None or (is_text(value) and SHA256_PATTERN.fullmatch(value))
        expect(good, f"{key}: expected a SHA-256", value)
    names = table.get("class_names")
    good = isinstance(names, list) and 2 <= len(names) <= MAX_CLASSES and all(map(is_text, names))
    expect(good, f"class_names: expected a list of 2 to {MAX_CLASSES} texts", names)
    known = {part.name: table.get(part.name) for part in fields(OutcomeOrigin) if part.name != "format"}
    return tuple(names), OutcomeOrigin(format=number, **known)


def _check_tensors(header: Header, num_classes: int) -> str:
    """Check names, dtypes and shapes; return the dtype of class indices."""
    index, index_type = ("U8", "u1") if num_classes <= SMALL else ("I32", "<i4")
    forms = {"targets": index, "predictions": index, "target_probabilities": "F32", "probabilities": "F32"}
    expect(header.tensors.keys() == forms.keys(), f"expected the tensors {', '.join(forms)}", list(header.tensors))
    samples = header.tensors["targets"].shape
    expect(len(samples) == 1 and samples[0] > 0, "targets: expected at least one sample", list(samples))
    for name, dtype in forms.items():
        info = header.tensors[name]
        expect(info.dtype == dtype, f"{name}: expected {dtype}", info.dtype)
        expect(info.shape == samples, f"{name}: expected the shape {list(samples)}", list(info.shape))
    return index_type


def _check_range(name: str, values: NDArray[Any], high: int) -> None:
    good = (values >= 0) & (values <= high)  # both are false for NaN
    if not bool(good.all()):
        sample = int((~good).nonzero()[0][0])
        raise ValueError(f"{name}: expected 0 to {high} for sample {sample}, got {values[sample].item()}")
