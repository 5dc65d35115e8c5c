"""Checks of a loss: a mean over the batch, with a gradient, that is less for better predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from zoo.checks.base import Check, Fault, Skip
from zoo.checks.metric.subject import SAMPLES, make_stream
from zoo.checks.settings import check_use, keep_settings
from zoo.checks.subject import CLASSES, EntrySubject, check_params
from zoo.errors import PluginError, describe
from zoo.models.device import use_seed
from zoo.registry.factories import build_loss, load_factory
from zoo.registry.params import resolve_params
from zoo.registry.specs import LossSpec

TOLERANCE = 1e-5
"""How far two values of the same samples may differ, as a share: float32 sums in another order differ by 1e-6."""
STEPS = 25
"""Steps down the gradient of free logits."""

Loss = Callable[[Tensor, Tensor], Any]


@dataclass
class LossSubject(EntrySubject[LossSpec]):
    """A loss to check, and the numbers of classes that it takes."""

    classes: tuple[int, ...] = CLASSES

    def build(self, classes: int = 0) -> Loss:
        """Build the loss, for the first number of classes that it takes unless another is given."""
        with use_seed(0), keep_settings():
            return build_loss(self.entry, num_classes=classes or self.classes[0], params=self.params)

    def value(self, logits: Tensor, targets: Tensor, classes: int = 0) -> float:
        """Return what a new loss gives; settings stay as they are."""
        loss = self.build(classes)
        with keep_settings():
            return float(loss(logits.clone(), targets.clone()))

    def make_stream(self, right: float = 0.6, margin: float = 0.5) -> tuple[Tensor, Tensor]:
        """Return logits and targets of the first number of classes that it takes."""
        return make_stream(self.classes[0], right, margin=margin)


def check_builds(subject: LossSubject) -> str:
    """It is built for any number of classes and gives one finite number.

    `loss(logits, targets)` takes float logits `(N, classes)` and int64 targets `(N,)` and gives the mean of the batch,
    a float tensor without axes. 10, 3 and 2 classes are tried; a number of classes that it has no meaning for is
    refused with a ValueError by the factory. Parameters of its own are no part of the model: nobody would train them.
    """
    subject.params = resolve_params(subject.entry.spec, load_factory(subject.entry), {})
    shown, taken, refused = [], [], dict[int, PluginError]()
    for classes in CLASSES:
        try:
            loss = subject.build(classes)
        except PluginError as error:
            if isinstance(error.__cause__, ValueError):
                refused[classes] = error
                continue
            raise Fault(f"for {classes} classes: {error}", "Mend what raises it", subject.definition) from error
        value = _call(loss, *make_stream(classes), f"for {classes} classes")
        shown.append(f"{float(value.detach()):.4g} for {classes} classes")
        taken.append(classes)
        if isinstance(loss, nn.Module) and any(parameter.requires_grad for parameter in loss.parameters()):
            raise Fault("it has parameters that want to be trained", "Make them params, or buffers", subject.definition)
    if not taken:
        first = refused[CLASSES[0]]
        raise Fault(f"for {CLASSES[0]} classes: {first}", "Mend what raises it", subject.definition) from first
    subject.classes = tuple(taken)
    return ", ".join([*shown, *(f"refuses {classes} classes" for classes in refused)])


def _call(loss: Loss, logits: Tensor, targets: Tensor, label: str) -> Tensor:
    """Return what a loss gives; raise Fault where that is no finite float tensor without axes."""
    try:
        with keep_settings():
            value = loss(logits, targets)
    except Exception as error:
        fix = "Take logits (N, num_classes), and targets (N,) of classes"
        raise Fault(f"{label}: {describe(error)}", fix) from error
    if not isinstance(value, Tensor):
        fix = "Return the tensor itself, without item() or float(): the gradient goes through it"
        raise Fault(f"{label}: it gives a {type(value).__name__}", fix)
    if value.ndim or not value.is_floating_point():
        raise Fault(f"{label}: it gives {value.dtype} of shape {tuple(value.shape)}", "Return losses.mean()")
    if not bool(torch.isfinite(value)):
        fix = "Use log_softmax or cross_entropy instead of exp and log, and divide by nothing that may be 0"
        raise Fault(f"{label}: it gives {float(value.detach())}", fix)
    return value


def check_gradient(subject: LossSubject) -> str:
    """A finite gradient reaches the logits of each sample.

    Without one nothing is learnt: a detach(), an argmax, a value made into a number. Tried on mixed predictions; and on
    good, bad, equal and large ones, where exp() is inf in float32, it must at least be finite.
    """
    logits, targets = subject.make_stream()
    gradient = _find_gradient(subject, logits, targets, "mixed predictions")
    without = int((gradient == 0).all(dim=1).sum())
    if without == len(targets):
        raise Fault("no sample has a gradient", "Compute it in torch alone, without detach(), argmax or item()")
    right, wrong = (subject.make_stream(share, margin=9.0)[0] for share in (1.0, 0.0))
    tried = {"right ones": right, "wrong ones": wrong, "equal logits": torch.zeros_like(logits), "large": 100 * logits}
    for label, given in tried.items():
        _find_gradient(subject, given, targets, label)
    return f"of {len(targets) - without} of {len(targets)} samples, and finite for {', '.join(tried)}"


def _find_gradient(subject: LossSubject, logits: Tensor, targets: Tensor, label: str) -> Tensor:
    given = logits.clone().requires_grad_()
    value = _call(subject.build(), given, targets.clone(), label)
    if not value.requires_grad:
        raise Fault(f"{label}: what it gives has no gradient", "Compute it in torch alone, without detach() or item()")
    value.backward()
    if given.grad is None:
        raise Fault(f"{label}: no gradient reaches the logits", "Compute it from the logits that it is given")
    if not bool(torch.isfinite(given.grad).all()):
        fix = "Use log_softmax or cross_entropy instead of exp and log; a root or power has no gradient at 0"
        raise Fault(f"{label}: the gradient is not finite", fix)
    return given.grad


def check_mean(subject: LossSubject) -> str:
    """It is the mean over the samples of the batch.

    A sum grows with the batch, so that the learning rate would depend on the batch size, and the loss of an epoch would
    be no mean either. A batch twice gives the same, the halves give the whole by their sizes, and the order of the
    samples does not matter. Up to 1e-5 may differ.
    """
    logits, targets = subject.make_stream()
    whole = subject.value(logits, targets)
    fix = "Return the mean over the samples, and let none depend on the others"
    _require_same(whole, subject.value(logits.repeat(2, 1), targets.repeat(2)), "once and twice", fix)
    first = SAMPLES // 3
    parts = [subject.value(logits[:first], targets[:first]), subject.value(logits[first:], targets[first:])]
    mean = (first * parts[0] + (SAMPLES - first) * parts[1]) / SAMPLES
    _require_same(whole, mean, "at once and as the mean of two parts", fix)
    order = torch.randperm(SAMPLES, generator=torch.Generator().manual_seed(0))
    _require_same(whole, subject.value(logits[order], targets[order]), "in another order", fix)
    return f"{whole:.4g} at once, twice, in parts and in another order"


def _require_same(one: float, other: float, label: str, fix: str) -> None:
    if not abs(one - other) <= TOLERANCE * max(1.0, abs(one)):
        raise Fault(f"the same samples {label} give {one:.6g} and {other:.6g}", fix)


def check_seed(subject: LossSubject) -> str:
    """The same samples give the same value: it draws nothing, and remembers nothing.

    An evaluation reports it beside the cross-entropy. Two seeds, and five calls of one object, must give the same.
    """
    logits, targets = subject.make_stream()
    values = []
    for seed in (1, 2):
        with use_seed(seed):
            loss = build_loss(subject.entry, num_classes=subject.classes[0], params=subject.params)
            values += [float(loss(logits.clone(), targets.clone())) for _ in range(5)]
    for value in values[1:]:
        _require_same(values[0], value, "under two seeds or at another call", "Draw nothing, and keep no state")
    return "two seeds and ten calls give the same"


def check_inputs(subject: LossSubject) -> str:
    """It leaves logits and targets as they are, and looks at their values alone.

    Metrics get the same tensors after it. Logits of a model may lie transposed in memory.
    """
    logits, targets = subject.make_stream()
    given_logits, given_targets = logits.clone(), targets.clone()
    loss = subject.build()
    value = float(_call(loss, given_logits, given_targets, "a batch"))
    for name, given, original in (("logits", given_logits, logits), ("targets", given_targets, targets)):
        if not torch.equal(given, original):
            raise Fault(f"it changes the {name}", "Work on a copy")
    transposed = float(_call(loss, logits.T.contiguous().T, targets, "logits that lie transposed in memory"))
    _require_same(value, transposed, "that lie otherwise in memory", "Use reshape() instead of view(), and no strides")
    return "both are unchanged, and only their values count"


def check_direction(subject: LossSubject) -> str:
    """It is less for better predictions, and its gradient leads to them.

    All right, 60 % and none right are compared, each predicted with confidence. And logits that start equal are free to
    follow the gradient downhill: after 25 steps, the highest must be that of the target.
    """
    values = [subject.value(*subject.make_stream(right, margin=9.0)) for right in (1.0, 0.6, 0.0)]
    shown = ", ".join(f"{value:.4g}" for value in values)
    if not values[0] < values[1] < values[2]:
        raise Fault(f"all, 60 % and none right give {shown}", "Change the sign, or compare logits with targets")
    _, targets = subject.make_stream()
    logits, loss = torch.zeros(SAMPLES, subject.classes[0]), subject.build()
    for _ in range(STEPS):
        logits.requires_grad_()
        (gradient,) = torch.autograd.grad(loss(logits, targets), logits)
        size = gradient.abs().max()
        if not float(size):
            break
        logits = (logits - gradient / size).detach()
    share = float((logits.argmax(dim=1) == targets).float().mean())
    if share < 0.99:
        fix = "Look at how logits and targets are compared"
        raise Fault(f"{STEPS} steps down its gradient get {share:.0%} of free logits right", fix)
    return f"all, 60 % and none right give {shown}; its gradient leads to the targets"


def check_soft(subject: LossSubject) -> str:
    """Soft targets mean the same as classes where all of the share is one class's.

    `soft_targets = true` lets a training mix images. Targets are then `(N, classes)`, the share of each class: 1 for
    one class must give what that class gives, and 0.7 of it with 0.3 of the next one something else.
    """
    if not subject.entry.spec.soft_targets:
        raise Skip("the spec declares no soft targets")
    for classes in subject.classes:
        logits, targets = make_stream(classes)
        shares = nn.functional.one_hot(targets, classes).float()
        soft = float(_call(subject.build(classes), logits, shares, "soft targets"))
        fix = "Weigh the loss of each class by its share, or declare soft_targets = false"
        _require_same(subject.value(logits, targets, classes), soft, "as classes and as shares", fix)
        mixed = float(_call(subject.build(classes), logits, 0.7 * shares + 0.3 * shares.roll(1, 1), "soft targets"))
        if abs(mixed - soft) <= TOLERANCE * max(1.0, abs(soft)):
            raise Fault("0.7 of a class and 0.3 of the next give what the first alone gives", fix)
    return "shares of 1 give what classes give"


def check_settings(subject: LossSubject) -> str:
    """It changes no setting of the process, neither when it is built nor when it is used.

    The seed and the thread count belong to the run: one that seeds torch makes the training after it repeat itself.
    """
    logits, targets = subject.make_stream()

    def use() -> None:
        loss = build_loss(subject.entry, num_classes=subject.classes[0], params=subject.params)
        loss(logits.clone(), targets.clone())

    check_use(use, "Draw nothing, or from a generator of its own")
    return "seed, threads, dtype and gradient mode stay"


def check_devices(subject: LossSubject) -> str:
    """It computes where the logits are.

    A tensor that it makes on the CPU ends the training on the first machine with a GPU. Tried on an accelerator where
    there is one, else on torch's meta device, which computes shapes only; one that is a Module is moved there.
    """
    device = torch.device("meta")
    if torch.accelerator.is_available():
        device = torch.accelerator.current_accelerator() or device
    logits, targets = (part.to(device) for part in subject.make_stream())
    loss: Any = subject.build()
    try:
        value = (loss.to(device) if isinstance(loss, nn.Module) else loss)(logits, targets)
    except Exception as error:
        if device.type == "meta" and "device" not in str(error).lower():
            raise Skip("it looks at values, so it cannot be tried without an accelerator") from error
        fix = "Make tensors on logits.device, or be a Module with buffers"
        raise Fault(f"on device {device}: {describe(error)}", fix) from error
    if value.device.type != device.type:
        raise Fault(f"logits on {device} give a loss on {value.device}", "Return it where the logits are")
    return f"runs on {device}"


GATES = ("builds", "gradient", "seed")
LOSS_CHECKS: Mapping[str, Check[LossSubject]] = {
    "builds": check_builds,
    "params": check_params,
    "settings": check_settings,
    "gradient": check_gradient,
    "seed": check_seed,
    "mean": check_mean,
    "inputs": check_inputs,
    "direction": check_direction,
    "soft": check_soft,
    "devices": check_devices,
}
"""The checks in their order; when one of GATES fails, the checks after it are not tried."""
