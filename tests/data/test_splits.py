from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, IterableDataset

from zoo.data.named import to_image
from zoo.data.splits import DataSplits, check_splits, count_samples, find_input_shape, hash_splits
from zoo.errors import DataError
from zoo.registry.preprocess import Preprocess

NAMES = ("cat", "dog", "eel")


def split(samples=30, dtype=torch.uint8, shape=(1, 4, 5)):
    images = torch.arange(samples * torch.Size(shape).numel()).view(samples, *shape) % 251
    return images.to(dtype), torch.arange(samples) % 3


def splits(train=None, test=None, **others):
    return DataSplits(
        train=split() if train is None else train,
        test=split(12) if test is None else test,
        **{"class_names": NAMES, **others},
    )


class Pictures(Dataset):
    def __init__(self, *samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(())


def with_target(value, at=0, dtype=torch.int64):
    images, targets = split()
    targets = targets.to(dtype)
    targets[at] = value
    return images, targets


def with_pixel(value, at, dtype=torch.float32):
    images, targets = split(dtype=dtype)
    images[at, 0, 3, 4] = value
    return images, targets


def test_good_splits_pass():
    assert check_splits("pets", splits()) == []
    assert check_splits("pets", splits(validation=split(9))) == []
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.float16, torch.float32, torch.float64, torch.bool):
        images, targets = split(dtype=dtype)
        given = (images / 250, targets) if dtype.is_floating_point else (images, targets)
        assert check_splits("pets", splits(given)) == []
    for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.uint32, torch.uint64):
        images, targets = split()
        assert check_splits("pets", splits((images, targets.to(dtype)))) == []


BAD_SPLITS = {
    "empty": (split(0), "train split: has no samples"),
    "one class": ((split()[0], torch.ones(30, dtype=torch.int64)), r"train split: only one class \('dog'\)"),
    "negative": (with_target(-1, 4), r"target -1 at sample 4 is outside 0\.\.2"),
    "too high": (with_target(3, 29), r"target 3 at sample 29 is outside 0\.\.2"),
    "huge": (with_target(2**40), r"target 1099511627776 at sample 0 is outside 0\.\.2"),
    "too high, uint16": (with_target(3, 5, torch.uint16), r"target 3 at sample 5 is outside 0\.\.2"),
    "float targets": ((split()[0], split()[1].float()), r"expected integer targets, got torch\.float32"),
    "bool targets": ((split()[0], split()[1] == 1), r"expected integer targets, got torch\.bool"),
    "complex targets": ((split()[0], split()[1] * 1j), r"expected integer targets, got torch\.complex64"),
    "fewer targets": ((split()[0], split(29)[1]), r"images \(30, 1, 4, 5\) and targets \(29,\)"),
    "targets of two axes": ((split()[0], split()[1][:, None]), r"targets \(30, 1\)"),
    "no image axes": ((torch.zeros(30), split()[1]), r"images \(30,\) and targets"),
    "a number": ((torch.tensor(1.0), split()[1]), r"images \(\) and targets"),
    "complex images": ((split()[0] * 1j, split()[1]), r"expected integer or float images, got torch\.complex64"),
    "NaN": (with_pixel(float("nan"), 17), "sample 17 has values that are not finite"),
    "infinite": (with_pixel(float("-inf"), 29), "sample 29 has values that are not finite"),
    "NaN of 16 bits": (with_pixel(float("nan"), 17, torch.float16), "sample 17 has"),
    "infinite as float32": (with_pixel(1e300, 3, torch.float64), "sample 3 has"),
    "three parts": ((*split(), split()[1]), "expected two tensors"),
    "arrays": (tuple(part.numpy() for part in split()), r"expected two tensors .*'ndarray', 'ndarray'"),
    "a stream": (Stream(), "a stream that does not say how many samples it gives: expected an IterableDataset with"),
    "empty Dataset": (Pictures(), "train split: has no samples"),
}


@pytest.mark.parametrize(("bad", "text"), BAD_SPLITS.values(), ids=BAD_SPLITS)
@pytest.mark.parametrize("where", ["train", "validation", "test"])
def test_a_bad_split_is_refused_by_name(bad, text, where):
    with pytest.raises(DataError, match=text.replace("train", where)) as caught:
        check_splits("pets", replace(splits(), **{where: bad}))
    assert str(caught.value).startswith(f"dataset 'pets', {where} split: ")
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ((), "dataset 'pets' has 0 classes: a classifier needs at least two"),
        (("cat",), "dataset 'pets' has 1 class: a classifier needs at least two"),
        ((0, 1, 2), r"dataset 'pets': expected class names as texts, got \[0, 1, 2\]"),
        (range(3), "expected class names as texts"),
    ],
)
def test_bad_class_names_are_refused(names, text):
    with pytest.raises(DataError, match=text):
        check_splits("pets", splits(class_names=names))


