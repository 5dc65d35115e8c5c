"""`zoo check`: one model on one data set, looked at before anybody waits for its training."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import nn

from zoo.checks.base import Check, Fault, Skip, run_checks
from zoo.checks.combination.estimates import estimate
from zoo.checks.combination.subject import CombinationSubject, make_subject
from zoo.checks.combination.tuning import Tuning
from zoo.checks.combination.tuning import tune as find_tuning
from zoo.checks.model.contract import check_builds, check_logits
from zoo.checks.model.layers import find_creation
from zoo.checks.model.running import check_batch
from zoo.checks.model.training import check_activation, check_frozen, check_gradients
from zoo.checks.source import find_definition
from zoo.data.splits import count_samples
from zoo.display import make_table, say
from zoo.errors import ZooError
from zoo.models.device import use_seed, use_threads
from zoo.registry.arguments import checked
from zoo.registry.certificates import Finding
from zoo.registry.entries import Registry
from zoo.registry.keywords import Settings
from zoo.registry.places import open_places
from zoo.training.blame import blame_plugin
from zoo.training.objective import check_count, make_objective
from zoo.training.plan import Wanted
from zoo.training.request import make_request
from zoo.training.setup import build_metrics
from zoo.training.sources import gather
from zoo.training.step import TrainStep

OVERFIT_STEPS, OVERFIT_SECONDS = 500, 30.0
"""Limits of `--overfit`: optimizer steps at each learning rate, and seconds for both."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Diagnosis:
    """What `zoo check` says of a combination: findings, and what its training will take.

    `data` says in words which inputs were used. `estimates` are numbers: parameters, trainable, flop_per_sample
    (forward); memory_bytes, what the training needs on its device, and its parts: model_bytes (with the copies of it
    that a run keeps), gradient_bytes, optimizer_bytes, activation_bytes (what a batch keeps for the backward pass) and
    data_bytes; peak_bytes, the most that the process had meanwhile, on a GPU that of tensors, where the system says so;
    step_seconds, with the reading of the batch; and where the size of the data set is known epoch_seconds, of the
    training, and evaluation_seconds, of the evaluation after an epoch, both with the start of their workers. Where
    `processes` are to train together, they are those of one of them, and sum_seconds is the part of a step in which
    they add up their gradients, where that can be measured: on CPUs, as many ranks as this machine bears. They are
    empty where a failed check rules out training.

    `tuning` has the learning rate and the batch size that were found, where they were asked for.
    """

    model: str
    plugin: str
    dataset: str
    data: str
    findings: list[Finding]
    estimates: dict[str, float]
    tuning: Tuning | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(found.status != "failed" for found in self.findings)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON data."""
        told = asdict(self)
        if self.tuning is None:
            del told["tuning"]
        return {**told, "passed": self.passed}

    def __repr__(self) -> str:
        failed = [found.check for found in self.findings if found.status == "failed"]
        told = f"failed: {', '.join(failed)}" if failed else f"passed, {len(self.findings)} checks"
        return say("Diagnosis", f"{self.model} on {self.dataset}", told)

    def _repr_html_(self) -> str:
        rows = [(found.check, found.status, found.seen, found.fix) for found in self.findings]
        return make_table(rows, ("check", "status", "seen", "fix"), caption=f"{self.model} on {self.dataset}", most=100)


@checked
def check(
    model: str | None = None,
    dataset: str | None = None,
    *,
    config: str | Path | None = None,
    recipe: str | None = None,
    metrics: str | Sequence[str] | None = None,
    params: Mapping[str, Any] | None = None,
    dataset_params: Mapping[str, Any] | None = None,
    metric_params: Mapping[str, Mapping[str, Any]] | None = None,
    overfit: bool = False,
    tune: bool = False,
    data_dir: str | Path | None = None,
    plugins: Sequence[str | Path | object] = (),
    registry: Registry | None = None,
    **settings: Unpack[Settings],
) -> Diagnosis:
    """Check a model on a data set before training, with the settings that the training would have.

    Nothing is fetched: where the data set's files are not in `data_dir`, random inputs of its declared shape take their
    place. With `overfit` the model must learn one batch by heart. With `tune`, for which the files must be here, a
    copy is trained with rising learning rates, and a rate and the largest batch are suggested. The other arguments are
    those of `run`; weights that a config file names give the names, and the model is looked at as it is built.

    Raises:
        UsageError: unknown names, params or settings, or images that the model does not take.
        DataError, PluginError: the data set cannot be used.
    """
    places = open_places(registry, plugins, data_dir=data_dir)
    given = Wanted(
        model=model,
        dataset=dataset,
        metrics=metrics,
        params=params,
        dataset_params=dataset_params,
        metric_params=metric_params,
        settings=settings,
    )
    wanted, places = gather(given, places, config, recipe)
    plan = make_request(wanted, places).plan
    with use_seed(plan.config.seed), use_threads(plan.config.threads), blame_plugin(plan.model, plan.dataset.name):
        subject = make_subject(plan, places.data_dir)
        checks = {**COMBINATION_CHECKS, **({"overfit": check_overfit} if overfit else {})}
        findings = list(run_checks(checks, subject, gates=GATES))
        failed = {finding.check for finding in findings if finding.status == "failed"}
        fit = not failed & {*GATES, "normalisation", "metrics", "loss"}
        estimates = estimate(subject) if fit else {}
        tuning = find_tuning(plan, places) if tune and fit else None
    model, dataset = plan.model.name, plan.dataset.name
    return Diagnosis(
        model=model,
        plugin=plan.model.plugin.name,
        dataset=dataset,
        data=subject.source,
        findings=findings,
        estimates=estimates,
        tuning=tuning,
    )


def check_normalisation(subject: CombinationSubject) -> str:
    """Batches are large enough for what normalises over them.

    Batch normalisation has no variance for one sample: such a step fails, or where a map has several places, learns
    from the noise of a single image.
    """
    layers = [layer for layer in subject.build().modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    size = subject.plan.config.batch_size
    if subject.splits is not None:
        size = min(size, count_samples(subject.splits.train))
    if layers and size == 1:
        seen = f"{len(layers)} layers of batch normalisation, and batches of 1"
        raise Fault(seen, "Give batch_size=2 or more, or use GroupNorm", find_creation(layers[0]))
    return f"{len(layers)} layers normalise over batches of {size}" if layers else "nothing normalises over the batch"


def check_start(subject: CombinationSubject) -> str:
    """An untrained model does about as well as guessing.

    Its loss is then the logarithm of the number of classes. A multiple of it means inputs or initial weights out of
    scale, and lost epochs; much less means that the model knows the answers. Between half and twice that is usual.
    """
    inputs, targets = subject.images.clone(), subject.labels
    model = subject.build(seed=subject.plan.config.seed)
    with torch.no_grad():
        # In training mode, because the running statistics of an untrained model mean nothing.
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
        raise Fault(str(error), "Mend the metric, or choose another with metrics=...") from error
    return ", ".join(metrics) or "none"


def check_loss(subject: CombinationSubject) -> str:
    """What the run minimises can be minimised for these classes.

    A loss of a plugin is tried on a few predictions; the numbers of class weights are those of the classes. Balanced
    ones are not counted here, since that may mean to read every sample.
    """
    plan = subject.plan
    weights = plan.config.class_weights
    try:
        if isinstance(weights, tuple):
            check_count(plan.config, subject.classes)
        found = torch.tensor(weights) if isinstance(weights, tuple) else None
        params = plan.config.loss_params or {}
        make_objective(plan.loss, params, found, plan.model.spec.aux_weights, subject.classes, plan.device)
    except ZooError as error:
        raise Fault(str(error), "Mend the loss, or choose another with loss=...") from error
    return plan.config.loss


def check_overfit(subject: CombinationSubject) -> str:
    """It can learn one batch by heart.

    A model that cannot do that has a fault in itself, not in its data. Adam, at most 500 steps each with rates of 0.001
    and 0.01, must get all of the batch right with a tenth of the loss of guessing. Skipped where that takes more than
    30 seconds.
    """
    inputs, targets = subject.batch()
    goal, best, hits = math.log(subject.classes) / 10, math.inf, 0
    started = time.thread_time()  # whatever else the machine does meanwhile, and however many cores it has
    for lr in (1e-3, 1e-2):
        model = subject.build(seed=subject.plan.config.seed)
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        step = TrainStep(model.train(), nn.functional.cross_entropy, torch.optim.Adam(parameters, lr=lr, foreach=False))
        for count in range(1, OVERFIT_STEPS + 1):
            loss = float(step(inputs, targets))
            best = min(best, loss)
            if loss < goal or count == OVERFIT_STEPS:
                with torch.no_grad():
                    hits = max(hits, int((model(inputs).argmax(dim=1) == targets).sum()))
                if hits == len(targets):
                    return f"all {hits} samples of a batch right, loss {loss:.3f}, after {count} steps"
            if time.thread_time() - started > OVERFIT_SECONDS:
                seen = f"the loss was {best:.3f} at best"
                raise Skip(f"{count} steps with a rate of {lr:g} took {OVERFIT_SECONDS:g} s; {seen}")
    fix = "Train it by hand on this batch and look where the gradients vanish"
    seen = f"at best {hits} of the {len(targets)} samples of a batch right, loss {best:.3f}"
    raise Fault(seen, fix, find_definition(type(model)))


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
    "loss": check_loss,
}
"""The checks in their order; when one of GATES fails, the checks after it are not tried."""
