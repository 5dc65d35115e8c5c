"""The subject of a model's checks: its entry, what it is tried with, and the models that the checks share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import cycle
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checks.model.kept import Kept
from zoo.checks.model.layers import record_creation
from zoo.checks.settings import keep_settings, read_generators
from zoo.checks.subject import CLASSES, EntrySubject
from zoo.models.device import use_seed
from zoo.models.probe import find_output_problem
from zoo.registry.factories import build_model
from zoo.registry.specs import ModelSpec

IMAGES = ((1, 28, 28), (3, 64, 48), (3, 32, 32))
"""Image shapes tried where a model's pattern leaves the size open; one is not square."""

LENGTHS = ((16,), (24,), (9,))
"""Length of each open axis where inputs are no images."""

SAMPLES = 4
"""Samples of a batch."""

MANY = 130
"""Samples of a large batch: more than training usually takes, fewer than evaluation does."""

LARGE = 3 * 128 * 128
"""Values of an input from which on fewer samples are tried, because each takes long."""

TOLERANCE = 1e-4
"""How far logits of the same samples may differ, as a share of the largest. The order of additions depends on the batch
size: on the models of zoo, torchvision and timm that made 1e-6 at most."""


@dataclass
class ModelSubject(EntrySubject[ModelSpec]):
    """A model to check, and the shapes and numbers of classes it is tried with.

    The checks share models where they can, because building takes most of the time that a large model needs.
    """

    cases: list[tuple[tuple[int, ...], int]] = field(default_factory=list)
    changed: dict[str, str] = field(default_factory=dict, repr=False)
    """Settings of the process that building changed, each with its change in words."""
    generators: dict[tuple[int, int], dict[str, Any]] = field(default_factory=dict, repr=False)
    """States of the global generators after each build, by case and seed."""
    models: dict[int, nn.Module] = field(default_factory=dict, repr=False)
    kept: Kept | None = field(default=None, repr=False)
    """What classes and files of the model held when it had been built once and not been called."""

    def __post_init__(self) -> None:
        if not self.cases:
            self.cases = list_cases(self.entry.spec.input_shape)

    def build(self, case: int = 0, seed: int = 0) -> nn.Module:
        """Build the model for one of the cases; settings of the process stay as they are."""
        shape, classes = self.cases[case]
        with use_seed(seed), record_creation():
            try:
                with keep_settings() as changed:
                    return self.unite(
                        build_model(self.entry, input_shape=shape, num_classes=classes, params=self.params)
                    )
            finally:
                self.changed.update(changed)
                self.generators[case, seed] = read_generators()

    def unite(self, model: nn.Module) -> nn.Module:
        """Let a model give logits alone in training, which bring the gradients of auxiliary ones too; return it."""
        model.register_forward_hook(partial(_unite, self.entry.spec.aux_weights))
        return model

    def model(self, case: int = 0) -> nn.Module:
        """Return the model of a case, built once; its parameters stay as they were initialised."""
        if case not in self.models:
            self.models[case] = self.build(case, seed=case)
            self.kept = self.kept or Kept(self.models[case])
        return self.models[case]

    @cached_property
    def rebuilt(self) -> nn.Module:
        """The model of the first case, built once more under the same seed."""
        return self.build()

    @cached_property
    def rebuilt_for_noise(self) -> nn.Module:
        """One more like `rebuilt`; `perturbed` changes it, so it must be compared before."""
        return self.build()

    @cached_property
    def other_seed(self) -> nn.Module:
        """The model of the first case, built under another seed."""
        return self.build(seed=1)

    @cached_property
    def perturbed(self) -> nn.Module:
        """The model of the first case with noise on its parameters: zeros would hide what comes before them."""
        return add_noise(self.rebuilt_for_noise)

    @property
    def training_samples(self) -> int:
        """Samples of a training batch; three is the fewest that normalisation does not map to fixed values."""
        return 3 if self.is_large else SAMPLES

    @property
    def inference_samples(self) -> int:
        """Samples of a batch that needs no gradient."""
        return 2 if self.is_large else SAMPLES

    @property
    def activation_samples(self) -> int:
        """Samples that the check of the activation on the logits counts over."""
        return self.training_samples if self.is_large else 8

    @property
    def is_large(self) -> bool:
        """Whether the inputs are so large that the checks use fewer samples."""
        return prod(self.cases[0][0]) >= LARGE

    def inputs(self, samples: int = SAMPLES, case: int = 0, seed: int = 0) -> Tensor:
        """Return normally distributed inputs of a case, `(samples, *input_shape)`."""
        return torch.randn(samples, *self.cases[case][0], generator=torch.Generator().manual_seed(seed))

    def targets(self, samples: int) -> Tensor:
        """Return targets of the first case that go through its classes, `(samples,)`."""
        return torch.arange(samples) % self.cases[0][1]


_alone = ContextVar("alone", default=False)


@contextmanager
def without_auxiliary() -> Iterator[None]:
    """Let the logits of the body be the model's own: auxiliary ones bring nothing to their graph."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def _unite(aux_weights: tuple[float, ...], model: nn.Module, _: Any, outputs: Any) -> Any:
    """Return the logits of what a model gives in training, with the gradients that auxiliary ones bring too.

    Raises:
        ValueError: it gives other outputs than its entry declares.
    """
    if not model.training or isinstance(outputs, Tensor):
        return outputs
    if problem := find_output_problem(outputs, aux_weights):
        raise ValueError(f"in training mode it gives {'. '.join(filter(None, problem))}")
    logits, *others = outputs
    if _alone.get():
        return logits
    for weight, other in zip(aux_weights, others, strict=True):
        logits = logits + weight * (other - other.detach())  # adds nothing but its gradient
    return logits


def add_noise(model: nn.Module) -> nn.Module:
    """Add noise to the parameters of a model, about 2 % of their size but no less than 0.02, and return it."""
    generator = torch.Generator().manual_seed(20011)  # not a seed of the inputs, or the noise would equal them
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point():
                noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                parameter.add_(noise * (0.02 + 0.02 * parameter.abs().mean()))
    return model


def list_cases(pattern: tuple[int | str, ...] | None) -> list[tuple[tuple[int, ...], int]]:
    """Return shapes that match a model's pattern, each with a number of classes."""
    pattern = ("*",) * 3 if pattern is None else pattern
    if "*" not in pattern:
        # Only the number of classes is open. Two classes find models that give a single logit for them.
        return [(tuple(map(int, pattern)), CLASSES[0]), (tuple(map(int, pattern)), CLASSES[-1])]
    cases = []
    for sizes, classes in zip(IMAGES if len(pattern) == 3 else LENGTHS, CLASSES, strict=True):
        pairs = zip(pattern, cycle(sizes), strict=False)
        cases.append((tuple(size if want == "*" else int(want) for want, size in pairs), classes))
    return cases


def is_same(one: Any, other: Any) -> bool:
    """Tell whether two entries of a state dict are equal bit for bit; those that cannot be compared count as equal."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001 objects of a plugin may raise anything when compared; no weights file can keep them
        return True


def measure_difference(logits: Tensor, expected: Tensor) -> float:
    """Return how far logits are from those expected of the first samples, as a share of the largest expected one."""
    return float((logits - expected[: len(logits)]).abs().max()) / max(float(expected.abs().max()), 1e-12)
