"""Checks of a model: what its plugin claims, tried on random inputs of several shapes and numbers of classes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checks.base import Check, Fault
from zoo.checks.model.calls import check_calls
from zoo.checks.model.classes import check_classes
from zoo.checks.model.history import check_history
from zoo.checks.model.modes import check_modes
from zoo.checks.model.moving import check_devices, check_dtypes, check_file
from zoo.checks.model.running import check_batch, check_evaluation, check_inputs, check_seed
from zoo.checks.model.subject import MANY, SAMPLES, ModelSubject
from zoo.checks.model.training import check_activation, check_frozen, check_gradients, check_learns
from zoo.checks.settings import FIX, keep_settings
from zoo.checks.source import find_definition
from zoo.checks.subject import check_params as check_known_params
from zoo.errors import PluginError, UsageError, ZooError, describe
from zoo.models.device import use_seed
from zoo.registry.compatibility import show_shape
from zoo.registry.factories import load_factory
from zoo.registry.params import resolve_params
from zoo.registry.settings import resolve_config
from zoo.registry.source import find_error_line

SIZES = "Compute sizes from input_shape and num_classes, or declare in the spec which input_shape it takes"


def check_params(subject: ModelSubject) -> str:
    """Params are known by name, plain data, and its recommended settings exist.

    A weights file keeps params as JSON, so that the model can be rebuilt from it, and a run starts with the settings
    that the spec recommends: no run starts without either. A param that is misspelt must be refused with the closest
    match; a factory with `**params` that ignores what it does not know trains another model than was asked for, and
    says nothing.
    """
    factory = load_factory(subject.entry)
    try:
        subject.params = resolve_params(subject.entry.spec, factory, {})
    except ZooError as error:
        fix = "Take input_shape and num_classes, give all else a default, and declare params by the factory's names"
        raise Fault(str(error), fix, subject.definition) from error
    try:
        resolve_config(subject.entry.spec.train, {})
    except ZooError as error:
        fix = "Use fields of zoo.TrainConfig in the spec's train"
        raise Fault(f"train: {error}", fix, subject.definition) from error
    for name, value in subject.params.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            fix = "Take a name instead, as text, and look up what it means in the factory"
            raise Fault(f"param {name} is {value!r}, no plain data", fix) from None
    return check_known_params(subject)


def check_builds(subject: ModelSubject) -> str:
    """It builds for the shapes and numbers of classes that it claims to take.

    `input_shape` of the spec is a promise: without one any image, `"*"` any size. A model that refuses a shape by
    raising zoo.UsageError is fine, as long as it takes one of those tried; any other error is a crash in a user's run.
    """
    built: list[str] = []
    refused: list[tuple[str, UsageError]] = []
    cases, subject.cases = subject.cases, []
    for shape, classes in cases:
        label = f"{show_shape(shape)} and {classes} classes"
        subject.cases.append((shape, classes))
        try:
            subject.model(len(subject.cases) - 1)
        except PluginError as error:
            before = f"built for {', '.join(built)}, but not " if built else "not built "
            fix = SIZES
            if error.__cause__ is None:
                fix = "Return the model: an nn.Module with parameters"
            elif isinstance(error.__cause__, SystemExit):
                fix = "Raise ValueError, or zoo.UsageError for a shape that it cannot take; never end the process"
            elif not built:
                fix = "Mend what raises it"
            raise Fault(f"{before}for {label}: {error.why}", fix) from error
        except UsageError as error:
            subject.cases.pop()
            refused.append((label, error))
            continue
        built.append(label)
    if not built:
        raise Fault(f"refused for {refused[0][0]}: {refused[0][1]}", "Declare in the spec which input_shape it takes")
    return "; ".join([f"built for {label}" for label in built] + [f"refused {label}" for label, _ in refused])


def check_settings(subject: ModelSubject) -> str:
    """Building and running it changes no setting of the process.

    Thread count, default dtype, gradient mode, the seed: they belong to the run, and a change would show in models that
    have nothing to do with this one. A generator that is in one state after builds under two seeds was seeded there.
    """
    model, changed = subject.model(), dict(subject.changed)
    if not changed:
        with use_seed(4), keep_settings() as changed:
            for training in (True, False):
                with torch.no_grad(), suppress(Exception, SystemExit):  # the check "logits" reports what it raises
                    model.train(training)
                    model(subject.inputs(subject.training_samples))
    if not changed:
        first, second = subject.generators.get((0, 0), {}), subject.generators.get((1, 1), {})
        changed = {name: f"seed of {name}" for name in second if first.get(name) == second[name]}
    if changed:
        raise Fault(f"it changes the {', '.join(changed.values())}", FIX)
    return "seed, threads, dtype, gradient mode and current folder stay"


def check_logits(subject: ModelSubject) -> str:
    """It gives one tensor of finite float32 logits (N, num_classes), in training as in evaluation.

    Loss, metrics and predictions take exactly that. One sample and several are tried: a squeeze() loses the batch axis
    of one sample; and 130 where inputs are small: a table may be as long as the author's batches. Half precision would
    overflow in the loss; whoever wants it, asks for it with `model.to(dtype)`.
    """
    largest = 1
    for case, (shape, classes) in enumerate(subject.cases):
        model = subject.model(case)
        batches = [(False, 1), (True, subject.training_samples)]
        if not subject.is_large:
            batches += [(False, SAMPLES + 1), (False, MANY)] if case == 0 else [(False, SAMPLES + 1)]
        for training, samples in batches:
            _switch_mode(model, training)
            mode = "training" if training else "evaluation"
            given = f"{samples} x {show_shape(shape)} in {mode}"
            try:
                with torch.no_grad(), use_seed(5):
                    logits = model(subject.inputs(samples, case))
            except Exception as error:
                fix = "Mend what raises it"
                if samples == 1 and _takes_several(model, subject, case):
                    fix = "Make it take one sample, as predictions do: no BatchNorm that needs others, no squeeze()"
                elif samples == 1 and case:
                    fix = SIZES
                elif samples == MANY:
                    fix = "Take batches of any size"
                where = find_error_line(error) or find_definition(type(model))
                raise Fault(f"inputs of {given}: {describe(error)}", fix, where) from error
            _check_logits_form(logits, (samples, classes), given, find_definition(type(model)))
            largest = max(largest, samples)
    for case in range(1, len(subject.cases)):
        subject.models.pop(case, None)
    return f"right for {len(subject.cases)} shapes and numbers of classes, for 1 to {largest} samples"


def _takes_several(model: nn.Module, subject: ModelSubject, case: int) -> bool:
    with suppress(Exception), torch.no_grad():
        model(subject.inputs(SAMPLES, case))
        return True
    return False


def _switch_mode(model: nn.Module, training: bool) -> None:
    """Call train() or eval(); raise Fault when it does not return the model in that mode."""
    name = "train" if training else "eval"
    returned: Any = getattr(model, name)()
    if returned is model and model.training is training:
        return
    seen = f"returns {type(returned).__name__}" if returned is not model else f"leaves training at {model.training}"
    # nn.Module.eval() calls train(False), so that the fault may be in an own train().
    bases = [base for base in type(model).__mro__ if base is not nn.Module]
    method = next((vars(base)[key] for base in bases for key in (name, "train") if key in vars(base)), None)
    own = getattr(method, "__name__", name)
    fix = f"Let {own}() end with `return super().{own}(...)`, or do without one of your own"
    raise Fault(f"its {name}() {seen}", fix, find_definition(method) or find_definition(type(model)))


def _check_logits_form(logits: Any, wanted: tuple[int, int], given: str, where: str) -> None:
    expected = f"expected float32 logits {wanted} for inputs of {given}"
    if not isinstance(logits, Tensor):
        raise Fault(f"{expected}, got a {type(logits).__name__}", "Return the logits alone", where)
    if not logits.dtype.is_floating_point:
        fix = "Return real numbers, one a class" if logits.is_complex() else "Return logits, not predicted classes"
        raise Fault(f"{expected}, got {tuple(logits.shape)} {logits.dtype}", fix, where)
    if tuple(logits.shape) != wanted:
        fix = "Make the last layer as wide as num_classes"
        if logits.shape[:1] != wanted[:1]:
            fix = "Return one row for each sample, and keep the batch axis: flatten(1), not squeeze()"
        raise Fault(f"{expected}, got {tuple(logits.shape)}", fix, where)
    if logits.dtype != torch.float32:
        raise Fault(f"{expected}, got {logits.dtype}", "Return logits in the dtype of the inputs", where)
    if bad := int((~torch.isfinite(logits)).sum()):
        raise Fault(f"{expected}, got {bad} that are not finite", "Look for a division by zero or a logarithm", where)


GATES = ("params", "builds", "settings", "logits")
MODEL_CHECKS: Mapping[str, Check[ModelSubject]] = {
    "params": check_params,
    "builds": check_builds,
    "settings": check_settings,
    "logits": check_logits,
    "seed": check_seed,
    "gradients": check_gradients,
    "frozen": check_frozen,
    "activation": check_activation,
    "inputs": check_inputs,
    "evaluation": check_evaluation,
    "batch": check_batch,
    "history": check_history,
    "calls": check_calls,
    "modes": check_modes,
    "classes": check_classes,
    "dtypes": check_dtypes,
    "devices": check_devices,
    "file": check_file,
    "learns": check_learns,
}
"""The checks in their order; when one of GATES fails, the checks after it are not tried."""
