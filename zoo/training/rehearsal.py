"""Rehearsal: what could fail late in a training is tried before its first step, in memory.

The first batch of every split is read, the model runs in training mode, and its weights are saved, read again and
proved. A second model, built as whoever loads the weights will build it, takes what could change the one to be trained.
What is read and measured of the data on the way is what the weights file says at the end.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.data.splits import count_samples
from zoo.errors import DataError, DryRunError, SettingError, WeightsError, ZooError, describe, is_out_of_memory, quote
from zoo.models.device import use_seed
from zoo.models.golden import TOLERANCE, check_golden, make_golden
from zoo.models.probe import check_model, check_training_pass
from zoo.models.saving import OUTSIDE, SampleFacts, measure_samples, on_cpu
from zoo.models.weights import check_finite, list_tensors, load_tensors, make_header, rebuild_model
from zoo.records.header import parse_header
from zoo.records.metadata import GoldenSamples, WeightsMetadata, read_metadata
from zoo.records.plain import to_json_data
from zoo.records.runs import RunRecord
from zoo.registry.entries import Registry
from zoo.training.metrics import check_metrics
from zoo.training.plan import Plan
from zoo.training.precision import use_precision
from zoo.training.setup import Preparation

log = logging.getLogger("zoo")

TRIED = 4
"""Samples of a batch that the model is tried on; more would only take longer."""
HERE = Path("the weights")
"""What errors call the file that is not written yet."""


@dataclass(frozen=True, kw_only=True)
class Rehearsal:
    """What a rehearsal found out.

    Fields:
        facts: What the weights file says of the data.
        provable: Whether the weights can be saved with golden samples.
        size: Bytes that the weights file will have.
        predictions: Bytes that the file of the predictions will have at most.
    """

    facts: SampleFacts
    provable: bool
    size: int
    predictions: int


def rehearse(plan: Plan, ready: Preparation, record: RunRecord) -> Rehearsal:
    """Try what a run will do late; the random state of the process and the model to be trained stay as they are.

    Raises:
        DataError: a split cannot be read, or says something that no weights file can hold.
        DryRunError, PluginError: the model fails on real data, changes its parameters in forward, or cannot be rebuilt
            from its weights.
    """
    with use_seed(plan.config.seed):
        with plan.dataset.plugin.guarded("while a sample was read"):
            first = {name: _read_first(plan, name, batches) for name, batches in ready.batches.items()}
            facts = _measure(plan, ready)
        with plan.model.plugin.guarded("while the model was tried before the training"):
            names = {"name": plan.model.name, "dataset": plan.dataset.name}
            for name in first.keys() - {"train"}:
                check_model(ready.model, first[name], **names, num_classes=len(ready.splits.class_names))
            golden, problem = make_samples(ready, facts)
            scores = check_metrics(ready.metrics, len(ready.splits.class_names), plan.device)
            if ready.choice is not None and ready.choice.monitor not in ("loss", *scores):
                known = ", ".join(["loss", *scores])
                raise SettingError("monitor", f"must be a score of this run, {known}", ready.choice.monitor)
            record = replace(record, metrics={"loss": 0.0, **scores})
            try:
                metadata, size = _rehearse_file(plan, ready, describe_weights(HERE, record, ready, facts, golden))
            except WeightsError as error:
                needed, got = "weights that can be saved and read again", f"an error: {error}"
                raise DryRunError(plan.model.name, plan.dataset.name, needed, got) from error
            twin = _rebuild(plan, ready.model, metadata)
            twin.to(plan.device)
            with use_precision(plan.config.precision, plan.device):
                check_training_pass(twin, first["train"], **names, aux_weights=plan.model.spec.aux_weights)
            # What the pass changed in the state dict is put back, so whatever else differs now would be lost in a file.
            _load(plan, twin.cpu(), ready.model)
            if golden is not None and not problem:
                problem = _find_difference(ready, facts, metadata, twin)
    if problem:
        log.warning("model %s: %s. Its weights will be saved without golden samples", plan.model.name, problem)
    samples = count_samples(ready.splits.test)
    return Rehearsal(facts=facts, provable=not problem, size=size, predictions=16 * samples)


def _measure(plan: Plan, ready: Preparation) -> SampleFacts:
    try:
        return measure_samples(ready.preprocess, ready.splits.train, ready.splits.validation or ready.splits.test)
    except DataError as error:
        name = f"dataset {quote(plan.dataset.name)}"
        if error.what.startswith(name):
            raise
        raise DataError(f"{name}: {error.what}", error.why, error.fix) from error


def _read_first(plan: Plan, split: str, batches: Any) -> Tensor:
    """Return a few inputs `(N, *input_shape)` of a split's first batch, which is read in this process."""
    try:
        inputs: Tensor = batches.first()[0]
    except ZooError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        what = f"dataset {quote(plan.dataset.name)}: the first batch of {split} cannot be read"
        raise DataError(what, describe(error)) from error
    return inputs[:TRIED]


