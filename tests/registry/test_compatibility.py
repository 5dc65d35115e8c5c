from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from zoo.errors import DryRunError, IncompatibleError, OutOfMemoryError
from zoo.models.probe import check_model
from zoo.registry.compatibility import adapt_preprocess, show_shape
from zoo.registry.preprocess import Preprocess
from zoo.registry.specs import ModelSpec

PLAIN = Preprocess()


def spec(input_shape, *adapt):
    return ModelSpec(name="net", factory="p:f", input_shape=input_shape, adapt=adapt)


def adapt(model, raw_shape, preprocess=PLAIN):
    return adapt_preprocess(model, "pets", raw_shape, preprocess)


@pytest.mark.parametrize(
    ("pattern", "shape"),
    [
        (None, (1, 28, 28)),
        (None, (5,)),
        ((1, 28, 28), (1, 28, 28)),
        (("*", "*", "*"), (7, 3, 2)),
        ((3, "*", "*"), (3, 20, 30)),
        (("*", 28, "*"), (1, 28, 9)),
        ((20,), (20,)),
    ],
)
def test_what_fits_stays_as_it_is(pattern, shape):
    for adaptable in ((), ("channels", "resize")):
        preprocess, notes = adapt(spec(pattern, *adaptable), shape)
        assert preprocess is PLAIN
        assert notes == []


@pytest.mark.parametrize(
    ("pattern", "adaptable", "shape"),
    [
        ((3, 28, 28), (), (1, 28, 28)),
        ((3, 28, 28), ("resize",), (1, 28, 28)),
        ((1, 32, 32), ("channels",), (1, 28, 28)),
        ((3, 32, 32), ("channels",), (1, 28, 28)),
        ((3, 32, 32), ("resize",), (1, 28, 28)),
        ((3, "*", "*"), ("channels", "resize"), (4, 28, 28)),
        ((4, 28, 28), ("channels", "resize"), (1, 28, 28)),
        ((2, 28, 28), ("channels", "resize"), (3, 28, 28)),
        ((3, "*", "*"), ("channels", "resize"), (28, 28)),
        ((784,), ("channels", "resize"), (1, 28, 28)),
        (("*", "*"), (), (1, 28, 28)),
    ],
)
def test_what_cannot_fit_is_refused(pattern, adaptable, shape):
    with pytest.raises(IncompatibleError) as caught:
        adapt(spec(pattern, *adaptable), shape)
    error = caught.value
    needed = "x".join(str(size) for size in pattern)
    assert f"model 'net' does not fit dataset 'pets': needs inputs of {needed}, got {show_shape(shape)}" in str(error)
    assert error.exit_code == 2
    assert ("adapt " + " and ".join(adaptable) if adaptable else "allows no adaptation") in error.fix


def test_the_refusal_counts_what_the_data_set_does_itself():
    ready = Preprocess(channels=3, resize=(32, 32))
    assert adapt(spec((3, 32, 32)), (1, 28, 28), ready) == (ready, [])
    with pytest.raises(IncompatibleError, match=r"needs inputs of 1x28x28, got 3x32x32"):
        adapt(spec((1, 28, 28)), (1, 28, 28), ready)


def test_channels_are_adapted():
    preprocess, notes = adapt(spec((3, "*", "*"), "channels"), (1, 28, 30))
    assert preprocess == Preprocess(channels=3)
    assert notes == ["channels 1 -> 3"]
    preprocess, notes = adapt(spec((1, "*", "*"), "channels"), (3, 28, 30))
    assert preprocess == Preprocess(channels=1)
    assert notes == ["channels 3 -> 1"]


@pytest.mark.parametrize(
    ("pattern", "size"),
    [((1, 32, 32), (32, 32)), ((1, 32, "*"), (32, 30)), (("*", "*", 16), (28, 16)), ((1, 28, 16), (28, 16))],
)
def test_the_size_is_adapted(pattern, size):
    preprocess, notes = adapt(spec(pattern, "resize"), (1, 28, 30))
    assert preprocess == Preprocess(resize=size)
    assert notes == [f"size 28x30 -> {size[0]}x{size[1]}"]


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_a_crop_keeps_its_part_of_the_image_at_another_size(interpolation):
    declared = Preprocess(resize=256, crop=(224, 192), interpolation=interpolation)
    found, notes = adapt(spec((3, 112, 112), "resize"), (3, 512, 256), declared)
    assert (found.resize, found.crop, found.interpolation) == ((256, 149), (112, 112), interpolation)
    assert notes == ["size 224x192 -> 112x112"] and found.output_shape((3, 512, 256)) == (3, 112, 112)
    found, _ = adapt(spec((1, 14, 14), "resize"), (1, 32, 40), Preprocess(crop=(28, 28)))
    assert (found.resize, found.crop) == ((16, 20), (14, 14))


