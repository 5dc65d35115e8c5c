"""`zoo check`: one model on one data set, looked at before anybody waits for its training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from zoo.checks.base import Check, Fault, run_checks
from zoo.checks.combination.estimates import estimate
from zoo.checks.combination.subject import CombinationSubject, make_subject
from zoo.checks.combination.trial import check_overfit, compare_without
from zoo.checks.model.activations import find_clamp, is_pooled, perturb
from zoo.checks.model.contract import check_builds, check_logits
from zoo.checks.model.running import check_batch
from zoo.checks.model.training import check_frozen, check_gradients, describe_clamp, describe_mend
from zoo.checks.source import find_creation, find_definition, find_line
from zoo.data.splits import count_samples
from zoo.errors import ZooError
from zoo.models.device import use_seed, use_threads
from zoo.registry.certificates import Finding
from zoo.registry.entries import Registry
from zoo.registry.keywords import Settings
from zoo.registry.places import open_places
from zoo.training.plan import Wanted, make_plan
from zoo.training.setup import build_metrics


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What `zoo check` says of a combination: findings, and what training it will take.

    `estimates` are numbers: parameters, trainable, flop_per_sample (forward), memory_bytes (parameters, gradients,
    optimizer, what a batch keeps for the backward pass), step_seconds, and epoch_seconds where the size is known.
    """

    model: str
    dataset: str
    data: str
    findings: list[Finding]
    estimates: dict[str, float]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(found.status != "failed" for found in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        return {**asdict(self), "passed": self.passed}


def check(
    model: str | None = None,
    dataset: str | None = None,
    *,
    metrics: str | Sequence[str] = ("accuracy",),
    params: Mapping[str, Any] | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    overfit: bool = False,
    data_dir: str | Path | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    **settings: Unpack[Settings],
) -> Diagnosis:
    """Look at a model on a data set before training, with the settings that the training would have.

    Nothing is fetched: where the data set's files are not in `data_dir`, random inputs of its declared shape take their
    place. With `overfit` the model must learn one batch by heart. Other arguments are those of `run`.

    Raises:
        UsageError: unknown names, params or settings, or images that the model does not take.
        DataError, PluginError: the data set cannot be used.
    """
    places = open_places(registry, plugins, data_dir=data_dir)
    wanted = Wanted(
        model=model or "baseline",
        dataset=dataset or "shapes",
        metrics=[metrics] if isinstance(metrics, str) else list(dict.fromkeys(metrics)),
        params=params or {},
        dataset_params=dataset_params or {},
        metric_params=metric_params or {},
        settings=settings,
    )
    plan = make_plan(wanted, places.registry)
    with use_seed(plan.config.seed), use_threads(plan.config.threads or 1):
        subject, data = make_subject(plan, places.data_dir)
        checks = {**COMBINATION_CHECKS, **({"overfit": check_overfit} if overfit else {})}
        findings = list(run_checks(checks, subject, gates=GATES, find_line=find_line))
        failed = {found.check for found in findings if found.status == "failed"}
        estimates = {} if failed & {*GATES, "normalisation"} else estimate(subject)
    return Diagnosis(
        model=plan.model.name, dataset=plan.dataset.name, data=data, findings=findings, estimates=estimates
    )


def check_normalisation(subject: CombinationSubject) -> str:
    """Batches are large enough for what normalises over them.

    Batch normalisation has no variance for one sample: such a step fails, or where a map has several places, learns
    from the noise of a single image.
    """
    layers = [m for m in subject.build().modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    size = subject.plan.config.batch_size
    if subject.splits is not None:
        size = min(size, count_samples(subject.splits.train))
    if layers and size == 1:
        seen = f"{len(layers)} layers of batch normalisation, and batches of 1"
        raise Fault(seen, "Give --batch-size 2 or more, or use GroupNorm", find_creation(layers[0]))
    return f"{len(layers)} layers normalise over batches of {size}" if layers else "nothing normalises over the batch"


def check_activation(subject: CombinationSubject) -> str:
    """Nothing after the last layer keeps the logits from being free.

    Cross-entropy takes logits, any numbers. After a ReLU no logit falls below 0, and a class that sits at 0 for every
    sample gets no gradient: it is never predicted again. After softmax, sigmoid or tanh the loss cannot fall below a
    floor. Where the activation is a layer of its own, training is tried with and without it.
    """
    model = subject.build(seed=subject.plan.config.seed)
    inputs = subject.inputs(64)
    perturb(model)
    clamp = find_clamp(model, inputs)
    if clamp is None:
        return "the logits follow the last layer in both directions"
    seen = describe_clamp(clamp)
    if clamp.module is not None:
        path = next(name for name, module in model.named_modules() if module is clamp.module)
        seen += compare_without(subject, path)
    where = clamp.where or find_definition(type(model))
    raise Fault(seen, describe_mend(clamp), where, "warning" if is_pooled(model, inputs) else "failed")


def check_start(subject: CombinationSubject) -> str:
    """An untrained model does about as well as guessing.

    Its loss is then the logarithm of the number of classes. A multiple of it means inputs or initial weights out of
    scale, and lost epochs; much less means that the model knows the answers. Between half and twice that is usual.
    """
    inputs, targets = subject.images.clone(), subject.labels
    model = subject.build(seed=subject.plan.config.seed)
    with torch.no_grad():
        # In training mode: running statistics mean nothing yet.
        loss = float(nn.functional.cross_entropy(model.train()(inputs), targets))
    guess = math.log(subject.classes)
    seen = f"loss {loss:.3f} at the start, ln({subject.classes}) = {guess:.3f}"
    if not guess / 2 <= loss <= 2 * guess:
        fix = "Look at the scale of the inputs and at how the last layer is initialised"
        raise Fault(seen, fix, find_definition(type(model)), "warning")
    return seen


def check_metrics(subject: CombinationSubject) -> str:
    """The metrics of the run give numbers for these classes.

    A metric that fails would do so after the first epoch.
    """
    try:
        metrics = build_metrics(subject.plan, subject.classes)
    except ZooError as error:
        raise Fault(str(error), "Mend the metric, or choose another with --metric") from error
    return ", ".join(metrics) or "none"


GATES = ("builds", "logits")
COMBINATION_CHECKS: Mapping[str, Check[Any]] = {
    "builds": check_builds,
    "logits": check_logits,
    "normalisation": check_normalisation,
    "gradients": check_gradients,
    "frozen": check_frozen,
    "activation": check_activation,
    "batch": check_batch,
    "start": check_start,
    "metrics": check_metrics,
}
"""The checks in their order; after a failed one of GATES the rest makes no sense."""
