"""Data sets of mixed sizes: each image is resized by itself, and gives the inputs that its picture gives."""

from dataclasses import replace

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.utils.data import Dataset

import zoo
from zoo.data.fitted import FittedDataset, fit_splits
from zoo.data.images import to_form
from zoo.data.named import to_image
from zoo.data.splits import DataSplits, name_splits
from zoo.registry.compatibility import adapt_preprocess
from zoo.registry.specs import DatasetSpec, ModelSpec

CLASSES = ("red", "green", "blue")
PICTURES = zoo.Preprocess(resize=20, crop=(16, 16), rounded=True, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.2))


class Pictures(Dataset):
    """Noise of many sizes, tinted by class."""

    def __init__(self, first, count):
        self.first, self.count = first, count
        self.targets = [index % 3 for index in range(count)]

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        random = numpy.random.default_rng(self.first + index)
        height, width = random.integers(17, 60, 2)
        pixels = random.integers(0, 120, (height, width, 3)).astype("uint8")
        pixels[..., index % 3] += 130
        return Image.fromarray(pixels), index % 3


def mixed(*, root):
    return DataSplits(train=Pictures(0, 90), test=Pictures(500, 30), class_names=CLASSES, preprocess=PICTURES)


@pytest.fixture
def registry():
    found = zoo.Registry.discover()
    found.add(DatasetSpec(name="mixed", factory=mixed), plugin="pictures")
    found.add(DatasetSpec(name="unrounded", factory=unrounded), plugin="pictures")
    return found


def unrounded(*, root):
    return replace(mixed(root=root), preprocess=replace(PICTURES, rounded=False))


sizes = st.integers(1, 40)


@settings(max_examples=200)
@given(
    height=sizes,
    width=sizes,
    resize=st.integers(6, 30) | st.tuples(st.integers(6, 30), st.integers(6, 30)) | st.none(),
    crop=st.tuples(st.integers(1, 6), st.integers(1, 6)) | st.none(),
    interpolation=st.sampled_from(["bilinear", "bicubic", "nearest"]),
    dtype=st.sampled_from([torch.uint8, torch.uint16, torch.int16]),
    channels=st.sampled_from([None, 1, 3]),
    seed=st.integers(0, 100),
)
def test_fitted_images_give_the_inputs_of_the_originals(
    height, width, resize, crop, interpolation, dtype, channels, seed
):
    if isinstance(resize, int):
        crop = crop or (resize, resize)
    elif resize is None and crop is not None:
        height, width = height + 6, width + 6
    steps = zoo.Preprocess(resize=resize, crop=crop, interpolation=interpolation, channels=channels, rounded=True)
    random = torch.Generator().manual_seed(seed)
    raw = torch.randint(0, 256, (2, 3, height, width), generator=random).to(dtype)
    fitted = steps.fit(raw)
    assert fitted.dtype == dtype
    assert tuple(fitted.shape[1:]) == steps.fitted_shape((3, height, width))
    assert torch.equal(steps(fitted), steps(raw))
    assert torch.equal(torch.cat([steps.fit(one[None]) for one in raw]), fitted)


