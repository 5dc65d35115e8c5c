"""Setup: from a request to everything a training needs, each part checked before the next is built."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from zoo.data.batch import Batches
from zoo.data.fitted import fit_splits
from zoo.data.loading import find_false_claims, prepare_dataset
from zoo.data.splits import DataSplits, find_input_shape, hash_splits
from zoo.data.survey import survey
from zoo.data.validation import hold_back
from zoo.errors import quote
from zoo.models.device import choose_threads, use_seed
from zoo.models.flop import Work, count_work
from zoo.models.freezing import freeze
from zoo.models.head import find_head
from zoo.models.layout import MemoryFormat, choose_format, lay_model
from zoo.models.probe import check_model
from zoo.models.transfer import Transfer
from zoo.registry.compatibility import adapt_preprocess
from zoo.registry.factories import build_metric, build_model, refuse_params
from zoo.registry.metric import Metric
from zoo.registry.preprocess import Preprocess
from zoo.training import course
from zoo.training.choice import Choice, check_unvalidated, make_choice
from zoo.training.inputs import make_test_batches, make_train_batches, warn_of_overlaps
from zoo.training.metrics import check_metrics, move_metrics, share_counts
from zoo.training.objective import MeanLoss, find_class_weights, make_objective, name_objective
from zoo.training.plan import Plan, list_directions
from zoo.training.request import Request
from zoo.training.schedules import check_steps
from zoo.training.step import LossFunction

log = logging.getLogger("zoo")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """The parts of a training, on their device; `adapted` says what was done to the data to fit the model.

    `objective` is what is minimised. `choice` chooses the best epoch by the validation split; `digest` is that of the
    data before some was held back. `transfer` is what the model took from the file it starts from. `frozen` are the
    parameters that are not trained; those of them in `later` are from an epoch on. `head` are those that have a
    learning rate of their own. `threads` and `memory_format` are what was chosen where the settings leave it open.
    """

    splits: DataSplits
    preprocess: Preprocess
    adapted: list[str]
    input_shape: tuple[int, ...]
    model: nn.Module
    objective: LossFunction
    metrics: dict[str, Metric]
    threads: int
    memory_format: MemoryFormat
    train: Batches
    test: Batches
    validation: Batches | None
    choice: Choice | None
    digest: str | None
    transfer: Transfer | None
    frozen: list[str]
    later: list[str]
    head: list[str]

    @property
    def batches(self) -> dict[str, Batches]:
        """The batches of each split that there is."""
        found = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: batches for name, batches in found.items() if batches is not None}


def prepare(request: Request) -> Preparation:
    """Load the data, build model and metrics, and make the batches.

    The model is built right after seeding torch, then takes what fits of the request's pretrained weights; what is to
    be frozen is frozen. On return torch uses the number of threads chosen for the work.

    Raises:
        ZooError: the data cannot be had or used, a factory fails, or the model does not fit the data.
    """
    plan, pretrained = request.plan, request.pretrained
    splits = load_splits(plan, request.places.data_dir, offline=request.places.offline)
    raw_shape = find_input_shape(plan.dataset.name, splits)
    check_claims(plan, splits, raw_shape)
    choice = _find_choice(plan, splits)
    preprocess, adapted = _choose_preprocess(request, splits, raw_shape)
    splits = survey(plan.dataset.name, splits, preprocess, raw_shape)
    digest = hash_splits(splits)
    if plan.config.validation:
        splits = hold_back(plan.dataset.name, splits, plan.config.validation, plan.config.split_seed, digest)
    splits, raw_shape = fit_splits(splits, preprocess, raw_shape)
    warn_of_overlaps(plan, splits)
    input_shape = preprocess.output_shape(raw_shape)
    classes = len(splits.class_names)

    log.debug("building %s", plan.model.name)
    torch.manual_seed(plan.config.seed)
    with refuse_params(plan.given_params):
        model = build_model(plan.model, input_shape=input_shape, num_classes=classes, params=plan.params)
    transfer = None
    if pretrained is not None:
        transfer = pretrained.transfer_to(model, plan.model, plan.params, input_shape, splits.class_names)
    new = list(transfer.new) if transfer else []
    trainable = {name for name, each in model.named_parameters(remove_duplicate=False) if each.requires_grad}
    waits = plan.config.unfreeze_at is not None
    frozen_names = freeze(model, request.frozen, new=() if waits else new)
    # A parameter that the model itself does not train stays so.
    later = [name for name in frozen_names if name in trainable] if waits else []
    if pretrained is not None and transfer is not None:
        log.info("started from %s: %s", pretrained.path, transfer.describe(frozen_names))
    model.to(plan.device)
    zeros = torch.zeros(2, *input_shape, device=plan.device)
    check_model(model, zeros, name=plan.model.name, dataset=plan.dataset.name, num_classes=classes)
    head: list[str] = []
    if plan.config.head_lr is not None:
        with use_seed(plan.config.seed):
            head = find_head(model, zeros, new=new, later=later)
    plan, threads = settle_speed(plan, model, input_shape, trains=True)
    objective = build_objective(plan, splits)
    metrics = build_metrics(plan, classes)
    if plan.loss is not None:
        metrics[name_objective(plan.loss, plan.metrics)] = MeanLoss(objective)
    train = make_train_batches(plan, splits, model, preprocess, raw_shape)
    check_steps(plan.config, len(train))
    validation = None
    if splits.validation is not None:
        validation = make_test_batches(plan, splits, splits.validation, preprocess, raw_shape)
    return Preparation(
        splits=splits,
        preprocess=preprocess,
        adapted=adapted,
        input_shape=input_shape,
        model=model,
        objective=objective,
        metrics=metrics,
        threads=threads,
        memory_format=plan.config.memory_format,
        train=train,
        test=make_test_batches(plan, splits, splits.test, preprocess, raw_shape),
        validation=validation,
        choice=choice,
        digest=digest,
        transfer=transfer,
        frozen=frozen_names,
        later=later,
        head=head,
    )


def _choose_preprocess(
    request: Request, splits: DataSplits, raw_shape: tuple[int, ...]
) -> tuple[Preprocess, list[str]]:
    """Return how raw images become inputs of the model, and what was adapted, which is told.

    Raises:
        ZooError: what the data set gives does not fit the model, and cannot be made to.
    """
    plan, pretrained, spec = request.plan, request.pretrained, request.plan.model.spec
    declared = splits.preprocess or Preprocess()
    if pretrained is not None:
        declared = pretrained.choose_preprocess(plan.model, plan.dataset.name, splits, raw_shape, declared)
        if plan.config.input_size is None and pretrained.shows(plan.model, declared, raw_shape):
            spec = replace(spec, input_shape=pretrained.metadata.input_shape)
    preprocess, adapted = adapt_preprocess(spec, plan.dataset.name, raw_shape, declared, plan.config.input_size)
    for note in adapted:
        log.info("adapted the data to %s: %s", plan.model.name, note)
    return preprocess, adapted


def _find_choice(plan: Plan, splits: DataSplits) -> Choice | None:
    """Return what chooses the best epoch by the validation split, None without one; the errors are those of both."""
    if splits.validation is None and not plan.config.validation:
        check_unvalidated(plan.config)
        return None
    return make_choice(plan.config, name_objective(plan.loss, plan.metrics), list_directions(plan.metrics))


def build_objective(plan: Plan, splits: DataSplits) -> LossFunction:
    """Return what a plan minimises, on its device; the errors are those of `zoo.training.objective`."""
    return make_objective(
        plan.loss,
        plan.config.loss_params or {},
        find_class_weights(plan.config, splits, plan.dataset.name),
        plan.model.spec.aux_weights,
        len(splits.class_names),
        plan.device,
    )


def build_metrics(plan: Plan, num_classes: int) -> dict[str, Metric]:
    """Build the metrics of a plan on its device and try each; raise MetricError, PluginError or UsageError."""
    metrics: dict[str, Metric] = {}
    for name, entry in plan.metrics.items():
        with refuse_params(bool(plan.metric_params[name])):
            metrics[name] = build_metric(entry, num_classes=num_classes, params=plan.metric_params[name])
    if plan.course_style:
        metrics[course.NAME] = course.CourseStyle(plan.config.batch_size)
    move_metrics(metrics, plan.device)
    share_counts(metrics)
    check_metrics(metrics, num_classes, plan.device)
    return metrics


def settle_speed(plan: Plan, model: nn.Module, input_shape: tuple[int, ...], *, trains: bool) -> tuple[Plan, int]:
    """Choose the layout and the CPU threads for batches of a plan, where it leaves them open, and bring both about.

    Return the plan with the layout in place of `auto`, and the number of threads.
    """
    config, on_cpu = plan.config, plan.device.type == "cpu"
    work = count_work(model, input_shape, plan.device) if on_cpu else Work()
    samples = -(-config.batch_size // plan.ranks.count)
    threads = choose_threads(work, samples, config.threads, plan.ranks.local_count)
    torch.set_num_threads(threads)
    layout = choose_format(config.memory_format, model, input_shape, work, plan.device, trains=trains)
    lay_model(model, layout)
    return replace(plan, config=replace(config, memory_format=layout)), threads


def load_splits(plan: Plan, root: Path, *, offline: bool) -> DataSplits:
    """Fetch, load and check the data set of a plan; the errors are those of `prepare_dataset`."""
    return prepare_dataset(plan.dataset, root, plan.dataset_params, given=plan.given_dataset_params, offline=offline)


def check_claims(plan: Plan, splits: DataSplits, raw_shape: tuple[int, ...]) -> None:
    """Compare the data set's spec with what was loaded; params may change the data, so only without any."""
    if plan.given_dataset_params:
        return
    for false in find_false_claims(plan.dataset.spec, splits, raw_shape)[:1]:
        raise plan.dataset.plugin.broken(f"dataset {quote(plan.dataset.name)} is not what it declares", false)
