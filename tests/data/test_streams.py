"""Streams: a split that is an IterableDataset is trained on, evaluated, checked and gone on with like any other."""

from __future__ import annotations

import random
import signal
from collections import Counter
from functools import partial

import numpy
import pytest
import torch
from PIL import Image
from torch.utils.data import IterableDataset, get_worker_info

import zoo
from zoo.data.batch import BatchSettings
from zoo.data.batches import make_batches
from zoo.errors import DataError, UsageError
from zoo.registry.preprocess import Preprocess
from zoo.results.reading import read_results, read_samples
from zoo.testing import CheckError, check_dataset
from zoo.training import pauses

CPU = torch.device("cpu")
SIDE = 8


def draw(number):
    """Return the image of a sample: its number in its first pixels, and a bright bar that tells its class."""
    image = torch.randint(60, (1, SIDE, SIDE), generator=torch.Generator().manual_seed(number), dtype=torch.uint8)
    image[0, 2 * (number % 3) : 2 * (number % 3) + 2, 1:7] += 150
    image[0, 0, :2] = torch.tensor([number % 256, number // 256])
    return image


def read_number(image):
    return int(image[0, 0, 0]) + 256 * int(image[0, 0, 1])


class Numbers(IterableDataset):
    """Gives samples `first` and on, in an order of each epoch, and draws from every generator on the way."""

    def __init__(self, first, samples, gives=None, *, parts=True, noise=False, mixed=True):
        self.first, self.samples, self.gives = first, samples, samples if gives is None else gives
        self.parts, self.noise, self.mixed, self.epoch, self.seed = parts, noise, mixed, 0, 0

    def __len__(self):
        return self.samples

    def set_epoch(self, epoch, seed):
        self.epoch, self.seed = epoch, seed

    def __iter__(self):
        order = list(range(self.gives))
        if self.mixed:
            random.Random(1000 * self.seed + self.epoch).shuffle(order)
        info = get_worker_info()
        for number in order[info.id :: info.num_workers] if info is not None and self.parts else order:
            image = draw(self.first + number)
            if self.noise:
                image[0, 7] = int(torch.randint(50, ())) + random.randrange(50) + numpy.random.randint(50)
            yield image, number % 3


def make(*, root, gives=0, parts=True, noise=False, samples=101):
    train = Numbers(0, samples, gives or None, parts=parts, noise=noise)
    test = Numbers(300, 40, mixed=False)
    return zoo.DataSplits(train=train, test=test, class_names=("a", "b", "c"))


def register(factory=make, **facts):
    registry = zoo.Registry.discover()
    registry.add(zoo.DatasetSpec(name="numbers", factory=factory, **facts), plugin="own")
    return registry


def batches_of(dataset, workers=0, size=16, seed=3, **settings):
    settings = BatchSettings(batch_size=size, device=CPU, shuffle_seed=seed, workers=workers, **settings)
    return make_batches(dataset, Preprocess(scale=1.0), settings, name="numbers", num_classes=3)


def numbers_of(batches):
    return [read_number(image) for inputs, _ in batches for image in inputs]


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_each_sample_comes_once_an_epoch_in_batches_of_the_wanted_sizes(workers):
    batches = batches_of(Numbers(0, 101), workers)
    first, again, second = (list(batches.epoch(epoch)) for epoch in (0, 0, 1))
    assert [len(targets) for _, targets in first] == [16] * 6 + [5] and len(batches) == 7
    assert sorted(numbers_of(first)) == sorted(numbers_of(second)) == list(range(101))
    assert numbers_of(first) == numbers_of(again) != numbers_of(second)
    assert all(int(target) == read_number(image) % 3 for part in first for image, target in zip(*part, strict=True))
    assert numbers_of(batches.epoch(1, start=5)) == numbers_of(second)[80:]
    assert [len(targets) for _, targets in batches_of(Numbers(0, 97), workers, least=2).epoch(0)][-1] == 17


def test_this_process_draws_what_a_worker_alone_would_and_nothing_that_the_training_draws():
    found = []
    for workers in (0, 1):
        torch.manual_seed(5)
        images = torch.cat([inputs for inputs, _ in batches_of(Numbers(0, 60, noise=True), workers).epoch(2)])
        found.append((images, torch.rand(3), random.getstate()))
    assert torch.equal(found[0][0], found[1][0]) and torch.equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]
    assert len(Counter(found[0][0][:, 0, 7, 0].tolist())) > 20


def test_what_has_no_place_in_a_batch_is_found_where_it_is():
    class Odd(Numbers):
        def __iter__(self):
            for place, sample in enumerate(super().__iter__()):
                yield (torch.zeros(3, 2, 2, dtype=torch.uint8), 0) if place >= 20 else sample

    with pytest.raises(DataError, match=r"sample 20: ValueError: the image is \(3, 2, 2\), expected \(1, 8, 8\)"):
        list(batches_of(Odd(0, 40)).epoch(0))

    class Apart(Numbers):
        def __iter__(self):
            for image, target in super().__iter__():
                yield image.float() if get_worker_info().id else image, target

    with pytest.raises(DataError, match=r"gives images \(1, 8, 8\) of torch.uint8 and \(1, 8, 8\) of torch.float32"):
        list(batches_of(Apart(0, 40), workers=2, size=15).epoch(0))

    class Broken(Numbers):
        def __iter__(self):
            yield from list(super().__iter__())[:3]
            raise OSError("the disk is gone")

    with pytest.raises(DataError, match="sample 3 of worker 0: OSError: the disk is gone"):
        list(batches_of(Broken(0, 40), workers=2).epoch(0))


@pytest.mark.parametrize(
    ("options", "workers", "told"),
    [
        ({"gives": 90}, 0, "a stream gave 90 samples in an epoch: its length says 101. Declare as many"),
        ({"gives": 90}, 2, r"gave 90 samples in an epoch \(its workers 45 and 45\): its length says 101"),
        ({"gives": 1000}, 0, "gave 112 or more samples in an epoch: its length says 101"),
        ({"parts": False}, 2, "its workers 0 and 1 give the same 16 samples. Let __iter__ give the part of its worker"),
        (
            {"parts": False, "noise": True},
            2,
            r"gave 112 or more samples in an epoch \(its workers 64 and 48\): its length says 101.*get_worker_info",
        ),
    ],
)
def test_a_stream_that_does_not_keep_its_word_ends_the_training_with_both_numbers(options, workers, told):
    with pytest.raises(DataError, match=told):
        list(batches_of(make(root="", **options).train, workers).epoch(0))


def test_workers_that_begin_alike_are_refused_before_the_first_step():
    with pytest.raises(DataError, match="its workers 0 and 1 give the same 16 samples"):
        next(batches_of(make(root="", parts=False).train, 2).epoch(0))


def test_what_is_evaluated_is_the_same_in_each_epoch_whatever_it_draws():
    batches = batches_of(Numbers(0, 30, noise=True), seed=None)
    found = [torch.cat([inputs for inputs, _ in batches.epoch(epoch)]) for epoch in (0, 3)]
    assert torch.equal(*found) and [read_number(image) for image in found[0]] != list(range(30))


def test_the_spec_may_declare_how_many_samples_a_stream_gives(tmp_path):
    class Lengthless(IterableDataset):
        def __iter__(self):
            info = get_worker_info()
            step = slice(None) if info is None else slice(info.id, None, info.num_workers)
            return ((draw(number), number % 3) for number in range(40)[step])

    def factory(*, root):
        return zoo.DataSplits(train=Lengthless(), test=Lengthless(), class_names=("a", "b", "c"))

    with pytest.raises(zoo.ZooError) as caught:
        zoo.run("baseline", "numbers", epochs=1, registry=register(factory), runs_dir=tmp_path)
    assert "train split: a stream that does not say how many samples it gives" in str(caught.value)
    assert "declare samples in the spec" in str(caught.value)
    registry = register(factory, samples={"train": 40, "test": 40})
    assert zoo.run("baseline", "numbers", epochs=1, registry=registry, runs_dir=tmp_path).metrics["loss"] > 0
    registry = register(factory, samples={"train": 41, "test": 40})
    with pytest.raises(DataError, match="a stream gave 40 samples: its length says 41"):
        zoo.run("baseline", "numbers", epochs=1, registry=registry, runs_dir=tmp_path)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"validation": 0.1}, "a validation split cannot be had for dataset 'numbers', whose training split is a str"),
        ({"balanced_sampling": True}, "balanced sampling cannot be had for dataset 'numbers'"),
        ({"class_weights": "balanced"}, "balanced class weights cannot be had for dataset 'numbers'"),
        ({"augment": "flip,mixup"}, "augmentation 'mixup' cannot be had for dataset 'numbers'"),
    ],
)
def test_what_needs_all_samples_at_hand_is_refused_before_the_training(tmp_path, settings, told):
    with pytest.raises(UsageError, match=told):
        zoo.run("baseline", "numbers", epochs=1, registry=register(), runs_dir=tmp_path, **settings)