@pytest.mark.parametrize("crop", [24, 22, 21])  # the middle of 71 pixels is rounded differently for each
def test_rounding_is_the_only_difference_from_a_resize_of_floats(crop):
    raw = torch.randint(0, 256, (3, 3, 50, 71), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    steps = zoo.Preprocess(resize=32, crop=(crop, crop), interpolation="bicubic")
    exact, rounded = steps(raw), replace(steps, rounded=True)(raw)
    assert 0 < float((exact - rounded).abs().max()) <= 0.5 / 255 + 1e-6
    assert torch.equal((rounded * 255).round(), (rounded * 255).round().clamp(0, 255))
    assert torch.allclose(rounded * 255, (rounded * 255).round(), atol=1e-4)


def test_floats_are_not_rounded():
    raw = torch.rand(2, 3, 30, 40)
    steps = zoo.Preprocess(resize=20, crop=(16, 16))
    assert torch.equal(replace(steps, rounded=True)(raw), steps(raw))


def test_a_run_learns_from_pictures_of_many_sizes_and_its_weights_see_them_the_same(registry, tmp_path):
    options = {"registry": registry, "runs_dir": tmp_path}
    run = zoo.run("relu-mlp", "mixed", epochs=4, validation=0.2, augment="flip,crop", **options)
    assert run.metrics["accuracy"] > 0.9
    again = zoo.evaluate(run.weights, **options)
    assert again.metrics == run.metrics
    predictor = zoo.load(run.weights, registry=registry, verify=True)
    assert predictor.preprocess == PICTURES
    assert predictor.image["shape"] == (3, 20, 20)
    pictures = [Pictures(500, 30)[index][0] for index in range(30)]
    predicted = predictor(pictures).probabilities.max(axis=1)
    known = again.outcomes.probabilities.numpy()
    assert numpy.allclose(predicted, known, rtol=0, atol=1e-6)


def test_workers_and_augmentation_see_the_same_pixels(registry, tmp_path):
    options = {
        "registry": registry,
        "runs_dir": tmp_path,
        "epochs": 2,
        "augment": "flip,crop",
        "class_weights": "balanced",
    }
    alone = zoo.run("relu-mlp", "mixed", **options)
    shared = zoo.run("relu-mlp", "mixed", workers=2, **options)
    assert alone.metrics == shared.metrics
    digests = [zoo.load(run.weights, registry=registry).weights.digests["tensors"] for run in (alone, shared)]
    assert digests[0] == digests[1]


def test_mixed_sizes_that_are_not_rounded_are_refused_with_what_to_declare(registry, tmp_path):
    with pytest.raises(zoo.DataError, match="rounded=True"):
        zoo.run("relu-mlp", "unrounded", epochs=1, registry=registry, runs_dir=tmp_path)


def test_make_loader_and_the_description_fit_too(registry):
    splits = zoo.load_dataset("mixed", registry=registry)
    inputs, targets = next(iter(zoo.make_loader(splits.train, preprocess=splits.preprocess)))
    assert inputs.shape == (32, 3, 16, 16) and targets[:3].tolist() == [0, 1, 2]
    assert torch.equal(inputs[1], PICTURES(to_image(Pictures(0, 90)[1][0])[None])[0])
    described = zoo.describe_dataset("mixed", registry=registry)
    assert described.splits["train"].inputs == (32, 3, 16, 16)
    assert described.splits["test"].per_class == (10, 10, 10)


def test_an_input_size_keeps_what_the_crop_kept():
    spec = ModelSpec(name="any", factory="a:b")
    made, notes = adapt_preprocess(spec, "mixed", (3, 400, 300), PICTURES, (32, 32))
    assert (made.resize, made.crop, made.rounded) == (40, (32, 32), True)
    assert notes == ["size 16x16 -> 32x32"]
    fixed = ModelSpec(name="fixed", factory="a:b", input_shape=(3, 64, 64), adapt=("resize",))
    made, _ = adapt_preprocess(fixed, "mixed", (3, 400, 300), PICTURES)
    assert (made.resize, made.crop) == (80, (64, 64))


def test_weights_for_tensors_start_and_judge_on_pictures(registry, tmp_path):
    """A file whose inputs were never resized takes pictures at the size of its inputs."""
    options = {"registry": registry, "runs_dir": tmp_path}
    first = zoo.run("small-resnet", "shapes", epochs=1, dataset_params={"train_size": 64}, **options)
    shape = zoo.load(first.weights, registry=registry).input_shape
    tuned = zoo.run(init=first.weights, dataset="mixed", epochs=1, **options)
    made = zoo.load(tuned.weights, registry=registry)
    assert made.input_shape == shape
    assert made.preprocess.rounded and made.preprocess.crop == shape[1:]
    adapted = zoo.adapt(first.weights, class_names=CLASSES, output=tmp_path / "three.safetensors", registry=registry)
    assert zoo.evaluate(adapted.weights, "mixed", **options).samples == 30


def test_rounded_is_written_only_where_it_is_so():
    assert "rounded" not in zoo.Preprocess(resize=20, crop=(16, 16)).to_dict()
    assert zoo.Preprocess.from_dict(PICTURES.to_dict()) == PICTURES
    with pytest.raises(ValueError, match="rounded"):
        zoo.Preprocess(rounded=1)


@pytest.mark.parametrize(("channels", "shape"), [(1, (1, 9, 9)), (3, (3, 9, 9))])
def test_pictures_of_other_forms_take_the_form_of_the_training(channels, shape):
    grey = torch.randint(0, 65536, (2, 1, 9, 9), generator=torch.Generator().manual_seed(1)).to(torch.uint16)
    made = to_form(grey, channels)
    assert made.dtype == torch.uint8 and tuple(made.shape[1:]) == shape
    assert torch.equal(made[:, 0], (grey[:, 0].double() / 257).round().to(torch.uint8))
    assert to_form(torch.tensor([[[[0, 65535]]]], dtype=torch.uint16), 1).flatten().tolist() == [0, 255]
    with pytest.raises(zoo.DataError, match="4 channels"):
        to_form(torch.zeros(1, 4, 2, 2, dtype=torch.uint8), 1)


def test_splits_in_memory_are_fitted_beside_a_dataset():
    images = torch.randint(0, 256, (70, 3, 40, 30), dtype=torch.uint8)
    splits = DataSplits(train=(images, torch.zeros(70)), test=Pictures(0, 6), class_names=CLASSES)
    fitted, shape = fit_splits(name_splits("mixed", splits), PICTURES, (3, 40, 30))
    assert shape == (3, 20, 20)
    assert torch.equal(fitted.train[0], PICTURES.fit(images))
    assert tuple(fitted.test[0][0].shape) == shape
    plain = replace(splits, test=splits.train)
    assert fit_splits(plain, PICTURES, (3, 40, 30)) == (plain, (3, 40, 30))


def test_a_picture_that_would_grow_too_large_is_named(registry):
    wide = FittedDataset([(torch.zeros(3, 1, 2**18, dtype=torch.uint8), 0)], PICTURES)
    with pytest.raises(zoo.DataError, match="cannot become"):
        wide[0]


def test_steps_are_told_in_words():
    assert str(PICTURES) == "resize 20 bilinear, rounded, crop 16x16, mean 0.5 0.4 0.3, std 0.2 0.3 0.2"
    grey = zoo.Preprocess(scale=2, channels=1, resize=(8, 9), interpolation="nearest")
    assert str(grey) == "resize 8x9 nearest, scale 2, channels 1"
    assert str(zoo.Preprocess()) == "divided by the range of their dtype"
