"""Checks of how a model learns: gradients, parameters that are not trained, activations on the logits, and a trial."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from zoo.checks.base import Fault, Skip
from zoo.checks.model.activations import OutputActivation, find_output_activation, is_pooled
from zoo.checks.model.hidden import raise_hidden
from zoo.checks.model.layers import find_creation
from zoo.checks.model.stopped import raise_stopped, raise_unequal_places
from zoo.checks.model.subject import ModelSubject, is_same, without_auxiliary
from zoo.checks.source import find_definition
from zoo.models.device import use_seed
from zoo.registry.certificates import Status

BATCHES, BATCH_SECONDS = 40, 5.0
"""Limits of looking for gradients: batches, and processor seconds."""

LEARN_STEPS, LEARN_SECONDS = 150, 6.0
"""Limits of learning eight samples: steps at each learning rate, and processor seconds."""


def check_gradients(subject: ModelSubject) -> str:
    """Gradients reach every trainable parameter, and every parameter is the model's.

    A parameter without a gradient stays random for ever, while the loss of the others may still fall: a detach(), a
    layer that is built and never called. One that is in a plain list or at the top of the file gets its gradient, but
    no optimizer and no file has it. Noise is added to all parameters before, since a layer that starts at zero rightly
    stops gradients once. A gradient of exactly zero in up to 40 batches (5 seconds) counts as none, so layers may be
    left out by chance; for biases only one that does not exist, since a normalisation or a softmax after them
    cancels theirs. Values of a parameter with a gradient of exactly zero are moved by 1 %: where the logits follow
    though their gradient stays zero, a part of the layer is detached. And a sample must reach the same parameters at
    every place of a batch.
    """
    model, samples = subject.perturbed, subject.training_samples
    with use_seed(6):
        batches = (subject.inputs(samples, seed=seed) for seed in range(BATCHES))
        reached, total = _find_gradients(model, batches, subject.targets(samples))
    missing = [name for name, parameter in model.named_parameters() if parameter.requires_grad and name not in reached]
    if missing and all(model.get_parameter(name).grad is not None for name in missing):
        reached_by_larger = _find_reached_by_larger(subject)
        missing = [name for name in missing if name not in reached_by_larger]
    if missing:
        raise _describe_unreached(model, missing, total)
    model.zero_grad(set_to_none=True)
    if not total:
        fix = "Leave requires_grad of some parameters alone"
        raise Fault("no parameter wants a gradient: there is nothing to train", fix, find_definition(type(model)))
    raise_stopped(model.train(), subject.inputs(samples))
    raise_unequal_places(model, subject.inputs(samples))
    model.zero_grad(set_to_none=True)
    return f"all {total} trainable parameters are reached"


def _find_reached_by_larger(subject: ModelSubject) -> set[str]:
    """Return the parameters that a gradient reaches with images of 128 pixels, where the model declares to take them.

    When a small image shrinks to one place, attention has nothing to compare, and its gradients are 0.
    """
    shape, classes = subject.cases[0]
    sizes = zip(subject.entry.spec.input_shape or ("*",) * 3, shape, strict=False)
    larger = tuple(128 if want == "*" and axis else size for axis, (want, size) in enumerate(sizes))
    if len(shape) != 3 or larger == shape:
        return set()
    larger_subject = ModelSubject(subject.entry, subject.params, cases=[(larger, classes)])
    batches = (larger_subject.inputs(2, seed=seed) for seed in range(2))
    return _find_gradients(larger_subject.perturbed, batches, larger_subject.targets(2))[0]


def _describe_unreached(model: nn.Module, missing: list[str], total: int) -> Fault:
    where = find_creation(model.get_submodule(missing[0].rpartition(".")[0])) or find_definition(type(model))
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
    return Fault(seen, fix, where)


def _find_gradients(model: nn.Module, batches: Iterator[Tensor], targets: Tensor) -> tuple[set[str], int]:
    """Return the names of the parameters that a gradient reaches in one of the batches, and how many want one.

    Raises:
        Fault: a gradient is not finite, or reaches what is no parameter of the model.
    """
    reached: set[str] = set()
    model.train()
    wanting = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    started = time.process_time()
    for number, inputs in enumerate(batches):
        logits = model(inputs)
        if not logits.requires_grad:
            break
        if number == 0:
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
        if len(reached) == len(wanting) or (number and time.process_time() - started > BATCH_SECONDS):
            break
    return reached, len(wanting)


def check_frozen(subject: ModelSubject) -> str:
    """Parameters that are not trained do not come from the random generator.

    A layer with requires_grad=False keeps the values it is built with. That is right for trained or computed ones,
    which are the same under every seed; random ones stay random for ever.
    """
    model, other_seed = subject.rebuilt, dict(subject.other_seed.named_parameters())
    frozen = {name: parameter for name, parameter in model.named_parameters() if not parameter.requires_grad}
    random = [name for name, value in frozen.items() if not is_same(value, other_seed.get(name))]
    if random:
        count = sum(frozen[name].numel() for name in random)
        total = sum(parameter.numel() for parameter in model.parameters())
        layer = model.get_submodule(random[0].rpartition(".")[0])
        seen = f"{', '.join(random[:4])} start random and are not trained: {count} of {total} values"
        fix = "Leave requires_grad alone, or load trained values in the factory"
        raise Fault(seen, fix, find_creation(layer) or find_definition(type(model)))
    return f"{len(frozen)} are not trained" + (", and the same under every seed" if frozen else "")


def check_activation(subject: ModelSubject) -> str:
    """Nothing after the last layer keeps the logits from being free, in training or in evaluation.

    Cross-entropy takes logits, any numbers. After a ReLU no logit falls below 0, and a class that sits at 0 for every
    sample gets no gradient: it is never predicted again. After softmax, sigmoid or tanh the loss cannot fall below a
    floor; dropout sets whole logits to 0. The last layer's parameters are scaled by 1000 and -1000: free logits follow.
    Logits that are log-probabilities, distances or scaled cosines pass: they cost less than 0.05 nats. An activation
    before a pooling is a warning only.
    """
    model = subject.perturbed
    inputs = subject.inputs(subject.activation_samples)
    for training in (False, True):
        with use_seed(7), without_auxiliary():
            auxiliary = bool(subject.entry.spec.aux_weights)
            activation = find_output_activation(model, inputs, training=training, auxiliary=auxiliary)
            if activation is not None:
                what = activation.place or f"the {activation.name}"
                fix = f"Take out {what}: return what the last layer gives; the loss applies the softmax itself"
                if activation.name == "a bound":
                    fix = "Return what the last layer gives, or multiply it by a scale that is large or learnt"
                where = activation.where or find_definition(type(model))
                status: Status = "warning" if is_pooled(model, inputs) else "failed"
                raise Fault(_describe_activation(activation, training), fix, where, status)
    return "the logits follow the last layer in both directions"


def _describe_activation(activation: OutputActivation, training: bool) -> str:
    mode = " in training" if training else ""
    what = f"{activation.name} on the logits{mode}" + (f", by {activation.place}" if activation.place else "")
    if activation.name == "dropout":
        zeros = f"{activation.share:.0%} of them are exactly 0 in training"
        return f"{what}: {zeros}, whatever the sample, and none in evaluation"
    parts = [f"they stay between {activation.lower:.3g} and {activation.upper:.3g} however large the last layer gets"]
    if activation.upper > 100:
        parts = [f"none is ever below {activation.lower:.3g}"]
    if activation.lower < -100:
        parts = [f"none is ever above {activation.upper:.3g}"]
    if activation.share > 0.01:
        parts.append(f"{activation.share:.0%} of them sit exactly on that edge, where there is no gradient")
    if activation.dead:
        count = len(activation.dead)
        parts.append(f"{count} class{'es do' if count > 1 else ' does'} so for every sample")
    if activation.floor > 0.01:
        parts.append(f"the loss cannot fall below {activation.floor:.2f}")
    return f"{what}: {'; '.join(parts)}"


def check_learns(subject: ModelSubject) -> str:
    """It can learn eight samples by heart.

    Whatever else may be wrong, a model that cannot do that will not learn a data set. Adam, at most 150 steps each with
    rates of 0.001 and 0.01, must get to three quarters of the loss it starts with, or of guessing where that is less,
    three steps running; learning no more than how often each class occurs gets to nine tenths. Skipped where that takes
    more than six seconds, or one forward pass more than one.
    """
    inputs, targets = subject.inputs(8), subject.targets(8)
    initial, best, steps_below = float("nan"), float("inf"), 0
    guess = math.log(subject.cases[0][1])
    started = time.process_time()
    for lr in (1e-3, 1e-2):
        with use_seed(0):
            model = subject.rebuilt if lr == 1e-3 else subject.build()
            parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
            optimizer = torch.optim.Adam(parameters, lr=lr, foreach=False)
            for step in range(LEARN_STEPS):
                optimizer.zero_grad()
                output = nn.functional.cross_entropy(model.train()(inputs), targets)
                forward = time.process_time() - started
                if step == 0 and forward > LEARN_SECONDS / 6:
                    raise Skip(f"one forward pass of eight samples takes {forward:.1f} s")
                output.backward()
                optimizer.step()
                loss = output.item()
                initial = loss if step == 0 and lr == 1e-3 else initial
                best = min(best, loss)
                steps_below = steps_below + 1 if loss < 0.75 * min(initial, guess) else 0
                if steps_below == 3:
                    return f"loss {initial:.3f} fell to {best:.3f} in {step + 1} steps"
                if time.process_time() - started > LEARN_SECONDS:
                    found = f"the loss was {initial:.3f}, then {best:.3f}"
                    raise Skip(f"{step + 1} steps took {LEARN_SECONDS:g} s; {found}")
    fix = "Train it by hand on a few samples and look where the gradients vanish"
    raise Fault(f"loss {initial:.3f} fell only to {best:.3f} on eight samples", fix)