def test_a_class_without_samples_is_a_warning():
    train = (split()[0], split()[1] % 2)
    expected = "dataset 'pets', {} split: class 'eel' has no samples"
    assert check_splits("pets", splits(train)) == [expected.format("train")]
    assert check_splits("pets", splits(train, train)) == [expected.format("train"), expected.format("test")]
    four = check_splits("pets", splits(class_names=(*NAMES, "\x1b[31mfox")))
    assert all("'\\x1b[31mfox' has no samples" in warning for warning in four)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 5, 4), (20,)])
@pytest.mark.parametrize("where", ["test", "validation"])
def test_splits_of_different_shapes_are_refused(shape, where):
    with pytest.raises(DataError, match=r"images are .*images \("):
        check_splits("pets", replace(splits(), **{where: split(9, shape=shape)}))


def test_a_dataset_is_not_read_by_the_check():
    class Untouched(Pictures):
        def __getitem__(self, index):
            raise AssertionError("read")

    assert check_splits("pets", splits(Untouched(1, 2))) == []


def test_count_samples():
    assert count_samples(split(7)) == 7
    assert count_samples(Pictures(1, 2, 3)) == 3
    assert [name for name, _ in splits().items()] == ["train", "test"]
    assert [name for name, _ in splits(validation=split()).items()] == ["train", "validation", "test"]


def test_equal_data_has_the_same_digest():
    digest = hash_splits(splits())
    assert len(digest) == 64
    # Whatever its layout in memory, and whatever tensors it shares.
    images, targets = split()
    other = images.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    assert not other.is_contiguous()
    assert hash_splits(splits((other, targets))) == digest
    assert hash_splits(splits(class_names=list(NAMES))) == digest


def test_any_change_of_the_data_changes_the_digest():
    images, targets = split()
    swapped = images[[1, 0, *range(2, 30)]]
    changed = [
        splits(),
        splits(with_target(0, 4)),
        splits(with_pixel(250, 29, torch.uint8)),
        splits((images, targets), split(13)),
        splits((images.to(torch.int16), targets)),
        splits((images, targets.to(torch.int32))),
        splits((images.view(30, 1, 5, 4), targets)),
        splits((swapped, targets)),
        splits(split(12), split()),
        splits(validation=split(12)),
        splits(class_names=("cat", "dog", "fox")),
        splits(class_names=("dog", "cat", "eel")),
        splits(class_names=("ca", "tdog", "eel")),
        splits(class_names=("cat", "dog", "eel", "fox")),
        splits(class_names=("cat", "dog", "\u00e4el")),
    ]
    digests = [hash_splits(each) for each in changed]
    assert len(set(digests)) == len(changed)


def test_a_dataset_has_no_digest():
    assert hash_splits(splits(test=Pictures((torch.zeros(1, 4, 5), 0)))) is None


def test_find_input_shape_of_tensors():
    assert find_input_shape("pets", splits()) == (1, 4, 5)
    wide = splits(split(dtype=torch.int32))
    with pytest.raises(DataError, match="no default range"):
        find_input_shape("pets", wide)
    assert find_input_shape("pets", replace(wide, preprocess=Preprocess(scale=250))) == (1, 4, 5)


@pytest.mark.parametrize(
    ("image", "shape"),
    [
        (torch.zeros(2, 6, 7), (2, 6, 7)),
        (Image.new("L", (7, 6)), (1, 6, 7)),
        (Image.new("1", (7, 6)), (1, 6, 7)),
        (Image.new("RGB", (7, 6)), (3, 6, 7)),
        (Image.new("P", (7, 6)), (3, 6, 7)),
        (Image.new("RGBA", (7, 6)), (3, 6, 7)),
        (Image.new("I;16", (7, 6)), (1, 6, 7)),
    ],
)
def test_find_input_shape_of_a_dataset(image, shape):
    assert find_input_shape("pets", splits(Pictures((image, 0)))) == shape
    assert tuple(to_image(image).shape) == shape


@pytest.mark.parametrize(
    ("dataset", "text"),
    [
        (Pictures(), "IndexError"),
        (Pictures(("a.png", 0)), "TypeError: expected a tensor or a PIL image, got str"),
        (Pictures((Image.new("I", (7, 6)), 0)), "mode 'I' have no range"),
    ],
)
def test_a_first_sample_that_cannot_be_read_is_named(dataset, text):
    with pytest.raises(DataError, match=rf"^dataset 'pets', train split: sample 0 cannot be read: .*{text}"):
        find_input_shape("pets", splits(dataset))


def test_an_image_has_no_gradient():
    assert not to_image(torch.zeros(1, 2, 2, requires_grad=True) * 2).requires_grad


def test_pictures_keep_their_pixels():
    pixels = np.random.RandomState(0).randint(0, 256, (6, 7, 3)).astype(np.uint8)
    assert torch.equal(to_image(Image.fromarray(pixels)), torch.from_numpy(pixels).permute(2, 0, 1))
    assert torch.equal(to_image(Image.fromarray(pixels[:, :, 0])), torch.from_numpy(pixels[None, :, :, 0].copy()))
    bits = Image.fromarray(pixels[:, :, 0] > 127)
    assert bits.mode == "1"
    assert torch.equal(to_image(bits)[0], torch.from_numpy((pixels[:, :, 0] > 127) * np.uint8(255)))
