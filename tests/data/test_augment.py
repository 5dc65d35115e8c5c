"""Augmentation: what the operations do to pixels, that nothing but seed, epoch and sample decides it, and its text."""

from __future__ import annotations

import math
import pickle
import random
import re
import subprocess
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import Dataset
from torchvision.transforms import v2

import zoo
from zoo.data.augment import Augment, Crop, CutMix, Erase, Flip, Mixup, Transform, draw, parse
from zoo.data.augment.operations import list_sizes
from zoo.data.augment.pipeline import OPERATIONS
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.data.order import epoch_order
from zoo.errors import DataError, SettingError, SeveralErrors, UnknownNameError, UnknownSettingError, UsageError
from zoo.registry.preprocess import Preprocess
from zoo.registry.settings import TrainConfig
from zoo.training.losses import Losses
from zoo.training.progress import no_progress
from zoo.training.step import TrainStep
from zoo.training.trainer import Trainer, train_one_epoch

CPU = torch.device("cpu")
CLASSES = 7
PAGE = ROOT / "docs" / "reference" / "augmentation.md"
DTYPES = [torch.uint8, torch.uint16, torch.int16, torch.bool, torch.float16, torch.float32, torch.float64]
ALL = "flip,crop:padding=2:fill=1,erase:p=0.7:fill=1"
DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else []), *(["mps"] if torch.mps.is_available() else [])]


def make(samples=50, dtype=torch.uint8, shape=(2, 9, 7), seed=0):
    generator = torch.Generator().manual_seed(seed)
    raw = torch.randint(2 if dtype == torch.bool else 256, (samples, *shape), generator=generator)
    return raw.to(dtype), torch.randint(CLASSES, (samples,), generator=generator)


@pytest.mark.parametrize("dtype", DTYPES)
def test_flip_mirrors_the_chosen_ones(dtype):
    images, _ = make(dtype=dtype)
    before = images.clone()
    found = parse("flip:p=0.3")(images, range(50), epoch=2, seed=7)
    expected = images.clone()
    for index, (number,) in enumerate(draw(7, 2, torch.arange(50), "flip").tolist()):
        if number < 0.3 * 2**32:
            expected[index] = torch.from_numpy(images[index].numpy()[..., ::-1].copy())
    assert found.dtype == dtype and torch.equal(found, expected) and torch.equal(images, before)
    assert not torch.equal(found, images)


