"""A combination to check: a model, and inputs of the data set that it is to be trained on."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from zoo.checks.model.subject import SAMPLES, ModelSubject
from zoo.data.batches import BatchSettings, make_batches
from zoo.data.splits import DataSplits, Split, count_samples, find_input_shape
from zoo.errors import DownloadError, UsageError, quote
from zoo.registry.compatibility import adapt_preprocess, show_shape
from zoo.registry.preprocess import Preprocess
from zoo.training.plan import Plan
from zoo.training.setup import check_claims, load_splits

LOOKED_AT = 256
"""Training samples that are looked at."""


@dataclass(kw_only=True)
class CombinationSubject(ModelSubject):
    """A model on a data set: the model's checks see inputs of that very data set."""

    plan: Plan
    images: Tensor
    labels: Tensor
    splits: DataSplits | None = None
    preprocess: Preprocess = field(default_factory=Preprocess)

    def inputs(self, samples: int = SAMPLES, case: int = 0, seed: int = 0) -> Tensor:
        """Return inputs of the data set, other ones for another seed."""
        start = seed * samples % max(1, len(self.images) - samples)
        chosen = self.images[start : start + samples]
        return chosen.repeat(-(-samples // len(chosen)), *[1] * (chosen.ndim - 1))[:samples].clone()

    @property
    def classes(self) -> int:
        """The number of classes."""
        return self.cases[0][1]

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return one training batch."""
        size = min(self.plan.config.batch_size, len(self.images))
        return self.images[:size].clone(), self.labels[:size]


def make_subject(plan: Plan, root: Path) -> tuple[CombinationSubject, str]:
    """Return what is looked at, and in words which data that are."""
    spec = plan.dataset.spec
    try:
        splits = load_splits(plan, root, offline=True)
    except DownloadError as error:
        if spec.input_shape is None or spec.num_classes is None:
            fix = f"Fetch it first: zoo.fetch({plan.dataset.name!r})"
            raise UsageError(
                f"dataset {quote(plan.dataset.name)} declares no shape, and its files are not here", fix=fix
            ) from error
        preprocess, _ = adapt_preprocess(plan.model.spec, plan.dataset.name, spec.input_shape, Preprocess())
        shape = preprocess.output_shape(spec.input_shape)
        generator = torch.Generator().manual_seed(plan.config.seed)
        images = torch.rand(LOOKED_AT, *shape, generator=generator)
        labels = torch.arange(LOOKED_AT) % spec.num_classes
        cases = [(shape, spec.num_classes)]
        subject = CombinationSubject(
            entry=plan.model, cases=cases, params=plan.params, plan=plan, images=images, labels=labels
        )
        return subject, f"random inputs of {show_shape(shape)}: the files of {plan.dataset.name} are not here"
    raw = find_input_shape(plan.dataset.name, splits)
    check_claims(plan, splits, raw)
    declared = splits.preprocess or Preprocess()
    preprocess, _ = adapt_preprocess(plan.model.spec, plan.dataset.name, raw, declared)
    images, labels = read_inputs(plan, splits, splits.train, preprocess, raw, LOOKED_AT)
    subject = CombinationSubject(
        entry=plan.model,
        cases=[(preprocess.output_shape(raw), len(splits.class_names))],
        params=plan.params,
        plan=plan,
        images=images,
        labels=labels,
        splits=splits,
        preprocess=preprocess,
    )
    return subject, f"{len(images)} training samples of {show_shape(subject.cases[0][0])}"


def read_inputs(
    plan: Plan, splits: DataSplits, split: Split, preprocess: Preprocess, raw: tuple[int, ...], count: int
) -> tuple[Tensor, Tensor]:
    """Return inputs and targets of a split's first samples in the order of the first epoch."""
    batches = make_batches(
        split,
        preprocess,
        BatchSettings(
            batch_size=min(64, count_samples(split)), device=torch.device("cpu"), shuffle_seed=plan.config.seed
        ),
        name=plan.dataset.name,
        num_classes=len(splits.class_names),
        image_shape=raw,
    )
    parts = list(islice(batches.epoch(0), max(1, count // 64)))
    return torch.cat([inputs for inputs, _ in parts]), torch.cat([targets for _, targets in parts])