def describe_weights(
    path: Path, record: RunRecord, ready: Preparation, facts: SampleFacts, golden: GoldenSamples | None
) -> WeightsMetadata:
    """Return what a weights file says of the run it comes from; raise WeightsError for what no file can say."""
    table = {key: getattr(record, key) for key in RUN_FACTS}
    table |= {"input_shape": ready.input_shape, "class_names": list(ready.splits.class_names)}
    table |= {"preprocess": ready.preprocess, "image": facts.image, "statistics": facts.statistics, "golden": golden}
    return read_metadata(path, to_json_data(table))


RUN_FACTS = (
    *("model", "plugin", "params", "dataset", "metrics", "train_config", "seed", "device", "threads", "versions"),
    *("recipe", "init", "frozen"),
)
"""What the weights file of a run says as its record does."""


def make_samples(ready: Preparation, facts: SampleFacts) -> tuple[GoldenSamples | None, str]:
    """Return golden samples of the model as it is, or None and why there are none."""
    names = list(ready.splits.class_names)
    try:
        made = on_cpu(ready.model, lambda: make_golden(ready.model, ready.preprocess, facts.images, names))
    except Exception as error:
        if is_out_of_memory(error):
            raise
        return None, f"on the CPU, where golden samples are replayed, it fails ({describe(error)})"
    # Before the training a model may give what is not finite for some images, and afterwards for none.
    good = made is not None and all(isfinite(value) for row in made.probabilities for value in row)
    return made if good else None, ""


def _rehearse_file(plan: Plan, ready: Preparation, metadata: WeightsMetadata) -> tuple[WeightsMetadata, int]:
    """Return the metadata as they are read from the file that would be written, and its size in bytes."""
    try:
        data = list_tensors(HERE, ready.model)
    except WeightsError as error:
        what = f"the weights of model {quote(plan.model.name)} cannot be saved"
        raise plan.model.plugin.broken(what, error.why, "Keep nothing but tensors in its state dict") from error
    header = make_header(data, metadata.to_json())
    size = len(header) + sum(raw.nbytes for *_, raw in data)
    return read_metadata(HERE, parse_header(HERE, header[8:], size).metadata), size


def _rebuild(plan: Plan, model: nn.Module, metadata: WeightsMetadata) -> nn.Module:
    """Build the model again as whoever loads its weights will, and give it the state of the first one."""
    size = sum(tensor.nbytes for tensor in model.state_dict().values())
    try:
        twin = rebuild_model(HERE, metadata, Registry([plan.model.plugin]), size=size)
    except WeightsError as error:
        raise _cannot_rebuild(plan, error) from error
    _load(plan, twin, model)
    return twin


def _load(plan: Plan, twin: nn.Module, model: nn.Module) -> None:
    state = {name: value.detach().to("cpu", copy=True) for name, value in model.state_dict().items()}
    try:
        check_finite(HERE, state)
        load_tensors(HERE, twin, state)
    except WeightsError as error:
        raise _cannot_rebuild(plan, error) from error


def _cannot_rebuild(plan: Plan, error: WeightsError) -> ZooError:
    what = f"model {quote(plan.model.name)} cannot be rebuilt from its weights"
    fix = "Build all parameters and buffers in __init__, from input_shape, num_classes and params alone"
    return plan.model.plugin.broken(what, f"{error.what}: {error.why}", fix)


def _find_difference(ready: Preparation, facts: SampleFacts, metadata: WeightsMetadata, twin: nn.Module) -> str:
    """Return why a model rebuilt from the file gives other predictions than the one saved; "" when it does not."""
    try:
        check_golden(HERE, twin.eval(), metadata)
    except WeightsError:
        names = list(ready.splits.class_names)
        with use_seed(0):
            again = on_cpu(ready.model, lambda: make_golden(ready.model, ready.preprocess, facts.images, names))
        if _differ(metadata.golden, again):
            return "it gives other predictions each time for the same images, so it is random in eval mode"
        return f"it {OUTSIDE}, which is lost when it is saved"
    return ""


def _differ(one: GoldenSamples | None, other: GoldenSamples | None) -> bool:
    if one is None or other is None:
        return False
    rows, others = torch.tensor(one.probabilities), torch.tensor(other.probabilities)
    return bool((rows - others).abs().max() > TOLERANCE)