@pytest.mark.parametrize("dtype", DTYPES)
def test_crop_shifts_over_a_padding(dtype):
    images, _ = make(dtype=dtype)
    found = parse("crop:padding=3,fill=1")(images, range(50), epoch=2, seed=7)
    numbers = draw(7, 2, torch.arange(50), "crop", 2).tolist()
    shifts = set()
    for index, pair in enumerate(numbers):
        top, left = (number * 7 // 2**32 for number in pair)
        padded = np.pad(images[index].numpy(), ((0, 0), (3, 3), (3, 3)), constant_values=1)
        assert np.array_equal(found[index].numpy(), padded[:, top : top + 9, left : left + 7])
        shifts.add((top, left))
    assert found.dtype == dtype and len(shifts) > 25


@pytest.mark.parametrize("dtype", DTYPES)
def test_erase_replaces_a_rectangle(dtype):
    images, _ = make(dtype=dtype)
    operation = Erase(p=0.7, scale=(0.1, 0.4), ratio=(0.5, 2.0), fill=1)
    found = operation(images, torch.arange(50), epoch=2, seed=7)
    sizes = list_sizes((9, 7), (0.1, 0.4), (0.5, 2.0)).tolist()
    erased = 0
    for index, (coin, size, row, column) in enumerate(draw(7, 2, torch.arange(50), "erase", 4).tolist()):
        expected = images[index].clone()
        if coin < 0.7 * 2**32:
            height, width = sizes[size * len(sizes) // 2**32]
            top, left = row * (10 - height) // 2**32, column * (8 - width) // 2**32
            expected[:, top : top + height, left : left + width] = 1
            erased += 1
        assert torch.equal(found[index], expected)
    assert found.dtype == dtype and 25 < erased < 45


def test_erased_rectangles_have_the_areas_and_ratios_asked_for():
    for sides in ((224, 224), (28, 28), (9, 30)):
        height, width = list_sizes(sides, (0.02, 0.33), (0.3, 3.3)).double().unbind(1)
        share, ratio = height * width / math.prod(sides), height / width
        assert bool(((height < sides[0]) & (width < sides[1]) & (height >= 1) & (width >= 1)).all())
        # A side is rounded by half a pixel at most.
        slack = (height / (height - 0.5)) * (width / (width - 0.5))
        assert bool((share <= 0.33 * slack).all()) and bool((share * slack >= 0.02).all())
        assert bool((ratio <= 3.3 * slack).all()) and bool((ratio * slack >= 0.3).all())
    height, width = list_sizes((224, 224), (0.02, 0.33), (0.3, 3.3)).double().unbind(1)
    # As the draws that random erasing makes until one fits: areas evenly, ratios evenly in their logarithm.
    generator = np.random.default_rng(0)
    area = generator.uniform(0.02, 0.33, 200_000) * 224 * 224
    ratio = np.exp(generator.uniform(math.log(0.3), math.log(3.3), 200_000))
    high, wide = np.round(np.sqrt(area * ratio)), np.round(np.sqrt(area / ratio))
    fits = (high < 224) & (wide < 224)
    assert abs(float(height.mean()) / high[fits].mean() - 1) < 0.01
    assert abs(float((height * width).std()) / (high * wide)[fits].std() - 1) < 0.02


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_pixels_are_the_same_on_every_device_and_layout(device, layout):
    for dtype in (torch.uint8, torch.float32):
        images, _ = make(dtype=dtype)
        moved = images.to(device).contiguous(memory_format=layout)
        assert torch.equal(parse(ALL)(moved, range(50), 1, 7).cpu(), parse(ALL)(images, range(50), 1, 7))


@pytest.mark.parametrize("text", [ALL, "flip,RandomRotation:degrees=30,crop:padding=1", "RandomPhotometricDistort:p=1"])
@settings(max_examples=15)
@given(data=st.data(), seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 10_000))
def test_any_partition_in_any_order_gives_the_same_pixels(text, data, seed, epoch):
    augment, (images, _) = parse(text), make(samples=24, shape=(3, 9, 7))
    whole = augment(images, torch.arange(24), epoch, seed)
    order = data.draw(st.permutations(range(24)))
    cuts = sorted(data.draw(st.lists(st.integers(0, 24), max_size=6)))
    for start, end in zip([0, *cuts], [*cuts, 24], strict=True):
        chosen = order[start:end]
        assert torch.equal(augment(images[chosen], chosen, epoch, seed), whole[chosen])


def test_seeds_epochs_samples_and_repeated_operations_differ():
    images = make(samples=1)[0].expand(400, 2, 9, 7)
    indices = torch.arange(400)
    base = parse("flip,crop")(images, indices, 0, 1)
    for other in (parse("flip,crop")(images, indices, 0, 2), parse("flip,crop")(images, indices, 1, 1)):
        same = (base == other).flatten(1).all(1).double().mean()
        assert same < 0.1
    assert len(base.flatten(1).unique(dim=0)) > 100
    once, twice = parse("flip")(images, indices), parse("flip,flip")(images, indices)
    # Both flips mirror half of the images, not the same ones.
    assert 150 < int((twice == images).flatten(1).all(1).sum()) < 250
    assert not torch.equal(once, twice)


def test_other_operations_change_no_draws_of_one():
    images, _ = make()
    assert torch.equal(parse("erase:p=0,crop")(images, range(50)), parse("crop")(images, range(50)))


class Samples(Dataset):
    def __init__(self, split):
        self.images, self.targets = split

    def __len__(self):
        return len(self.targets)

    def __getitem__(self, index):
        return self.images[index], int(self.targets[index])


def loop(split, augment, preprocess, epoch, seed, batch_size):
    """The batches of an epoch by hand."""
    images, targets = split
    for indices in epoch_order(len(targets), seed, epoch).split(batch_size):
        yield preprocess(augment(images[indices], indices, epoch, seed)), targets[indices]


@pytest.mark.parametrize("text", [ALL, "flip,RandomRotation:degrees=30"])
@pytest.mark.parametrize("preprocess", [Preprocess(mean=(0.1, 0.2), std=(0.5, 0.4)), Preprocess(resize=(5, 5))])
def test_batches_are_those_of_a_loop_by_hand(text, preprocess):
    split, augment = make(samples=101), parse(text)
    for batch_size, workers, form in ((8, 0, tuple), (300, 0, tuple), (8, 0, Samples), (8, 2, Samples)):
        arranged = BatchSettings(
            batch_size=batch_size, device=CPU, shuffle_seed=9, workers=workers, least=2, augment=augment
        )
        batches = make_batches(form(split), preprocess, arranged, name="d", num_classes=CLASSES)
        for epoch in (0, 3):
            found = list(batches.epoch(epoch))
            assert len(found) == len(batches)
            expected = list(loop(split, augment, preprocess, epoch, 9, 101))
            for part in (0, 1):
                assert torch.equal(torch.cat([batch[part] for batch in found]), expected[0][part])
        assert torch.equal(batches.first()[0], next(iter(batches.epoch(0)))[0])


def test_a_public_loader_gives_the_batches_of_the_loop():
    split = make(samples=40)
    loader = zoo.make_loader(split, batch_size=8, shuffle=True, seed=4, augment=ALL)
    for epoch in range(2):
        expected = loop(split, parse(ALL), Preprocess(), epoch, 4, 8)
        for found, by_hand in zip(loader, expected, strict=True):
            assert all(map(torch.equal, found, by_hand))
    with pytest.raises(UnknownNameError, match="Did you mean 'flip'"):
        zoo.make_loader(split, augment="flop")


def test_samples_that_are_not_shuffled_are_augmented_by_their_position():
    split = make(samples=30)
    arranged = BatchSettings(batch_size=8, device=CPU, loader_seed=5, augment=parse(ALL))
    for form in (tuple, Samples):
        batches = make_batches(form(split), Preprocess(), arranged, name="d", num_classes=CLASSES)
        found = torch.cat([images for images, _ in batches.epoch(2)])
        assert torch.equal(found, Preprocess()(parse(ALL)(split[0], range(30), 2, 5)))


def test_without_operations_nothing_changes_and_no_code_is_imported(warm_python):
    split = make(samples=30)
    plain = BatchSettings(batch_size=8, device=CPU, shuffle_seed=5)
    for form in (tuple, Samples):
        ways = [
            list(make_batches(form(split), Preprocess(resize=(4, 4)), one, name="d", num_classes=CLASSES).epoch(1))
            for one in (plain, replace(plain, augment=parse("none")))
        ]
        for (images, targets), (others, other_targets) in zip(*ways, strict=True):
            assert torch.equal(images, others) and torch.equal(targets, other_targets)
    code = "import sys, zoo.training.run; print([name for name in sys.modules if name.startswith('zoo.data.augment')])"
    done = subprocess.run([warm_python, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.strip() == "[]"


def test_a_training_by_hand_is_that_of_the_trainer():
    split, augment = make(samples=70, shape=(1, 8, 8)), parse("flip,crop:padding=2,RandomRotation:degrees=10")

    def build():
        torch.manual_seed(3)
        return nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, CLASSES))

    arranged = BatchSettings(batch_size=16, device=CPU, shuffle_seed=3, augment=augment)
    batches = make_batches(split, Preprocess(), arranged, name="d", num_classes=CLASSES)
    trainer = Trainer(build(), TrainConfig(batch_size=16, lr=0.1), CPU)
    step = TrainStep(trainer.model, trainer.loss_function, trainer.optimizer)
    for epoch in range(2):
        train_one_epoch(trainer.model, step, batches, Losses(CPU), epoch, no_progress)
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(2):
        for inputs, targets in loop(split, augment, Preprocess(), epoch, 3, 16):
            loss = nn.functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert all(map(torch.equal, trainer.model.parameters(), model.parameters()))


def test_the_global_generators_stay_as_they_are():
    images, _ = make(shape=(3, 9, 7))
    states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())
    parse("flip,crop,erase,RandomRotation:degrees=9,RandAugment")(images, range(50))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (random.getstate(), str(np.random.get_state())) == states[1:]
    with pytest.raises(DataError):
        parse("RandomResizedCrop:size=4")(images, range(50))
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]