@pytest.mark.slow
def test_a_stopped_run_goes_on_from_its_place_in_the_stream(tmp_path, monkeypatch):
    look = pauses.Pauses.look
    for workers in (0, 2):
        told = {"epochs": 3, "batch_size": 10, "threads": 1, "workers": workers, "augment": "flip,crop:padding=1"}
        told |= {"registry": register(), "dataset_params": {"noise": True}}
        whole = zoo.run("baseline", "numbers", runs_dir=tmp_path / f"whole-{workers}", **told)
        seen = [0]

        def stop(self, seen=seen):
            seen[0] += 1
            if seen[0] == 18:  # an epoch has eleven batches and one of the test
                self.stopping = signal.SIGINT
            look(self)

        monkeypatch.setattr(pauses.Pauses, "look", stop)
        with pytest.raises(KeyboardInterrupt):
            zoo.run("baseline", "numbers", runs_dir=tmp_path / f"stopped-{workers}", **told)
        monkeypatch.setattr(pauses.Pauses, "look", look)
        folder = max((tmp_path / f"stopped-{workers}").iterdir())
        found = zoo.resume(folder, registry=told["registry"])
        assert found.weights.read_bytes() == whole.weights.read_bytes(), workers
        assert [epoch["train"] for epoch in found.history] == [epoch["train"] for epoch in whole.history]


