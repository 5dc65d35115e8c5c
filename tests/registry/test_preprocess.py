from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import InterpolationMode
from torchvision.transforms.functional import center_crop, normalize, resize, to_tensor

from zoo.errors import DataError
from zoo.registry.preprocess import Preprocess, default_scale


def draw(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed)).to(torch.uint8)


@pytest.mark.parametrize(
    ("dtype", "raw", "expected"),
    [
        (torch.uint8, [0, 51, 255], [0.0, 0.2, 1.0]),
        (torch.int8, [-127, 0, 127], [-1.0, 0.0, 1.0]),
        (torch.uint16, [0, 13107, 65535], [0.0, 0.2, 1.0]),
        (torch.int16, [-32767, 0, 32767], [-1.0, 0.0, 1.0]),
        (torch.float16, [0.5, -2.0, 300.0], [0.5, -2.0, 300.0]),
        (torch.bfloat16, [0.5, -2.0, 256.0], [0.5, -2.0, 256.0]),
        (torch.float32, [0.1, -2.0, 300.0], [0.1, -2.0, 300.0]),
        (torch.float64, [0.1, -2.0, 300.0], [0.1, -2.0, 300.0]),
        (torch.bool, [False, True, True], [0.0, 1.0, 1.0]),
    ],
)
def test_the_range_follows_from_the_dtype(dtype, raw, expected):
    inputs = Preprocess()(torch.tensor(raw).to(dtype).view(1, 1, 1, 3))
    assert inputs.dtype == torch.float32
    assert torch.equal(inputs.flatten(), torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.uint32, torch.uint64])
def test_wide_integers_need_a_stated_range(dtype):
    images = torch.tensor([[[[0, 1000, 4000]]]]).to(dtype)
    with pytest.raises(DataError, match=rf"dtype {dtype} have no default range.*Preprocess\(scale=") as caught:
        Preprocess()(images)
    assert caught.value.exit_code == 3
    with pytest.raises(DataError):
        default_scale(dtype)
    assert torch.equal(Preprocess(scale=4000)(images).flatten(), torch.tensor([0.0, 0.25, 1.0]))