def test_a_transform_is_torchvisions_under_a_seed_of_the_sample():
    images, _ = make(samples=5, shape=(3, 9, 7))
    found = parse("RandomAffine:degrees=20,translate=0.1,0.2:fill=9")(images, [4, 0, 2, 1, 3], 6, 8)
    transform = v2.RandomAffine(degrees=20, translate=(0.1, 0.2), fill=9)
    seeds = draw(8, 6, torch.tensor([4, 0, 2, 1, 3]), "RandomAffine")[:, 0].tolist()
    with torch.random.fork_rng(devices=[]):
        for place, seed in enumerate(seeds):
            torch.manual_seed(seed)
            assert torch.equal(found[place], transform(images[place]))
    assert len(set(seeds)) == 5 and not torch.equal(found, images)


READ = {
    "flip": Augment([Flip()]),
    "none": Augment(),
    " flip , crop : padding = 2 ": Augment([Flip(), Crop(padding=2)]),
    "flip,crop:padding=2,erase:p=0.25": Augment([Flip(), Crop(padding=2), Erase(p=0.25)]),
    "crop:padding=2,fill=255,flip": Augment([Crop(padding=2, fill=255), Flip()]),
    "erase:scale=0.1,0.2:ratio=[0.5,2]:p=1,flip": Augment([Erase(scale=(0.1, 0.2), ratio=(0.5, 2), p=1), Flip()]),
    "flip,mixup:alpha=0.2": Augment([Flip(), Mixup(alpha=0.2)]),
    "cutmix": Augment([CutMix()]),
    "RandomRotation:degrees=-5,15": Augment([Transform("RandomRotation", {"degrees": [-5, 15]})]),
    "RandomRotation:degrees=15:interpolation=bilinear": Augment(
        [Transform("RandomRotation", {"degrees": 15, "interpolation": "bilinear"})]
    ),
    "RandomGrayscale:p=0.5,flip": Augment([Transform("RandomGrayscale", {"p": 0.5}), Flip()]),
    "TrivialAugmentWide": Augment([Transform("TrivialAugmentWide")]),
}


