"""Checks of a model that is moved: to another dtype, to another device, into a file and back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from zoo.checks.base import Fault, Skip
from zoo.checks.model.subject import TOLERANCE, ModelSubject, measure_difference
from zoo.checks.model.ties import list_ties, require_ties
from zoo.checks.source import find_caller, find_definition
from zoo.errors import WeightsError, describe
from zoo.models.device import use_seed
from zoo.models.weights import read_model, save_weights
from zoo.records.metadata import WeightsMetadata
from zoo.registry.entries import Registry
from zoo.registry.origin import find_origin
from zoo.registry.preprocess import Preprocess

DEVICE_ERRORS = ("same device", "is not on the expected device", "device cpu", "device type tensor to numpy")
"""Words of torch's errors, in small letters, about tensors on different devices."""


def check_dtypes(subject: ModelSubject) -> str:
    """It follows `model.to(dtype)`.

    Half precision and double come with one call, unless the model makes tensors of a dtype of its own. float64 must
    give what float32 gives within 1e-3 of the largest logit; bfloat16 must run, where this CPU has the kernels. Tensors
    that share memory with a trained parameter must do so afterwards, or training on a GPU differs from that on a CPU.
    """
    model = subject.perturbed.eval()
    ties = list_ties(model)
    inputs, where = subject.inputs(2), find_definition(type(model))
    fix = "Register tensors as buffers, and make new ones with the dtype and device of the inputs (torch.zeros_like)"
    with torch.no_grad():
        single = model(inputs)
        for dtype in (torch.float64, torch.bfloat16):
            try:
                logits = model.to(dtype)(inputs.to(dtype))
            except Exception as error:
                if "not implemented" in str(error):
                    continue
                raise Fault(f"in {dtype}: {describe(error)}", fix) from error
            difference = measure_difference(logits, single)
            if dtype == torch.float64 and not difference <= 1e-3:
                raise Fault(f"float64 gives logits that differ by {difference:.2g} of the largest", fix, where)
            require_ties(ties, model, f"after to({dtype})")
    return "runs in float64 and bfloat16"


def check_devices(subject: ModelSubject) -> str:
    """It follows `model.to(device)`.

    A tensor that is neither parameter nor buffer stays behind, and the run ends on the first machine with a GPU. Tried
    on an accelerator where there is one, and everywhere on torch's meta device, which computes shapes only.
    """
    model = subject.perturbed.eval().float()
    fix = "Register tensors with register_buffer(), and make new ones on the device of the inputs"
    tried = []
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    for device in filter(None, (accelerator, torch.device("meta"))):
        try:
            mode = _OneDevice()
            with torch.no_grad(), mode:
                logits = model.to(device)(subject.inputs(2).to(device))
        except Exception as error:
            if device.type != "meta" or any(words in str(error).lower() for words in DEVICE_ERRORS):
                raise Fault(f"on device {device}: {describe(error)}", fix) from error
            continue  # it reads values, which the meta device does not have
        if logits.device.type != device.type:
            where = mode.moved_to_cpu or find_definition(type(model))
            raise Fault(f"inputs on {device} give logits on {logits.device}", "Return them where they are", where)
        tried.append(str(device))
    if not tried:
        raise Skip("it looks at the values of its inputs, so it cannot be tried without an accelerator")
    return f"runs on {' and '.join(tried)}"


class _OneDevice(TorchDispatchMode):
    """Refuses operands on two devices, as an accelerator does; the meta device alone would let some of them pass."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moved_to_cpu = ""
        """`file:line` of the plugin that moved a tensor to the CPU."""

    FREE = ("aten.copy_", "aten._to_copy", "aten.index", "aten.set_", "aten.detach")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, given)) if isinstance(leaf, Tensor) and leaf.ndim]
        if len({tensor.device for tensor in tensors}) > 1 and not str(func).startswith(self.FREE):
            devices = " and ".join(dict.fromkeys(str(tensor.device) for tensor in tensors))
            raise RuntimeError(f"{func} takes tensors of the same device, got {devices}")
        if str(func).startswith("aten._to_copy") and str(given.get("device")) == "cpu" and args[0].is_meta:
            self.moved_to_cpu = find_caller()
            # A meta tensor has no values to copy.
            return torch.zeros(args[0].shape, dtype=given.get("dtype") or args[0].dtype)
        return func(*args, **given)


def check_file(subject: ModelSubject) -> str:
    """Saved and loaded, it gives the same logits.

    A weights file holds the state dict, and the model is built anew by its name. What a training changes outside of
    parameters and buffers is lost. Two training steps are made before, one of a large model. Up to 1e-4 of the largest
    logit may differ. Tensors that share memory do so in both: a tie that loading breaks shows only when training goes
    on. Where one more training step then has another effect, by more than 1e-3, that is a warning: a count of steps
    that changes a dropout may be meant to start anew.
    """
    # Loading builds under another seed, so that random values which are not in the file differ there.
    model = subject.other_seed
    shape, classes = subject.cases[0]
    samples = subject.training_samples
    targets = subject.targets(samples)
    with use_seed(8):
        for seed in range(1 if subject.is_large else 2):
            _train_step(model, subject.inputs(samples, seed=seed), targets)
    ties = list_ties(model)
    with torch.no_grad():
        expected = model.eval()(subject.inputs(samples))
    if not bool(torch.isfinite(expected).all()):
        raise Skip("after two small training steps its logits are not finite, so there is nothing to compare")
    metadata = WeightsMetadata(
        model=subject.entry.name,
        plugin=find_origin(subject.entry),
        params=subject.params,
        input_shape=tuple(shape),
        class_names=tuple(str(index) for index in range(classes)),
        preprocess=Preprocess(),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "weights.safetensors")
        fix = "Keep everything that training changes, or chance decides, in parameters or registered buffers"
        try:
            save_weights(path, model, metadata)
            loaded = read_model(path, metadata, Registry([subject.entry.plugin]))
        except WeightsError as error:
            raise Fault(str(error).replace(str(path), "its file"), fix, find_definition(type(model))) from error
        size = path.stat().st_size
    with torch.no_grad():
        logits = loaded(subject.inputs(samples))
    difference = measure_difference(logits, expected)
    if not difference <= TOLERANCE:
        seen = f"the loaded model's logits differ by {difference:.2g} of the largest"
        raise Fault(seen, fix, find_definition(type(model)))
    require_ties(ties, loaded, "after loading")
    subject.unite(loaded)
    _check_goes_on(model, loaded, subject.inputs(samples, seed=2), targets)
    return f"the same logits from a file of {size:,} bytes"


def _train_step(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=1e-2, foreach=False)
    nn.functional.cross_entropy(model.train()(inputs), targets).backward()
    # Clipped, because the first gradients may be so large that the logits would no longer be finite.
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad()


def _check_goes_on(model: nn.Module, loaded: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    """Raise Fault when one more training step changes a trained model and its loaded copy differently."""
    logits = []
    for each in (model, loaded):
        with use_seed(9):
            _train_step(each, inputs, targets)
        with torch.no_grad():
            logits.append(each.eval()(inputs))
    difference = measure_difference(logits[1], logits[0])
    if bool(torch.isfinite(logits[0]).all()) and not difference <= 1e-3:
        seen = f"one more training step makes the loaded model's logits differ by {difference:.2g} of the largest"
        fix = "Decide in the factory what is trained and what is tied; keep what training counts in buffers"
        raise Fault(seen, fix, find_definition(type(model)), "warning")
