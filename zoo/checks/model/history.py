"""History: whether what a model computes depends on the batches that it saw before."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo.checks.base import Fault
from zoo.checks.model.subject import TOLERANCE, ModelSubject, is_same, measure_difference
from zoo.checks.source import find_definition
from zoo.errors import describe
from zoo.models.device import use_seed

CHANGE = 1e-4
"""How far a parameter may move in training calls, as a share of its largest value: a projection rounds each time."""

KEEP_NOTHING = "Keep nothing of a batch: compute what the inputs do not decide in the factory"


def check_history(subject: ModelSubject) -> str:
    """Logits do not depend on which batch came first, and calls leave parameters to the optimizer.

    A mean or a mask that is kept from the first batch makes predictions depend on what was predicted before. Two equal
    models are given different first batches, one of a single sample far from all others, and must then agree within
    1e-4 of the largest logit, also for a batch of another size. In training a call must not go on changing trainable
    parameters; where the first batch decides values for good, that is a warning.
    """
    # Models that no check has called so far; what classes and files keep is put back to what it was then.
    one, other = subject.other_seed, subject.build(seed=1)
    where = find_definition(type(one))
    inputs, far = subject.inputs(subject.inference_samples), 3 * subject.inputs(1, seed=2) + 1
    state = {name: _copy(value) for name, value in one.eval().state_dict().items()}
    _forget(subject)
    _compute(one, far, where, "a first batch of one sample")
    changed = [name for name, value in one.state_dict().items() if not is_same(state.get(name), value)]
    if changed:
        seen = f"the first batch changes {', '.join(changed[:4])} in evaluation"
        raise Fault(seen, "Compute it in the factory, or update buffers only `if self.training`", where)
    after_another = _compute(one, inputs, where, f"{len(inputs)} samples after a first batch of one")
    _forget(subject)
    first = _compute(other.eval(), inputs, where, f"a first batch of {len(inputs)} samples")
    fewer = _compute(other, inputs[:-1], where, f"{len(inputs) - 1} samples after a first batch of {len(inputs)}")
    for logits, when in ((after_another, "a different first batch"), (fewer, "a first batch of another size")):
        difference = measure_difference(logits, first)
        if not difference <= TOLERANCE:
            seen = f"the same inputs give logits that differ by {difference:.2g} of the largest after {when}"
            raise Fault(seen, KEEP_NOTHING, where)
    _check_training_calls(subject, one, other, where)
    return "two models with different first batches agree"


def _forget(subject: ModelSubject) -> None:
    if subject.kept is not None:
        subject.kept.put_back()


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _compute(model: nn.Module, inputs: Tensor, where: str, given: str) -> Tensor:
    try:
        with torch.no_grad(), use_seed(1):
            logits: Tensor = model(inputs.clone())
        return logits.clone()
    except Exception as error:
        raise Fault(f"{given}: {describe(error)}", KEEP_NOTHING, where) from error


def _check_training_calls(subject: ModelSubject, one: nn.Module, other: nn.Module, where: str) -> None:
    """Raise Fault when training calls go on changing trainable parameters, or only the first decides a value."""
    objects = {name: id(parameter) for name, parameter in other.named_parameters()}
    samples = subject.training_samples
    _compute(one.train(), 2 * subject.inputs(samples, seed=3), where, "a first batch in training")
    _compute(other.train(), subject.inputs(samples, seed=4), where, "a first batch in training")
    if objects != {name: id(parameter) for name, parameter in other.named_parameters()}:
        raise Fault("a call puts other parameters into the model", "Make all parameters in the factory", where)
    trainable = {name for name, parameter in other.named_parameters() if parameter.requires_grad}
    values = {**dict(other.named_parameters()), **dict(other.named_buffers())}
    after_first = {name: value.detach().clone() for name, value in values.items() if value.is_floating_point()}
    for seed in (5, 6):
        _compute(other, subject.inputs(samples, seed=seed), where, "a batch in training")
    steady = []
    for name, before in after_first.items():
        if is_same(before, values[name].detach()):
            steady.append(name)
        elif name in trainable and not measure_difference(values[name].detach(), before) <= CHANGE:
            fix = "Leave parameters to the optimizer; compute with a scaled copy, or keep statistics in buffers"
            raise Fault(f"each call in training changes the parameter {name}", fix, where)
    from_first = {**dict(one.named_parameters()), **dict(one.named_buffers())}
    decided = [name for name in steady if not _is_close(after_first[name], from_first.get(name))]
    if decided:
        seen = f"the first batch in training decides {', '.join(decided[:4])} for good"
        raise Fault(seen, "Compute it from the training set before, or update it with every batch", where, "warning")


def _is_close(one: Tensor, other: Tensor | None) -> bool:
    return other is not None and one.shape == other.shape and torch.allclose(one, other, equal_nan=True)
