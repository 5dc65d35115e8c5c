"""A combination to check: a model, and inputs of the data set that it is to be trained on."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from zoo.checks.model.subject import SAMPLES, ModelSubject
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.data.fitted import fit_splits
from zoo.data.splits import DataSplits, count_samples, find_input_shape
from zoo.data.survey import survey
from zoo.errors import DownloadError, UsageError, quote
from zoo.registry.compatibility import adapt_preprocess, show_shape
from zoo.registry.preprocess import Preprocess
from zoo.training.plan import Plan
from zoo.training.setup import check_claims, load_splits

INSPECTED = 256
"""How many training samples the checks use; batches of 64 are read, so that it may be a few less."""


@dataclass(kw_only=True)
class CombinationSubject(ModelSubject):
    """A model on a data set: the model's checks get inputs of that very data set.

    `images` `(N, *input_shape)` and `labels` `(N,)` are training samples, or random where the files are not here;
    `splits` is None then. `source` says in words which of both it is. `preprocess` makes inputs of raw images
    `raw_shape`.
    """

    plan: Plan
    images: Tensor
    labels: Tensor
    source: str
    preprocess: Preprocess
    raw_shape: tuple[int, ...]
    splits: DataSplits | None = None

    def inputs(self, samples: int = SAMPLES, case: int = 0, seed: int = 0) -> Tensor:
        """Return inputs of the data set, other ones for another seed."""
        start = seed * samples % max(1, len(self.images) - samples)
        chosen = self.images[start : start + samples]
        return chosen.repeat(-(-samples // len(chosen)), *[1] * (chosen.ndim - 1))[:samples].clone()

    @property
    def activation_samples(self) -> int:
        """Samples that the check of the activation on the logits counts over."""
        return 64

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.cases[0][1]

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return one training batch."""
        size = min(self.plan.config.batch_size, len(self.images))
        return self.images[:size].clone(), self.labels[:size]


def make_subject(plan: Plan, root: Path) -> CombinationSubject:
    """Read training samples from the files under `root`, or make random ones of the declared shape.

    Raises:
        UsageError: the files are not there, and the data set declares no shape or number of classes.
        DataError, PluginError: the data set cannot be used.
    """
    name, spec = plan.dataset.name, plan.dataset.spec
    splits: DataSplits | None = None
    try:
        splits = load_splits(plan, root, offline=True)
    except DownloadError as error:
        if spec.input_shape is None or spec.num_classes is None:
            fix = f"Fetch it first: zoo.fetch({name!r})"
            raise UsageError(f"dataset {quote(name)} declares no shape, and its files are not here", fix=fix) from error
        raw, classes = spec.input_shape, spec.num_classes
    else:
        raw, classes = find_input_shape(name, splits), len(splits.class_names)
        check_claims(plan, splits, raw)
    declared = (splits and splits.preprocess) or Preprocess()
    preprocess, _ = adapt_preprocess(plan.model.spec, name, raw, declared, plan.config.input_size)
    if splits is not None:
        splits, raw = fit_splits(survey(name, splits, preprocess, raw), preprocess, raw)
    shape = preprocess.output_shape(raw)
    if splits is None:
        images = torch.rand(INSPECTED, *shape, generator=torch.Generator().manual_seed(plan.config.seed))
        labels = torch.arange(INSPECTED) % classes
        source = f"random inputs of {show_shape(shape)}: the files of {name} are not here"
    else:
        batch_size = min(64, count_samples(splits.train))
        settings = BatchSettings(batch_size=batch_size, device=torch.device("cpu"), shuffle_seed=plan.config.seed)
        batches = make_batches(splits.train, preprocess, settings, name=name, num_classes=classes, image_shape=raw)
        images, labels = map(torch.cat, zip(*islice(batches.epoch(0), INSPECTED // 64), strict=True))
        source = f"{len(images)} training samples of {show_shape(shape)}"
    cases = [(shape, classes)]
    return CombinationSubject(
        plan.model,
        plan.params,
        cases,
        plan=plan,
        images=images,
        labels=labels,
        source=source,
        preprocess=preprocess,
        raw_shape=raw,
        splits=splits,
    )
