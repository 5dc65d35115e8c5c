"""Checks of how a model learns: whether gradients arrive, what is left out, and what its logits can become."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from zoo.checks.base import Fault, Skip
from zoo.checks.model.activations import Clamp, find_clamp, is_pooled
from zoo.checks.model.hidden import raise_hidden
from zoo.checks.model.subject import ModelSubject
from zoo.checks.source import find_creation, find_definition
from zoo.models.device import use_seed

BATCHES, BATCH_SECONDS = 40, 5.0
LEARN_STEPS, LEARN_SECONDS = 150, 6.0


def check_gradients(subject: ModelSubject) -> str:
    """Gradients reach every trainable parameter, and every parameter is the model's.

    A parameter without a gradient stays random for ever, while the loss of the others may still fall: a detach(), a
    layer that is built and never called. One that is in a plain list or at the top of the file gets its gradient, but
    no optimizer and no file has it. Noise is added to all parameters before, since a layer that starts at zero rightly
    stops gradients once. A gradient of exactly zero in up to 40 batches (5 seconds) counts as none, so layers may be
    left out by chance; for biases only one that does not exist, since a normalisation or a softmax after them
    cancels theirs.
    """
    model, samples = subject.noisy, subject.samples
    with use_seed(6):
        reached, total = find_gradients(
            model, (subject.inputs(samples, seed=seed) for seed in range(BATCHES)), subject.targets(samples)
        )
    missing = [name for name, parameter in model.named_parameters() if parameter.requires_grad and name not in reached]
    if missing and all(model.get_parameter(name).grad is not None for name in missing):
        missing = [name for name in missing if name not in find_reached_by_larger(subject)]
    if missing:
        raise_unreached(model, missing, total)
    model.zero_grad(set_to_none=True)
    if not total:
        fix = "Leave requires_grad of some parameters alone"
        raise Fault("no parameter wants a gradient: there is nothing to train", fix, find_definition(type(model)))
    return f"all {total} trainable parameters are reached"


def find_reached_by_larger(subject: ModelSubject) -> set[str]:
    """Return the parameters that a gradient reaches in images of 128 pixels, where the model says that it takes them.

    Attention over the one place that is left of a small image does not depend on what it compares.
    """
    shape, classes = subject.cases[0]
    pattern = subject.entry.spec.input_shape or ("*",) * 3
    larger = tuple(
        128 if want == "*" and axis else size for axis, (want, size) in enumerate(zip(pattern, shape, strict=False))
    )
    if len(shape) != 3 or larger == shape:
        return set()
    tried = ModelSubject(subject.entry, [(larger, classes)], subject.params)
    batches = (tried.inputs(2, seed=seed) for seed in range(2))
    return find_gradients(tried.noisy, batches, tried.targets(2))[0]


def raise_unreached(model: nn.Module, missing: list[str], total: int) -> None:
    """Raise the fault of parameters without a gradient.

    Raises:
        Fault: always.
    """
    owner = model.get_submodule(missing[0].rpartition(".")[0])
    where = find_creation(owner) or find_definition(type(model))
    shown = ", ".join(missing[:4]) + (", ..." if len(missing) > 4 else "")
    if len(missing) == total:
        seen = f"none of the {total} trainable parameters gets a gradient"
        fix = "Take out the detach(), no_grad(), argmax or conversion to numbers between inputs and logits"
        where = find_definition(type(model)) or where
    elif model.get_parameter(missing[0]).grad is not None:
        seen = f"{len(missing)} of {total} trainable parameters get a gradient of exactly 0: {shown}"
        fix = "Look for units that never fire, a step function such as sign() behind them, or a hook that drops it"
    else:
        seen = f"{len(missing)} of {total} trainable parameters get no gradient: {shown}"
        fix = "Use them in forward(), without detach() or no_grad() behind them, or take them out"
    raise Fault(seen, fix, where)


def find_gradients(model: nn.Module, batches: Iterator[Tensor], targets: Tensor) -> tuple[set[str], int]:
    """Return the names of the parameters that a gradient reaches in one of the batches, and how many want one.

    Raises:
        Fault: a gradient is not finite, or reaches what is no parameter of the model.
    """
    reached: set[str] = set()
    model.train()
    wanting = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    started = time.process_time()
    for count, inputs in enumerate(batches):
        logits = model(inputs)
        if not logits.requires_grad:
            break
        if count == 0:
            raise_hidden(model, logits)
        model.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(logits, targets).backward()
        for name, parameter in wanting.items():
            gradient = parameter.grad
            if gradient is not None and ("bias" in name.rpartition(".")[2] or bool(gradient.any())):
                reached.add(name)
            if gradient is not None and not bool(torch.isfinite(gradient.sum())):
                fix = "Look for a square root, division or logarithm at zero"
                raise Fault(f"the gradient of {name} is not finite", fix, find_definition(type(model)))
        if len(reached) == len(wanting) or (count and time.process_time() - started > BATCH_SECONDS):
            break
    return reached, len(wanting)


def check_frozen(subject: ModelSubject) -> str:
    """Parameters that are not trained do not come from the random generator.

    A layer with requires_grad=False keeps the values it is built with. That is right for trained or computed ones,
    which are the same under every seed; random ones stay random for ever.
    """
    first, second = subject.again, dict(subject.other.named_parameters())
    frozen = [(name, parameter) for name, parameter in first.named_parameters() if not parameter.requires_grad]
    random = [name for name, parameter in frozen if name not in second or not torch.equal(parameter, second[name])]
    if random:
        raise_frozen(first, random)
    return f"{len(frozen)} are not trained" + (", and the same under every seed" if frozen else "")


def raise_frozen(model: nn.Module, names: list[str]) -> None:
    """Raise the fault of random parameters that are not trained.

    Raises:
        Fault: always.
    """
    count = sum(model.get_parameter(name).numel() for name in names)
    total = sum(parameter.numel() for parameter in model.parameters())
    owner = model.get_submodule(names[0].rpartition(".")[0])
    seen = f"{', '.join(names[:4])} start random and are not trained: {count} of {total} values"
    fix = "Leave requires_grad alone, or load trained values in the factory"
    raise Fault(seen, fix, find_creation(owner) or find_definition(type(model)))


def check_activation(subject: ModelSubject) -> str:
    """Nothing after the last layer keeps the logits from being free, in training or in evaluation.

    Cross-entropy takes logits, any numbers. After a ReLU no logit falls below 0, and a class that sits at 0 for every
    sample gets no gradient: it is never predicted again. After softmax, sigmoid or tanh the loss cannot fall below a
    floor; dropout sets whole logits to 0. The last layer's parameters are scaled by 1000 and -1000: free logits follow.
    Logits that are log-probabilities, distances or scaled cosines pass: they cost less than 0.05 nats. An activation
    before a pooling is a warning only.
    """
    model = subject.noisy
    inputs = subject.inputs(subject.samples if subject.is_large else 8)
    for training in (False, True):
        with use_seed(7):
            clamp = find_clamp(model, inputs, training=training)
            if clamp is not None:
                mode = " in training" if training else ""
                raise Fault(
                    describe_clamp(clamp, mode),
                    describe_mend(clamp),
                    clamp.where or find_definition(type(model)),
                    "warning" if is_pooled(model, inputs) else "failed",
                )
    return "the logits follow the last layer in both directions"


def describe_clamp(clamp: Clamp, mode: str = "") -> str:
    """Return in words what holds the logits, with numbers."""
    what = f"{clamp.name} on the logits{mode}" + (f", by {clamp.place}" if clamp.place else "")
    if clamp.name == "dropout":
        return (
            f"{what}: {clamp.share:.0%} of them are exactly 0 in training, whatever the sample, and none in evaluation"
        )
    parts = [f"they stay between {clamp.lower:.3g} and {clamp.upper:.3g} however large the last layer gets"]
    if clamp.upper > 100:
        parts = [f"none is ever below {clamp.lower:.3g}"]
    if clamp.lower < -100:
        parts = [f"none is ever above {clamp.upper:.3g}"]
    if clamp.share > 0.01:
        parts.append(f"{clamp.share:.0%} of them sit exactly on that edge, where there is no gradient")
    if clamp.dead:
        count = len(clamp.dead)
        parts.append(f"{count} class{'es do' if count > 1 else ' does'} so for every sample")
    if clamp.floor > 0.01:
        parts.append(f"the loss cannot fall below {clamp.floor:.2f}")
    return f"{what}: {'; '.join(parts)}"


def describe_mend(clamp: Clamp) -> str:
    """Return the change that frees the logits."""
    what = clamp.place or f"the {clamp.name}"
    if clamp.name == "a bound":
        return "Return what the last layer gives, or multiply it by a scale that is large or learnt"
    return f"Take out {what}: return what the last layer gives; the loss applies the softmax itself"


def check_learns(subject: ModelSubject) -> str:
    """It can learn eight samples by heart.

    Whatever else may be wrong, a model that cannot do that will not learn a data set. Adam, at most 150 steps each with
    rates of 0.001 and 0.01, must get to three quarters of the loss it starts with, or of guessing where that is less,
    three steps running; learning no more than how often each class occurs gets to nine tenths. Skipped where that takes
    more than six seconds, or one forward pass more than one.
    """
    inputs, targets = subject.inputs(8), subject.targets(8)
    best, first, low = float("inf"), float("nan"), 0
    guess = math.log(subject.cases[0][1])
    started = time.process_time()
    for lr in (1e-3, 1e-2):
        with use_seed(0):
            model = subject.again if lr == 1e-3 else subject.build()
            parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
            optimizer = torch.optim.Adam(parameters, lr=lr, foreach=False)
            for step in range(LEARN_STEPS):
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model.train()(inputs), targets)
                forward = time.process_time() - started
                if step == 0 and forward > LEARN_SECONDS / 6:
                    raise Skip(f"one forward pass of eight samples takes {forward:.1f} s")
                loss.backward()
                optimizer.step()
                first = loss.item() if step == 0 and lr == 1e-3 else first
                best = min(best, loss.item())
                low = low + 1 if loss.item() < 0.75 * min(first, guess) else 0
                if low == 3:
                    return f"loss {first:.3f} fell to {best:.3f} in {step + 1} steps"
                if time.process_time() - started > LEARN_SECONDS:
                    raise Skip(f"{step + 1} steps took {LEARN_SECONDS:g} s; the loss was {first:.3f}, then {best:.3f}")
    fix = "Train it by hand on a few samples and look where the gradients vanish"
    raise Fault(f"loss {first:.3f} fell only to {best:.3f} on eight samples", fix, subject.definition)
