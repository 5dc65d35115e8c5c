"""The subject of a model's checks: its entry, what it is tried with, and the models that the checks share."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checks.model.activations import perturb
from zoo.checks.settings import read_generators, read_settings, restore_settings
from zoo.checks.source import find_definition, note_lines
from zoo.models.device import use_seed
from zoo.registry.entries import Entry
from zoo.registry.factories import build_model, load_factory
from zoo.registry.specs import ModelSpec

IMAGES = ((1, 28, 28), (3, 64, 48), (3, 32, 32))
"""Images tried where a model's pattern leaves the size open: one of them is not square."""

CLASSES = (10, 3, 2)
SAMPLES = 4
LARGE = 3 * 128 * 128
"""Values of an input from which a sample takes long, so that fewer are tried."""

TOLERANCE = 1e-4
"""How far two results of the same numbers may differ, as a share of the largest logit. Sums of a batch are added in
another order than those of one sample: on the models of zoo, torchvision and timm that made 1e-6 at most."""


@dataclass
class ModelSubject:
    """A model to check: its entry, and the shapes and numbers of classes it is tried with.

    Building takes most of the time that a large model's checks take, so they share what they do not spoil.
    """

    entry: Entry[ModelSpec]
    cases: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    params: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, str] = field(default_factory=dict, repr=False)
    """Settings of the process that building changed."""
    generators: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict, repr=False)
    """States of the generators after each build, by case and seed."""
    models: dict[int, nn.Module] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.cases:
            self.cases = list_cases(self.entry.spec.input_shape)

    def build(self, case: int = 0, seed: int = 0) -> nn.Module:
        """Build the model for one of the cases; settings of the process stay as they are."""
        shape, classes = self.cases[case]
        with use_seed(seed), note_lines():
            before = read_settings()
            try:
                return build_model(self.entry, input_shape=shape, num_classes=classes, params=self.params)
            finally:
                self.changed.update(restore_settings(before))
                self.generators[case, seed] = read_generators()

    def model(self, case: int = 0) -> nn.Module:
        """Return the model of a case, built once; its parameters stay as they were initialised."""
        if case not in self.models:
            self.models[case] = self.build(case, seed=case)
        return self.models[case]

    @cached_property
    def again(self) -> nn.Module:
        """The model of the first case, built once more under the same seed."""
        return self.build()

    @cached_property
    def twin(self) -> nn.Module:
        """The like of `again`; `noisy` becomes of it."""
        return self.build()

    @cached_property
    def other(self) -> nn.Module:
        """The model of the first case, built under another seed."""
        return self.build(seed=1)

    @cached_property
    def noisy(self) -> nn.Module:
        """A model with noise on all parameters: values that start at zero would hide what comes before them."""
        perturb(self.twin)
        return self.twin

    @property
    def samples(self) -> int:
        """The samples of a batch: fewer of those that take long, but enough for a variance that is not 1 or 0."""
        return 3 if self.is_large else SAMPLES

    @property
    def few(self) -> int:
        """The samples of a batch that no gradient is taken of."""
        return 2 if self.is_large else SAMPLES

    @property
    def is_large(self) -> bool:
        """Whether a sample takes long."""
        return prod(self.cases[0][0]) >= LARGE

    def inputs(self, samples: int = SAMPLES, case: int = 0, seed: int = 0) -> Tensor:
        """Return normally distributed inputs of a case, `(samples, *input_shape)`."""
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(samples, *self.cases[case][0], generator=generator)

    def targets(self, samples: int = SAMPLES, case: int = 0) -> Tensor:
        """Return targets that go through the classes, `(samples,)`."""
        return torch.arange(samples) % self.cases[case][1]

    @property
    def definition(self) -> str:
        """`file:line` of the factory."""
        return find_definition(load_factory(self.entry))


def list_cases(pattern: tuple[int | str, ...] | None) -> list[tuple[tuple[int, ...], int]]:
    """Return shapes that match a model's pattern, each with a number of classes."""
    if pattern is None:
        shapes: list[tuple[int, ...]] = list(IMAGES)
    elif "*" not in pattern:
        # Nothing but the classes is left open; two are where a single logit may have been meant.
        return [(tuple(map(int, pattern)), CLASSES[0]), (tuple(map(int, pattern)), CLASSES[-1])]
    elif len(pattern) == 3:
        shapes = [tuple(_fill(want, size) for want, size in zip(pattern, image, strict=True)) for image in IMAGES]
    else:
        shapes = [tuple(_fill(want, size) for want in pattern) for size in (16, 24, 9)]
    return list(zip(shapes, CLASSES, strict=True))


def _fill(want: int | str, size: int) -> int:
    return size if want == "*" else int(want)


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two entries of a state dict are the same, bit for bit; what is no plain value counts as the same."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 a comparison of a plugin's own things may raise anything; no file can keep them
        return True
