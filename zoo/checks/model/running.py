"""Checks of how a model runs: its logits depend on the seed, the sample and its parameters, and on nothing else."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from zoo.checks.base import Fault
from zoo.checks.model.layers import describe_layer, find_creation, list_layers
from zoo.checks.model.subject import MANY, TOLERANCE, ModelSubject, is_same, measure_difference
from zoo.checks.source import find_definition
from zoo.models.device import use_seed
from zoo.models.layers import hooked


def check_seed(subject: ModelSubject) -> str:
    """The seed alone decides what is random: initial parameters, and a training step.

    `zoo run --seed 42` promises the same run again, and each build is a model of its own: with one that is handed out
    twice, the second run goes on with what the first one learnt. zoo seeds torch, Python and numpy. Bits are compared.
    """
    model, rebuilt, other_seed = subject.rebuilt, subject.rebuilt_for_noise, subject.other_seed
    subject.models.clear()  # no later check needs them, and large ones take memory
    parameters = dict(model.named_parameters())
    for other in (rebuilt, other_seed):
        shared = {id(value) for value in parameters.values()} & {id(value) for value in other.parameters()}
        if shared:
            names = [name for name, value in parameters.items() if id(value) in shared]
            seen = f"two builds share {len(names)} parameters: {', '.join(names[:4])}"
            raise Fault(seen, "Build all layers in the factory: no cache, none at the top of the file")
    # State dicts, because buffers that no file keeps may hold anything until they are filled.
    values, rebuilt_values = model.state_dict(), rebuilt.state_dict()
    names = [name for name in {**values, **rebuilt_values} if not is_same(values.get(name), rebuilt_values.get(name))]
    if names:
        fix = "Draw from torch's generator, not from one of your own, the time or the system"
        raise Fault(f"two builds under one seed differ in {', '.join(names[:4])}", fix)
    logits = []
    for built in (model, rebuilt):
        with use_seed(3), torch.no_grad():
            logits.append(built.train()(subject.inputs(subject.inference_samples)))
    if not torch.equal(*logits):
        fix = "Draw from torch's generator in forward() too, and keep no state of the process"
        raise Fault("two training steps under one seed give different logits", fix, find_definition(type(model)))
    trained = {name: value for name, value in parameters.items() if value.requires_grad}
    other_parameters = dict(other_seed.named_parameters())
    # Nearly all of many random values differ, which those of constants and unit matrices do not.
    many = {name: value for name, value in trained.items() if value.numel() >= 64}
    random = [name for name, value in many.items() if len(value.unique()) > 0.9 * value.numel()]
    if random and all(is_same(value, other_parameters.get(name)) for name, value in trained.items()):
        seen = f"{', '.join(random[:4])} start with the same values under every seed"
        raise Fault(seen, "Draw them from torch's generator", status="warning")
    return "two builds and two training steps under one seed give the same bits"


def check_batch(subject: ModelSubject) -> str:
    """In evaluation a sample's logits do not depend on the other samples of its batch.

    Otherwise predictions change with the batch size. Each sample is computed alone, and beside mates a hundred times as
    large, and where inputs are small in a batch of 130. Up to 1e-4 of the largest logit may differ: sums are added in
    another order.
    """
    model = subject.perturbed.eval()
    inputs = subject.inputs(subject.inference_samples)
    larger_mates = torch.cat([inputs[:1], 100 * inputs[1:]])
    many = inputs if subject.is_large else torch.cat([inputs, subject.inputs(MANY - len(inputs), seed=1)])
    with torch.no_grad():
        logits = model(inputs)
        computed_alone = torch.cat([model(inputs[i : i + 1]) for i in range(len(inputs))])
        beside_larger = model(larger_mates)[:1]
        among_many = model(many)[: len(inputs)]
    for other, change, batch in (
        (computed_alone, "computed alone", inputs[:1]),
        (beside_larger, "beside larger batch-mates", larger_mates),
        (among_many, f"one of {len(many)}", many),
    ):
        difference = measure_difference(other, logits)
        if not difference <= TOLERANCE:
            fix = "Do not compute over axis 0 in eval(): no mean of the batch, no BatchNorm without running statistics"
            seen = f"logits differ by {difference:.2g} of the largest when a sample is {change}"
            layer = _find_mixing_layer(model, inputs, batch)
            if layer is not None:
                seen += f"; the first layer that mixes them is {describe_layer(model, layer)}"
            raise Fault(seen, fix, find_creation(layer) or find_definition(type(model)))
    return f"{len(inputs)} samples alone and together: the same within {TOLERANCE:g}"


def _find_mixing_layer(model: nn.Module, *batches: Tensor) -> nn.Module | None:
    """Return the first layer whose output for the first sample differs between two batches while its input does not."""
    calls: list[list[tuple[nn.Module, Tensor, Tensor]]] = []
    for batch in batches:
        noted: list[tuple[nn.Module, Tensor, Tensor]] = []

        def note(module: nn.Module, inputs: Any, output: Any, noted: list[Any] = noted) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                noted.append((module, inputs[0][:1].clone(), output[:1].clone()))

        with hooked(list_layers(model), note), torch.no_grad():
            model(batch)
        calls.append(noted)
    first, second = calls
    for (layer, given, output), (_, other_given, other_output) in zip(first, second, strict=False):
        if not _is_close(given, other_given):
            return None
        if not _is_close(output, other_output):
            return layer
    return None


def _is_close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4)


def check_inputs(subject: ModelSubject) -> str:
    """It leaves its inputs as they are, and looks at them.

    Batches may be views of the data set in memory: what changes them changes the data. And logits that are the same for
    all inputs have learnt nothing from them.
    """
    model, original = subject.perturbed, subject.inputs(subject.inference_samples)
    for training in (True, False):
        inputs = original.clone()
        changing: list[nn.Module] = []

        def note(module: nn.Module, *_: Any, inputs: Tensor = inputs, changing: list[Any] = changing) -> None:
            if not changing and not torch.equal(inputs, original):
                changing.append(module)

        with torch.no_grad(), hooked(list_layers(model), note):
            logits = model.train(training)(inputs)
        if not torch.equal(inputs, original):
            count = int((inputs != original).sum())
            fix = "Do not work in place on the inputs: no relu_(), +=, or inplace=True in the first layer"
            mode = "in training" if training else "in evaluation"
            # Another layer is not blamed: code of forward() that ran before it may have changed the inputs.
            where = find_creation(changing[0]) if changing and getattr(changing[0], "inplace", False) else ""
            seen = f"{count} of {inputs.numel()} values of the inputs are changed in place, {mode}"
            raise Fault(seen, fix, where or find_definition(type(model)))
    with torch.no_grad():
        other = model(subject.inputs(subject.inference_samples, seed=1))
    if torch.equal(logits, other) and torch.equal(logits[:1].expand_as(logits), logits):
        raise Fault("the logits are the same for all inputs", "Use the inputs", find_definition(type(model)))
    return "inputs are unchanged, logits depend on them"


def check_evaluation(subject: ModelSubject) -> str:
    """In evaluation mode the same inputs give the same logits, and the model does not change.

    A saved model must give its predictions back: no dropout, no counting, no running statistics in eval(), no logits
    that a later call overwrites. Compared bit for bit, three times each. And in both modes a call leaves the mode as it
    is, and holds on to nothing: a list that grows with every batch ends when the memory is full.
    """
    model, inputs = subject.perturbed, subject.inputs(subject.inference_samples)
    where = find_definition(type(model))
    with use_seed(1):
        _check_repeated_calls(model, inputs, where)
    before = copy.deepcopy(model.eval().state_dict())
    with torch.no_grad(), use_seed(1):
        logits = model(inputs)
        copied = logits.clone()
        model(subject.inputs(subject.inference_samples, seed=1))
        overwritten = not torch.equal(logits, copied)
        repeated = [model(inputs), model(inputs)]
    changed = [name for name, value in model.state_dict().items() if not is_same(before[name], value)]
    if changed:
        raise Fault(f"evaluation changes {', '.join(changed[:4])}", "Update buffers only `if self.training`", where)
    if overwritten:
        fix = "Return a new tensor from each call"
        raise Fault("logits change after they are returned: a later call writes into the same memory", fix, where)
    for other in repeated:
        if not torch.equal(copied, other):
            difference = float((copied - other).abs().max())
            fix = "Pass training=self.training to functional dropout, and keep no state between calls"
            raise Fault(f"the same inputs give logits that differ by {difference:.2g}", fix, where)
    return "the same inputs give the same bits, and nothing changes"


def _check_repeated_calls(model: nn.Module, inputs: Tensor, where: str) -> None:
    for training in (True, False):
        model.train(training)
        modes = {path: module.training for path, module in model.named_modules()}
        held = []
        for _ in range(3):
            with torch.no_grad():
                model(inputs)
            held.append(_count_tensors(model))
        switched = [path for path, module in model.named_modules() if module.training != modes.get(path)]
        if switched:
            names = ", ".join(path or "the model itself" for path in switched[:4])
            mode = "training" if training else "evaluation"
            raise Fault(f"a call in {mode} mode switches {names}", "Leave train() and eval() to the caller", where)
        if held[0] < held[1] < held[2]:
            fix = "Keep no outputs of former calls, or only the last ones"
            raise Fault(f"it holds {held[2] - held[0]} tensors more after two further calls", fix, where)


def _count_tensors(model: nn.Module) -> int:
    """Return how many tensors lie in lists and dicts that are attributes of the model or its parts."""
    attributes = [value for module in model.modules() for key, value in vars(module).items() if not key.startswith("_")]
    collections = [value for value in attributes if isinstance(value, list | dict | tuple)]
    return sum(isinstance(leaf, Tensor) for leaf in tree_leaves(collections))