@pytest.mark.parametrize("text", READ)
def test_text_is_read_and_written(text):
    assert parse(text) == READ[text] == parse(str(READ[text])) == pickle.loads(pickle.dumps(READ[text]))
    assert str(parse(text)) == str(parse(str(parse(text))))


def test_lists_of_a_manifest_are_read():
    read = parse(["flip", {"name": "crop", "padding": 2}, "erase:p=1,scale=0.1,0.2", Flip()])
    assert read == parse("flip,crop:padding=2,erase:p=1:scale=0.1,0.2,flip")
    assert parse(read) is read and parse([]) == Augment()
    assert parse([{"name": "RandomRotation", "degrees": [1, 2]}]) == parse("RandomRotation:degrees=1,2")


WRONG = {
    "flop": (UnknownNameError, "no augmentation named 'flop'. Did you mean 'flip'?"),
    "RandomRotaton:degrees=3": (UnknownNameError, "Did you mean 'RandomRotation'?"),
    "xyzzy": (UnknownNameError, "Known: flip, crop, erase, mixup, cutmix and the transforms of torchvision"),
    "": (UnknownNameError, "no augmentation named ''"),
    "flip,,crop": (UnknownNameError, "no augmentation named ''"),
    "crop:pading=2": (UnknownSettingError, "augmentation 'crop' has no setting 'pading'. Did you mean 'padding'?"),
    "flip:p=2": (SettingError, "flip:p: must be at most 1"),
    "flip:p=true": (SettingError, "flip:p: must be a number"),
    "crop:padding=1.5": (SettingError, "crop:padding: must be a whole number"),
    "crop:padding=-1": (SettingError, "crop:padding: must be at least 0"),
    "crop:fill=nan": (SettingError, "crop:fill: must be finite"),
    "erase:scale=0.5,0.1": (SettingError, "erase:scale: must be two numbers above 0, the smaller first"),
    "erase:scale=0.5,2": (SettingError, "erase:scale: must be two shares of the image, at most 1"),
    "erase:ratio=0,1": (SettingError, "erase:ratio: must be two numbers above 0"),
    "mixup:alpha=0": (SettingError, "mixup:alpha: must be above 0"),
    "crop:2": (UsageError, "augmentation 'crop': expected param=value, got '2'"),
    "mixup,flip": (UsageError, "augmentation 'mixup': mixes whole images, so it comes last"),
    "RandomRotation": (SettingError, "RandomRotation:degrees: needs a value"),
    "RandomRotation:degrees=a": (SettingError, "RandomRotation: torchvision refuses the params"),
    "RandomRotation:degrees=3:expnd=1": (UnknownSettingError, "no setting 'expnd'. Did you mean 'expand'?"),
    "MixUp": (UnknownNameError, "Did you mean 'mixup'?"),
    "flop,crop:pading=2,erase:p=x": (SeveralErrors, "flop.*\n.*pading.*\nerase:p: must be a number"),
}