def test_an_evaluation_has_the_order_of_the_stream_whatever_reads_it(tmp_path):
    registry = register()
    run = zoo.run("baseline", "numbers", epochs=1, registry=registry, runs_dir=tmp_path)
    found = [zoo.evaluate(run.weights, registry=registry, workers=workers).outcomes for workers in (0, 3)]
    assert [each.targets.tolist() for each in found] == [[number % 3 for number in range(40)]] * 2
    assert torch.equal(torch.as_tensor(found[0].predictions), torch.as_tensor(found[1].predictions))
    images = read_samples(read_results([run.run])[0], [31, 2], registry=registry)
    assert [read_number(image) for image in images] == [331, 302]


def test_samples_of_a_stream_are_its_first_ones_and_its_classes_are_not_counted(tmp_path):
    registry = register()
    found = zoo.samples("numbers", split="test", count=3, registry=registry)
    assert [read_number(image) for image in found.images] == [300, 301, 302] and found.targets == (0, 1, 2)
    assert read_number(zoo.samples("numbers", split="test", index=25, registry=registry).images[0]) == 325
    told = zoo.describe_dataset("numbers", registry=registry)
    assert told.splits["train"].per_class is None and told.splits["train"].samples == 101
    assert "a stream, whose classes are not counted" in repr(told)
    assert repr(zoo.load_dataset("numbers", registry=registry).train) == "Stream(train split of numbers, 101 samples)"


def test_images_of_a_stream_may_differ_in_size_where_each_is_resized(tmp_path):
    class Pictures(Numbers):
        def __iter__(self):
            for image, target in super().__iter__():
                picture = Image.fromarray(image[0].numpy())
                yield picture.resize((8 + target, 8)), target

    def factory(*, root):
        splits = [Pictures(first, 30) for first in (0, 300)]
        preprocess = Preprocess(resize=8, crop=(8, 8), rounded=True)
        return zoo.DataSplits(train=splits[0], test=splits[1], class_names=("a", "b", "c"), preprocess=preprocess)

    run = zoo.run("baseline", "numbers", epochs=1, registry=register(factory), runs_dir=tmp_path, workers=2)
    assert zoo.evaluate(run.weights, registry=register(factory)).metrics == run.metrics


def test_the_certificate_tries_a_stream_in_two_workers():
    found = check_dataset(make, params={"gives": 0})
    told = {finding.check: finding.seen for finding in found}
    assert told["workers"] == "two workers give 101 of 101 training samples, each once"
    assert not [finding for finding in found if finding.status not in ("passed", "skipped")]
    for options, words in (
        ({"parts": False}, "its workers 0 and 1 give the same 16 samples"),
        ({"gives": 90}, "train: the stream gives 90 samples, its length says 101"),
        ({"gives": 150}, "train: the stream gives 102 or more samples, its length says 101"),
        ({"noise": True}, "samples differ when read twice"),
    ):
        with pytest.raises(CheckError, match=words):
            check_dataset(make, params=options)


def test_a_stream_that_gives_something_else_than_samples_is_told(tmp_path):
    class Odd(Numbers):
        def __init__(self, form):
            super().__init__(0, 40)
            self.form, self.kept = form, None

        def __iter__(self):
            if self.form is iter:  # the same iterator each time, which is at its end after one epoch
                self.kept = self.kept or super().__iter__()
                return self.kept
            return map(self.form, super().__iter__())

    for form, told in (
        (
            lambda sample: {"image": sample[0], "label": sample[1]},
            r"expected \(image, target\), got a dict with keys \['image', 'label'\]",
        ),
        (lambda sample: sample[1], r"expected \(image, target\), got 0"),
        (lambda sample: (*sample, 0), r"expected \(image, target\), got a tuple of 3"),
        (
            iter,
            "a stream gave 22 samples: its length says 40. Declare as many samples as it gives, and let each __iter__",
        ),
    ):
        splits = zoo.DataSplits(train=Odd(form), test=Numbers(300, 40), class_names=("a", "b", "c"))
        registry = register(partial(give, splits))
        with pytest.raises(DataError, match=told):
            zoo.run("baseline", "numbers", epochs=2, batch_size=16, registry=registry, runs_dir=tmp_path)


def give(splits, *, root):
    return splits