def test_a_stated_range_wins_over_the_dtype():
    images = torch.tensor([[[[0, 8, 16]]]], dtype=torch.uint8)
    assert torch.equal(Preprocess(scale=16)(images).flatten(), torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(Preprocess(scale=1)(images).flatten(), torch.tensor([0.0, 8.0, 16.0]))
    assert torch.equal(Preprocess(scale=16)(images.to(torch.float32)).flatten(), torch.tensor([0.0, 0.5, 1.0]))


@pytest.mark.parametrize("channels", [1, 3])
def test_bytes_become_what_to_tensor_makes_of_them(channels):
    # All 256 levels, and not in the order of memory.
    levels = torch.arange(256, dtype=torch.uint8).repeat(channels, 1).view(channels, 16, 16).flip(2)
    pixels = levels.permute(1, 2, 0).numpy()
    expected = to_tensor(Image.fromarray(pixels if channels == 3 else pixels[:, :, 0]))
    assert torch.equal(Preprocess()(levels[None])[0], expected)


STEPS = {
    "nothing": Preprocess(),
    "scale": Preprocess(scale=100),
    "channels": Preprocess(channels=3),
    "resize": Preprocess(resize=(5, 7)),
    "shorter side": Preprocess(resize=9, crop=(7, 8)),
    "crop": Preprocess(crop=(3, 4)),
    "bicubic": Preprocess(resize=(5, 7), interpolation="bicubic"),
    "nearest": Preprocess(resize=(5, 7), interpolation="nearest"),
    "normalise": Preprocess(mean=(0.5,), std=(0.25,)),
    "all": Preprocess(scale=2, channels=3, resize=(5, 7), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
}


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("preprocess", STEPS.values(), ids=STEPS)
def test_raw_images_are_never_changed(preprocess, dtype):
    images = draw(4, 1, 6, 6).to(dtype)
    before = images.clone()
    preprocess(images)
    assert torch.equal(images, before)


@pytest.mark.parametrize("preprocess", STEPS.values(), ids=STEPS)
def test_inputs_are_contiguous_and_of_the_stated_shape(preprocess):
    last = draw(4, 6, 8, 1).permute(0, 3, 1, 2)
    inputs = preprocess(last)
    assert inputs.is_contiguous()
    assert tuple(inputs.shape[1:]) == preprocess.output_shape(last.shape[1:])
    assert Preprocess()(draw(4, 6, 8, 3).permute(0, 3, 1, 2)).is_contiguous()


@pytest.mark.parametrize("preprocess", STEPS.values(), ids=STEPS)
def test_an_image_does_not_depend_on_its_batch(preprocess):
    images = draw(9, 1, 6, 6)
    alone = torch.cat([preprocess(image[None]) for image in images])
    assert torch.equal(preprocess(images), alone)


def test_grey_becomes_three_equal_channels():
    images = draw(2, 1, 4, 4)
    inputs = Preprocess(channels=3)(images)
    assert inputs.shape == (2, 3, 4, 4)
    for channel in range(3):
        assert torch.equal(inputs[:, channel : channel + 1], Preprocess()(images))


def test_rgb_becomes_the_luma_of_pillow():
    images = draw(1, 3, 64, 64)
    primaries = torch.tensor([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255]], dtype=torch.uint8)
    images[0, :, 0, :4] = primaries
    grey = Image.fromarray(images[0].permute(1, 2, 0).numpy()).convert("L")
    found = Preprocess(channels=1)(images)
    assert found.shape == (1, 1, 64, 64)
    expected = torch.from_numpy(np.array(grey)) / 255
    assert (found[0, 0] - expected).abs().max() <= 1 / 255
    assert found[0, 0, 0, :4].tolist() == pytest.approx([0.299, 0.587, 0.114, 1.0], abs=1e-6)


def test_images_that_have_the_channels_already_stay():
    for channels in (1, 3):
        images = draw(2, channels, 4, 4)
        assert torch.equal(Preprocess(channels=channels)(images), Preprocess()(images))


@pytest.mark.parametrize(("have", "want"), [(4, 3), (2, 1), (4, 1), (2, 3)])
def test_other_channels_cannot_be_converted(have, want):
    with pytest.raises(DataError, match=f"images with {have} channels cannot become {want}"):
        Preprocess(channels=want)(draw(2, have, 4, 4))


@pytest.mark.parametrize("size", [(14, 14), (28, 28), (40, 33), (1, 1)])
def test_resize_is_bilinear_with_antialiasing(size):
    inputs = Preprocess(resize=size)(draw(3, 1, 28, 28))
    expected = resize(Preprocess()(draw(3, 1, 28, 28)), list(size), antialias=True)
    assert inputs.shape == (3, 1, *size)
    assert torch.equal(inputs, expected)


@pytest.mark.parametrize(("height", "width"), [(50, 40), (40, 50), (33, 33), (300, 31)])
def test_the_steps_of_real_networks_are_those_of_torchvision(height, width):
    images = draw(3, 3, height, width)
    steps = Preprocess(resize=37, crop=(32, 28), interpolation="bicubic", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    floats = (images / 255).clamp(0, 1)
    resized = resize(floats, 37, InterpolationMode.BICUBIC, antialias=True)
    low, high = floats.amin((1, 2, 3), keepdim=True), floats.amax((1, 2, 3), keepdim=True)
    expected = normalize(center_crop(resized.clamp(low, high), [32, 28]), list(steps.mean), list(steps.std))
    assert torch.allclose(steps(images), expected, atol=1e-6)
    assert steps.output_shape((3, height, width)) == (3, 32, 28)


def test_bicubic_makes_nothing_darker_or_brighter_than_the_image():
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 0.7
    assert Preprocess(resize=(16, 16), interpolation="bicubic")(edge).aminmax() == (0, edge.max())


def test_images_smaller_than_the_crop_are_refused():
    with pytest.raises(DataError, match="images of 20x28: are smaller than the crop 24x24"):
        Preprocess(crop=(24, 24))(draw(2, 1, 20, 28))
    with pytest.raises(DataError, match=r"samples of \(5,\) cannot be cropped"):
        Preprocess(crop=(2, 2))(torch.zeros(3, 5))


def test_mean_and_std_apply_per_channel():
    images = draw(2, 3, 4, 4)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    found = Preprocess(mean=mean, std=std)(images)
    assert torch.equal(found, normalize(Preprocess()(images), list(mean), list(std)))
    for channel in range(3):
        single = Preprocess(mean=mean[channel : channel + 1], std=std[channel : channel + 1])
        assert torch.equal(found[:, channel : channel + 1], single(images[:, channel : channel + 1]))


def test_steps_come_in_the_stated_order():
    images = draw(2, 1, 6, 6)
    steps = (
        Preprocess(scale=2),
        Preprocess(channels=3),
        Preprocess(resize=(5, 7)),
        Preprocess(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
    )
    expected = images
    for step in steps:
        expected = step(expected)
    assert torch.equal(STEPS["all"](images), expected)


def test_mean_and_std_may_be_integers_of_any_size_and_inputs_stay_float32():
    images = draw(2, 1, 4, 4)
    assert torch.equal(Preprocess(scale=10**20)(images), Preprocess(scale=1e20)(images))
    found = Preprocess(mean=(10**20,), std=(2,))(images)
    assert torch.equal(found, Preprocess(mean=(1e20,), std=(2.0,))(images))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        assert Preprocess(mean=(0.5,), std=(0.25,))(images).dtype == torch.float32
    finally:
        torch.set_default_dtype(before)


def test_mean_and_std_of_other_channels_are_refused():
    with pytest.raises(DataError, match="mean and std are for 3 channels: the images have 1"):
        Preprocess(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))(draw(2, 1, 4, 4))


def test_an_output_shape_keeps_what_no_step_changes():
    assert Preprocess().output_shape((5,)) == (5,)
    assert Preprocess().output_shape([2, 8, 9]) == (2, 8, 9)
    assert Preprocess(channels=3).output_shape((1, 8, 9)) == (3, 8, 9)
    assert Preprocess(resize=(4, 5)).output_shape((1, 8, 9)) == (1, 4, 5)


@pytest.mark.parametrize("preprocess", STEPS.values(), ids=STEPS)
def test_survives_json(preprocess):
    data = json.loads(json.dumps(preprocess.to_dict()))
    again = Preprocess.from_dict(data)
    assert again == preprocess
    assert hash(again) == hash(preprocess)
    images = draw(2, 1, 6, 6)
    assert torch.equal(again(images), preprocess(images))


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"scale": 0}, "scale"),
        ({"scale": -1.0}, "scale"),
        ({"scale": NAN}, "scale"),
        ({"scale": INF}, "scale"),
        ({"channels": 2}, "channels"),
        ({"channels": 0}, "channels"),
        ({"resize": (28,)}, "resize"),
        ({"resize": (0, 28)}, "resize"),
        ({"resize": (28, 2.5)}, "resize"),
        ({"resize": (28, "28")}, "resize"),
        ({"resize": 0, "crop": (1, 1)}, "resize"),
        ({"resize": True, "crop": (1, 1)}, "resize"),
        ({"resize": 28}, "crop"),
        ({"resize": 28, "crop": (29, 28)}, "crop"),
        ({"resize": (28, 30), "crop": (28, 31)}, "crop"),
        ({"crop": (0, 1)}, "crop"),
        ({"crop": 28}, "crop"),
        ({"crop": (2, 2, 2)}, "crop"),
        ({"interpolation": "lanczos"}, "interpolation"),
        ({"interpolation": None}, "interpolation"),
        ({"mean": (0.5,)}, "mean and std"),
        ({"std": (0.5,)}, "mean and std"),
        ({"mean": (0.5,), "std": (0.0,)}, "mean and std"),
        ({"mean": (0.5,), "std": (-1.0,)}, "mean and std"),
        ({"mean": (NAN,), "std": (1.0,)}, "mean and std"),
        ({"mean": (0.5,), "std": (INF,)}, "mean and std"),
        ({"mean": (0.5, 0.5), "std": (1.0,)}, "mean and std"),
    ],
)
def test_bad_values_are_refused(values, named):
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        Preprocess(**values)
    with pytest.raises(ValueError, match=f"^{named}: expected"):
        Preprocess.from_dict({key: list(v) if isinstance(v, tuple) else v for key, v in values.items()})


@pytest.mark.parametrize(
    "data", [{"sclae": 1}, {"scale": "1"}, {"mean": 3, "std": 3}, {"mean": ["a"], "std": [1]}, {"resize": 28}]
)
def test_other_data_is_refused(data):
    with pytest.raises((TypeError, ValueError)):
        Preprocess.from_dict(data)