def test_all_adaptations_together_keep_what_was_declared():
    declared = Preprocess(scale=100, mean=(0.5,), std=(0.25,))
    preprocess, notes = adapt(spec((3, 32, 32), "channels", "resize"), (1, 28, 28), declared)
    assert preprocess == Preprocess(scale=100, channels=3, resize=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)
    assert notes == ["channels 1 -> 3", "size 28x28 -> 32x32"]


def test_mean_and_std_follow_the_channels():
    images = torch.randint(256, (4, 1, 6, 6), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    grey = Preprocess(mean=(0.2860,), std=(0.3530,))
    adapted, _ = adapt(spec((3, "*", "*"), "channels"), (1, 6, 6), grey)
    assert torch.equal(adapted(images), grey(images).expand(-1, 3, -1, -1))

    rgb = Preprocess(mean=(0.485, 0.456, 0.406), std=(0.2, 0.2, 0.2))
    adapted, _ = adapt(spec((1, "*", "*"), "channels"), (3, 6, 6), rgb)
    assert adapted.mean == pytest.approx((0.299 * 0.485 + 0.587 * 0.456 + 0.114 * 0.406,))
    assert adapted.std == pytest.approx((0.2,))
    # Luma is linear: where all channels share their std, the luma of normalised colours is the normalised luma.
    colours = torch.randint(256, (4, 3, 6, 6), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    luma = torch.tensor([0.299, 0.587, 0.114]).view(-1, 1, 1)
    assert torch.allclose(adapted(colours), (rgb(colours) * luma).sum(1, keepdim=True), atol=1e-5)


def test_an_adapted_preprocess_gives_what_the_model_wants():
    for shape in ((1, 28, 28), (3, 40, 20)):
        for pattern in ((3, 32, 32), (1, 32, 32), (3, "*", "*"), (1, 9, "*")):
            preprocess, _ = adapt(spec(pattern, "channels", "resize"), shape)
            inputs = preprocess(torch.zeros(2, *shape, dtype=torch.uint8))
            assert all(want in ("*", got) for want, got in zip(pattern, inputs.shape[1:], strict=True))


class Net(nn.Module):
    """A model whose logits go through a function."""

    def __init__(self, change=lambda logits: logits):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.BatchNorm1d(5), nn.Dropout(0.5))
        self.change = change

    def forward(self, inputs):
        return self.change(self.body(inputs))


def check(model):
    check_model(model, torch.zeros(2, 3, 2, 2), name="net", dataset="pets", num_classes=5)


def fail(logits):
    raise RuntimeError("mat1 and mat2\ncannot be multiplied")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_a_good_model_passes(dtype):
    check(Net(lambda logits: logits.to(dtype)))


@pytest.mark.parametrize(
    ("change", "got"),
    [
        (lambda logits: logits[:, :4], "2x4"),
        (lambda logits: logits.repeat(1, 2), "2x10"),
        (lambda logits: logits[:1], "1x5"),
        (lambda logits: logits.flatten(), "10"),
        (lambda logits: logits[None], "1x2x5"),
        (lambda logits: logits.sum(), "a single number"),
        (lambda logits: (logits, logits), "a tuple: return the logits alone"),
        (lambda logits: {"logits": logits}, "a dict with keys ['logits']: return the logits alone"),
        (lambda logits: None, "None: its forward returns nothing"),
        (lambda logits: logits.argmax(1), "2"),
        (lambda logits: logits.long(), "dtype torch.int64"),
        (lambda logits: logits * 1j, "dtype torch.complex64"),
        (lambda logits: logits * float("nan"), "values that are not finite"),
        (lambda logits: logits + float("inf"), "values that are not finite"),
        (fail, "RuntimeError: mat1 and mat2 cannot be multiplied (test_compatibility.py, line NUMBER)"),
    ],
)
def test_a_bad_model_is_refused_with_what_it_gave(change, got):
    with pytest.raises(DryRunError) as caught:
        check(Net(change))
    expected = "model 'net' does not fit dataset 'pets': needs float logits of 2x5 for inputs of 2x3x2x2, got "
    assert re.sub(r"line \d+", "line NUMBER", str(caught.value)) == expected + got
    assert caught.value.exit_code == 5
    assert isinstance(caught.value, IncompatibleError)


def test_too_little_memory_is_no_fault_of_the_model():
    def exhaust(logits):
        return torch.empty(2**60)

    with pytest.raises(OutOfMemoryError, match="model 'net'") as caught:
        check(Net(exhaust))
    assert caught.value.exit_code == 9


@pytest.mark.parametrize("change", [lambda logits: logits + torch.rand(5), fail])
@pytest.mark.parametrize("training", [True, False])
def test_nothing_is_changed_by_the_check(change, training):
    model = Net(change).train(training)
    model.body[2].train(not training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    torch.rand(3)
    state = torch.get_rng_state()
    try:
        check(model)
    except DryRunError:
        assert change is fail
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.is_grad_enabled()


def test_the_check_runs_in_eval_mode():
    modes = []

    def note(logits):
        modes.append([module.training for module in model.modules()])
        return logits

    model = Net(note)
    check(model)
    assert modes == [[False] * 6]
