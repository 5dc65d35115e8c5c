"""Row: what a comparison tells of one result."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

from zoo.display import say_device
from zoo.records.header import read_header
from zoo.results.reading import Result, require_outcomes
from zoo.results.significance import wilson_interval
from zoo.training.course import average_over_batches


@dataclass(frozen=True, kw_only=True)
class Row:
    """One result.

    Fields:
        name: unique in its comparison.
        weights, run: the file, and the folder of its run where it lies in one.
        model, dataset, seed: what was trained; None where the file does not say.
        parameters: those of the model as its run counted them, else the values in the file, buffers included.
        size: of the file, in bytes.
        correct, samples, accuracy: right predictions on the test split, of how many, and their share from 0 to 1.
        low, high: the 95 % Wilson interval of `accuracy`.
        course_accuracy: the mean over batches of 32 samples of each batch's own accuracy.
        training_seconds: of all epochs, without the evaluations; None where no run says it.
        prediction_seconds: one sample's share of the run's last evaluation; None likewise.
        timing: where the two times were measured, or why they are not known.
        status: what became of the run, `finished` or another word of `RunRecord`; None where no run says it.
        split, digest: of the samples that were scored; the digest is None where it is not known.
    """

    name: str
    weights: Path
    run: Path | None
    model: str
    dataset: str | None
    seed: int | None
    parameters: int
    size: int
    correct: int
    samples: int
    accuracy: float
    low: float
    high: float
    course_accuracy: float
    training_seconds: float | None
    prediction_seconds: float | None
    timing: str
    status: str | None
    split: str
    digest: str | None


def make_row(result: Result) -> Row:
    """Return the row of a result that was read with its outcomes."""
    outcomes, metadata, header = require_outcomes(result), result.weights_metadata, read_header(result.weights)
    samples, correct = len(outcomes), int(outcomes.hits.sum())
    low, high = wilson_interval(correct, samples)
    values = sum(prod(tensor.shape) for tensor in header.tensors.values())
    parameters = result.run_record.parameters if result.run_record else None
    training, prediction, timing = _find_times(result, samples)
    return Row(
        name=result.name,
        weights=result.weights,
        run=result.run,
        model=metadata.model,
        dataset=metadata.dataset.name if metadata.dataset else None,
        seed=metadata.seed,
        parameters=values if parameters is None else parameters,
        size=header.size,
        correct=correct,
        samples=samples,
        accuracy=correct / samples,
        low=low,
        high=high,
        course_accuracy=average_over_batches(outcomes.hits),
        training_seconds=training,
        prediction_seconds=prediction,
        timing=timing,
        status=result.run_record.status if result.run_record else None,
        split=outcomes.origin.split,
        digest=outcomes.origin.digest,
    )


def _find_times(result: Result, samples: int) -> tuple[float | None, float | None, str]:
    """Return the seconds of the training, those of one prediction, and where they come from."""
    record = result.run_record
    if record is None:
        return None, None, "not known: the weights lie in no run folder"
    history = record.history
    if not history:
        return None, None, "not known: the run trained for no epoch"
    training = [epoch["seconds"]["train"] for epoch in history if "train" in epoch["seconds"]]
    prediction = history[-1]["seconds"].get("test")  # that of a validation split is of other samples
    where = record.device_name or record.device or "a device not recorded"
    where = say_device(where, record.threads, record.train_config)
    return (
        sum(training) if len(training) == len(history) else None,
        None if prediction is None else prediction / samples,
        f"measured by the run, prediction in its last evaluation: {where}",
    )
