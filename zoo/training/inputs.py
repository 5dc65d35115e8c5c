"""Inputs: the batches of a plan, for training and for evaluation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from zoo.data.batch import Batches, BatchSettings
from zoo.data.batches import make_batches
from zoo.data.dataset_batches import DatasetBatches
from zoo.data.overlap import find_overlaps
from zoo.data.shards import find_shards
from zoo.data.shared import choose_workers
from zoo.data.splits import DataSplits, Split, count_samples
from zoo.data.streams import StreamBatches, refuse_stream
from zoo.data.survey import find_files
from zoo.data.validation import read_targets
from zoo.errors import DataError, quote
from zoo.limits import BATCH_VALUES
from zoo.registry.preprocess import Preprocess
from zoo.training.augmentation import find_augment
from zoo.training.group import Group
from zoo.training.plan import Plan

log = logging.getLogger("zoo")

MAX_TEST_BATCH = 256
TEST_BATCH_VALUES = 1 << 20
"""Evaluation keeps no activations for a backward pass, so its batches may be larger than those of training: up to 256
samples or a million values, whichever is less; beyond that the activations of a convolution leave a processor's cache,
and tinyvgg takes half as long again. Neither counts nor losses depend on it, so batches of huge images are
smaller than those of training."""


def warn_of_overlaps(
    plan: Plan, splits: DataSplits, batches: Mapping[str, Batches] | None = None, group: Group | None = None
) -> None:
    """Say how many images of a split are in another: of those in memory, or of those read in passing by `batches`.

    Of several ranks, a `group`, each has read its part.
    """
    passed = None
    if batches is not None:
        read = {name: each for name, each in batches.items() if isinstance(each, DatasetBatches | StreamBatches)}
        passed = {name: torch.cat([torch.empty(0, dtype=torch.int64), *each.hashes]) for name, each in read.items()}
        if group is not None:  # a stream is read whole by each
            parts = {name: rows for name, rows in passed.items() if isinstance(read[name], DatasetBatches)}
            passed |= {name: group.join(rows) for name, rows in parts.items()}
        passed = {name: hashes for name, hashes in passed.items() if len(hashes)}
    for told in find_overlaps(splits, passed):
        log.warning("dataset %s: %s", quote(plan.dataset.name), told)


def make_train_batches(
    plan: Plan, splits: DataSplits, model: nn.Module, preprocess: Preprocess, raw_shape: tuple[int, ...]
) -> Batches:
    """Return the batches that the model is trained on, shuffled by the seed.

    Raises:
        DataError: a batch of one sample, and a model that normalises over the batch.
        UsageError: the split is a stream, and something is asked for that needs all of its samples at hand.
    """
    config, samples = plan.config, count_samples(splits.train)
    name = quote(plan.dataset.name)
    # Batch normalisation fails on a batch of one sample, which has no variance.
    normalised = any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules())
    least = 2 * plan.ranks.count if normalised else 1
    if min(samples, config.batch_size) < least:
        what = f"model {quote(plan.model.name)} normalises over the batch"
        if plan.ranks.are_several:
            why = f"a batch of {min(samples, config.batch_size)} leaves one of {plan.ranks.count} ranks less than two"
            fix = f"Use batch_size={least} or more" if samples >= least else "Use fewer processes, or more samples"
            raise DataError(what, f"{why}, and one sample has no variance", fix)
        raise DataError(what, "a training batch of one sample has no variance")
    if 0 < samples % config.batch_size < least:
        rest = "one sample" if least == 2 else f"{samples % config.batch_size}, too few for {plan.ranks.count} ranks"
        log.info("the last training batch would hold %s; it joins the batch before", rest)
    if config.epochs and config.batch_size > samples:
        log.warning("dataset %s has %d training samples, so a batch holds %d", name, samples, samples)
    settings = _choose_settings(plan, config.batch_size, splits.train, raw_shape)
    settings = replace(settings, shuffle_seed=config.seed, least=least)
    settings = replace(settings, augment=find_augment(config))
    if config.balanced_sampling:
        why = "the classes of its samples cannot be looked up"
        refuse_stream(plan.dataset.name, splits.train, "balanced sampling", why, "Leave out balanced_sampling=...")
        settings = replace(settings, classes=torch.from_numpy(read_targets(splits.train)))
    return make_batches(splits.train, preprocess, settings, **_describe_samples(plan, splits, raw_shape))


def make_test_batches(
    plan: Plan, splits: DataSplits, split: Split, preprocess: Preprocess, raw_shape: tuple[int, ...]
) -> Batches:
    """Return the batches of one of the splits for evaluation, as large as is quick for each rank."""
    values = max(1, preprocess.count_values(raw_shape))
    ranks = plan.ranks
    asked = min(-(-plan.config.batch_size // ranks.count), BATCH_VALUES // values)
    size = max(1, asked, min(MAX_TEST_BATCH, TEST_BATCH_VALUES // values))
    settings = _choose_settings(plan, size * ranks.count, split, raw_shape)
    return make_batches(split, preprocess, settings, **_describe_samples(plan, splits, raw_shape))


def _choose_settings(plan: Plan, batch_size: int, split: Split, raw_shape: tuple[int, ...]) -> BatchSettings:
    """Return the settings of batches; picture files that are decoded in each epoch are read by all cores."""
    config, workers = plan.config, plan.config.workers
    if workers is None and (find_files(split) is not None or find_shards(split) is not None):
        workers = choose_workers(batch_size * torch.Size(raw_shape).numel(), plan.ranks.local_count)
    return BatchSettings(
        batch_size=batch_size,
        device=plan.device,
        loader_seed=config.seed,
        workers=workers or 0,
        channels_last=config.memory_format == "channels_last",
        ranks=plan.ranks,
    )


def _describe_samples(plan: Plan, splits: DataSplits, raw_shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": plan.dataset.name, "num_classes": len(splits.class_names), "image_shape": raw_shape}