@pytest.mark.parametrize("text", WRONG)
def test_wrong_text_is_told(text):
    kind, message = WRONG[text]
    with pytest.raises(kind, match=message.replace("?", r"\?")):
        parse(text)


@pytest.mark.parametrize("asked", [3, None, {"name": "flip"}, [3], [{"padding": 2}], [None]])
def test_what_is_neither_text_nor_list_is_refused(asked):
    with pytest.raises(UsageError, match="expected operations such as"):
        parse(asked)
    with pytest.raises(SettingError, match="flip:p"):
        Flip(p=3)
    with pytest.raises(UsageError, match="expected operations such as"):
        Augment([3])


def test_images_that_do_not_fit_are_told():
    rows, (images, _) = torch.rand(4, 5), make()
    for text in ("flip", "crop", "erase", "RandomRotation:degrees=3"):
        with pytest.raises(DataError, match=r"samples of \(5,\) cannot be augmented by"):
            parse(text)(rows, range(4))
    with pytest.raises(SettingError, match="crop:padding: must be below 7 for images of 9 x 7"):
        parse("crop:padding=7")(images, range(50))
    for text in ("crop:fill=256", "erase:fill=0.5", "crop:fill=-1"):
        with pytest.raises(SettingError, match="fill: must be a whole number from 0 to 255"):
            parse(text)(images, range(50))
    with pytest.raises(SettingError, match="erase:scale: must allow rectangles smaller than images of 1 x 1"):
        parse("erase")(images[:, :, :1, :1], range(50))
    with pytest.raises(UsageError, match="expected one index per image"):
        parse("flip")(images, range(49))
    with pytest.raises(DataError, match=r"it gives .* shape and dtype must stay"):
        parse("RandomResizedCrop:size=4")(images, range(50))
    with pytest.raises(DataError, match="ColorJitter fails on an image"):
        parse("ColorJitter:hue=0.1")(make(shape=(2, 9, 7))[0], range(50))


def test_slow_operations_are_named(caplog):
    arranged = BatchSettings(batch_size=8, device=CPU, augment=parse("flip,RandomRotation:degrees=3"))
    with caplog.at_level("INFO", logger="zoo"):
        make_batches(make(), Preprocess(), arranged, name="d", num_classes=CLASSES)
    assert [record.message for record in caplog.records] == [
        "RandomRotation is applied image by image on the CPU: an epoch takes longer than with zoo's own operations"
    ]


def test_an_operation_of_ones_own_draws_by_its_name():
    from dataclasses import dataclass
    from typing import ClassVar

    @dataclass(frozen=True, kw_only=True)
    class Invert(zoo.augment.Operation):
        p: float = 0.5
        name: ClassVar[str] = "invert"
        count: ClassVar[int] = 1

        def apply(self, images, numbers):
            chosen = zoo.augment.to_uniform(numbers[:, 0]) < self.p
            return torch.where(chosen[:, None, None, None], 255 - images, images)

    images, _ = make()
    found = Augment([Flip(p=0), Invert(p=0.25)])(images, range(50))
    chosen = draw(42, 0, torch.arange(50), "invert")[:, 0] < 2**30
    assert torch.equal(found[chosen], 255 - images[chosen]) and torch.equal(found[~chosen], images[~chosen])
    assert 0 < int(chosen.sum()) < 50


def test_the_examples_of_the_page_run(capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    names = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    printed = capsys.readouterr().out.splitlines()
    assert len(blocks) == 2 and printed[0] == "torch.Size([32, 1, 28, 28])"
    assert printed[1].startswith("torch.Size([32, 1, 28, 28]) tensor(") and printed[1].endswith("torch.Size([32, 10])")


def test_the_page_has_every_param_and_its_default():
    rows = re.findall(r"^\| (?:`(\w+)`)? *\| `(\w+)` \| ([\d., ]+) \|", PAGE.read_text("utf-8"), re.M)
    told, last = [], ""
    for operation, param, default in rows:
        last = operation or last
        told.append((last, param, default))
    expected = []
    for name, operation in OPERATIONS.items():
        for one in fields(operation):
            values = one.default if isinstance(one.default, tuple) else (one.default,)
            expected.append((name, one.name, ", ".join(f"{value:g}" for value in values)))
    assert told == expected
