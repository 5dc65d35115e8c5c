from __future__ import annotations

import copy
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from itertools import accumulate, islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms.functional import to_tensor

import zoo
from zoo.data import batches as batches_module
from zoo.data import workers as workers_module
from zoo.data.augment import parse
from zoo.data.batch import BatchSettings
from zoo.data.batches import TensorBatches, make_batches
from zoo.data.dataset_batches import DatasetBatches
from zoo.data.order import epoch_generator, epoch_order, split_sizes
from zoo.data.reader import BatchReader
from zoo.data.splits import DataSplits
from zoo.data.workers import name_dead_worker, settle
from zoo.errors import DataError, WorkerError
from zoo.models.device import use_seed, use_threads
from zoo.registry.preprocess import Preprocess
from zoo.registry.specs import DatasetSpec, ModelSpec

CPU = torch.device("cpu")
CLASSES = 7
EPOCHS = 3


@pytest.fixture(autouse=True)
def one_thread():
    """As a run of small models has it: more threads wait for each other, and for whoever else is on the machine."""
    with use_threads(1):
        yield


class Samples(Dataset):
    """A map-style Dataset of what a function gives for each index."""

    def __init__(self, sample: Callable[[int], Any], size: int = 40) -> None:
        self.sample, self.size = sample, size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return self.sample(index)


def draw(samples, dtype=torch.float32, shape=(1, 4, 5), seed=0):
    generator = torch.Generator().manual_seed(seed)
    if dtype.is_floating_point:
        images = torch.rand(samples, *shape, generator=generator).to(dtype)
    else:
        images = torch.randint(256, (samples, *shape), generator=generator).to(dtype)
    return images, torch.randint(CLASSES, (samples,), generator=generator)


def map_style(split):
    images, targets = split
    return Samples(lambda index: (images[index], int(targets[index])), len(targets))


def course(train, test, seed, workers=0):
    """Return per epoch the batches of both loaders, drawn from torch's global generator as the course does."""
    torch.manual_seed(seed)
    loaders = (
        DataLoader(train, batch_size=32, shuffle=True, num_workers=workers),
        DataLoader(test, batch_size=32, shuffle=False, num_workers=workers),
    )
    return [[[(x.clone(), y.clone()) for x, y in loader] for loader in loaders] for _ in range(EPOCHS)]


def ours(train, test, seed, workers=0, epochs=range(EPOCHS)):
    settings = BatchSettings(batch_size=32, device=CPU, loader_seed=seed, workers=workers)
    both = (
        make_batches(train, Preprocess(), replace(settings, shuffle_seed=seed), name="d", num_classes=CLASSES),
        make_batches(test, Preprocess(), settings, name="d", num_classes=CLASSES),
    )
    return [[list(batches.epoch(epoch)) for batches in both] for epoch in epochs]


def assert_same(left, right):
    """Compare nested lists of tensors bit for bit, dtypes and shapes included."""
    if isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype
        assert left.shape == right.shape
        assert torch.equal(left, right)
        return
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert_same(one, other)


def loader_batches(sample, workers, size=40, preprocess=None, batch_size=4, shape=None):
    reader = BatchReader(Samples(sample, size), "pets", 3, shape)
    settings = BatchSettings(batch_size=batch_size, device=CPU, workers=workers)
    return DatasetBatches(reader, preprocess or Preprocess(), settings)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 42, 2**63 - 1])
@pytest.mark.parametrize("course_workers", [0, 2])
def test_batches_from_memory_are_those_of_the_course(seed, course_workers):
    train, test = draw(101), draw(70, seed=1)
    expected = course(TensorDataset(*train), TensorDataset(*test), seed, course_workers)
    assert_same(ours(train, test, seed), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_of_a_dataset_are_those_of_the_course(workers):
    train, test = draw(101), draw(70, seed=1)
    expected = course(TensorDataset(*train), TensorDataset(*test), 42, workers)
    assert_same(ours(map_style(train), map_style(test), 42, workers), expected)


def test_the_order_differs_between_epochs_and_seeds():
    orders = {tuple(epoch_order(100, seed, epoch).tolist()) for seed in range(3) for epoch in range(5)}
    assert len(orders) == 15
    assert all(sorted(order) == list(range(100)) for order in orders)


def test_workers_draw_the_numbers_of_the_course():
    def sample(index):
        # Each of the generators that torch seeds in a worker.
        return torch.tensor([torch.rand(()).item(), random.random(), np.random.rand()]), index % CLASSES

    train, test = Samples(sample, 101), Samples(sample, 70)
    expected = course(train, test, 42, workers=2)
    found = ours(train, test, 42, workers=2)
    # A Dataset's floats of Python become float64 in the course's collation as well.
    assert_same(found, expected)
    first, second = (torch.cat([images for images, _ in found[epoch][0]]) for epoch in (0, 1))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("workers", [None, 0, 2])
def test_an_epoch_depends_on_the_seed_and_its_number_alone(workers):
    def noisy(index):
        return torch.rand(3) if workers else torch.full((3,), float(index)), index % CLASSES

    split = draw(101) if workers is None else Samples(noisy, 101)
    in_turn = ours(split, split, 7, workers or 0)
    torch.rand(5)
    assert_same(ours(split, split, 7, workers or 0, epochs=[2, 0, 2]), [in_turn[2], in_turn[0], in_turn[2]])


def test_batches_leave_the_global_generator_alone():
    split = draw(101)
    before = torch.get_rng_state()
    ours(split, map_style(split), 7, 0)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_draws_at_once_are_single_draws(seed):
    generator = torch.Generator().manual_seed(seed)
    for epoch in range(50):
        for draw_number in range(3):
            single = torch.empty((), dtype=torch.int64).random_(generator=generator)
            jumped = torch.empty((), dtype=torch.int64).random_(generator=epoch_generator(seed, epoch, draw_number))
            assert torch.equal(single, jumped)


@settings(max_examples=200)
@given(st.integers(1, 500), st.integers(1, 100), st.booleans())
def test_sizes_cover_every_sample(samples, batch_size, merge):
    sizes = split_sizes(samples, batch_size, least=2 if merge else 1)
    assert sum(sizes) == samples
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert 1 <= sizes[-1] <= batch_size + merge
    if merge and samples > 1 and batch_size > 1:
        assert sizes[-1] > 1


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("form", [tuple, map_style])
def test_a_last_single_sample_can_join_the_batch_before(form, seed):
    split = draw(33)
    plain, merged = (
        make_batches(
            form(split),
            Preprocess(),
            BatchSettings(batch_size=8, device=CPU, shuffle_seed=seed, least=2 if merge else 1),
            name="d",
            num_classes=CLASSES,
        )
        for merge in (False, True)
    )
    assert [len(targets) for _, targets in plain.epoch(0)] == [8, 8, 8, 8, 1]
    assert [len(targets) for _, targets in merged.epoch(0)] == [8, 8, 8, 9]
    assert (len(plain), len(merged), plain.samples, merged.samples) == (5, 4, 33, 33)
    for part in (0, 1):
        assert_same(*(torch.cat([batch[part] for batch in batches.epoch(0)]) for batches in (plain, merged)))


PREPROCESSES = {
    "scale by dtype": Preprocess(),
    "stated scale": Preprocess(scale=100),
    "normalise": Preprocess(mean=(0.2860,), std=(0.3530,)),
    "repeat grey": Preprocess(channels=3),
    "resize": Preprocess(resize=(9, 7)),
    "all": Preprocess(channels=3, resize=(9, 7), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6)),
}


@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("preprocess", PREPROCESSES.values(), ids=PREPROCESSES)
def test_every_path_gives_the_same_bits(preprocess, dtype, seed, monkeypatch):
    images, targets = draw(50, dtype)
    order = torch.arange(50) if seed is None else epoch_order(50, seed, 1)
    expected = list(zip(preprocess(images)[order].split(8), targets[order].split(8), strict=True))
    settings = BatchSettings(batch_size=8, device=CPU, shuffle_seed=seed)
    arguments = (images, targets, preprocess, settings)
    assert_same(list(TensorBatches(*arguments).epoch(1)), expected)
    reader = BatchReader(map_style((images, targets)), "d", CLASSES)
    for workers in (0, 2) if seed else (0,):
        assert_same(list(DatasetBatches(reader, preprocess, replace(settings, workers=workers)).epoch(1)), expected)
    monkeypatch.setattr(batches_module, "MEMORY_BUDGET", 10)
    assert_same(list(TensorBatches(*arguments).epoch(1)), expected)


def test_inputs_are_made_ahead_only_within_the_memory_budget(monkeypatch):
    images, targets = draw(50, torch.uint8)
    made = []

    class Watched(Preprocess):
        def __call__(self, images):
            made.append(len(images))
            return super().__call__(images)

    def count(preprocess):
        made.clear()
        batches = TensorBatches(images, targets, preprocess, BatchSettings(batch_size=20, device=CPU, shuffle_seed=3))
        for epoch in (0, 1):
            list(batches.epoch(epoch))
        return made.copy()

    resize = Watched(resize=(3, 3))
    assert count(Watched()) == [20, 20, 10] * 2
    assert count(resize) == [50]
    monkeypatch.setattr(batches_module, "MEMORY_BUDGET", 4 * 50 * 3 * 3)
    assert count(resize) == [50]
    monkeypatch.setattr(batches_module, "MEMORY_BUDGET", 4 * 50 * 3 * 3 - 1)
    assert count(resize) == [20, 20, 10] * 2


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("preprocess", [Preprocess(), Preprocess(channels=3), Preprocess(mean=(0.5,), std=(0.5,))])
@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_a_model_that_works_in_place_leaves_the_data_alone(dtype, seed, preprocess, budget, monkeypatch):
    monkeypatch.setattr(batches_module, "MEMORY_BUDGET", budget)
    split = draw(20, dtype)
    kept = copy.deepcopy(split)
    batches = TensorBatches(*split, preprocess, BatchSettings(batch_size=8, device=CPU, shuffle_seed=seed))
    first = [inputs.clone() for inputs, _ in batches.epoch(0)]
    for inputs, _ in batches.epoch(0):
        nn.ReLU(inplace=True)(inputs.neg_())
    assert_same(split, kept)
    assert_same([inputs for inputs, _ in batches.epoch(0)], first)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int32, torch.uint16, torch.int64])
def test_targets_are_int64(dtype):
    images, targets = draw(10)
    for split in ((images, targets.to(dtype)), Samples(lambda i: (images[i], targets[i].to(dtype)), 10)):
        batches = make_batches(
            split, Preprocess(), BatchSettings(batch_size=4, device=CPU), name="d", num_classes=CLASSES
        )
        assert_same(torch.cat([found for _, found in batches.epoch(0)]), targets)


@pytest.mark.parametrize("target", [2, np.int64(2), np.uint8(2), torch.tensor(2), torch.tensor([2])])
def test_targets_of_a_dataset_may_be_any_whole_number(target):
    [(_, targets)] = loader_batches(lambda index: (torch.zeros(1, 2, 2), target), 0, size=3).epoch(0)
    assert_same(targets, torch.tensor([2, 2, 2]))


def picture(mode, size=(6, 5)):
    pixels = np.random.RandomState(0).randint(0, 256, (size[1], size[0], 3)).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("mode", "becomes"), [("L", "L"), ("1", "L"), ("RGB", "RGB"), ("P", "RGB"), ("RGBA", "RGB")])
def test_pictures_become_what_torchvision_makes_of_them(mode, becomes, workers):
    image = picture(mode)
    [(inputs, _)] = loader_batches(lambda index: (image, 0), workers, size=3).epoch(0)
    expected = to_tensor(image.convert(becomes))
    assert_same(inputs, torch.stack([expected] * 3))
    # A layout with the channels last would choose other kernels.
    assert inputs.is_contiguous()


def test_grey_of_16_bits_keeps_its_range():
    levels = np.array([[0, 257], [1000, 65535]], np.uint16)
    [(inputs, _)] = loader_batches(lambda index: (Image.fromarray(levels), 0), 0, size=1).epoch(0)
    assert_same(inputs, torch.from_numpy(levels.astype(np.float32))[None, None] / 65535)


def with_bad(bad, index=17):
    """Return a function that gives `bad()` at one index and a good sample elsewhere."""
    return lambda i: bad() if i == index else (torch.zeros(1, 2, 2), 1)


def raise_error():
    raise OSError("the file\nis gone \x1b[31m")


BAD_SAMPLES = {
    "raises": (raise_error, "OSError: the file is gone \\x1b[31m"),
    "raises IndexError": (lambda: "cat"[3], "IndexError"),
    "raises StopIteration": (lambda: next(iter(())), "StopIteration"),
    "target too high": (lambda: (torch.zeros(1, 2, 2), 3), "target 3 is outside 0..2"),
    "target negative": (lambda: (torch.zeros(1, 2, 2), -1), "target -1 is outside 0..2"),
    "target huge": (lambda: (torch.zeros(1, 2, 2), 2**40), "target 1099511627776 is outside"),
    "target float": (lambda: (torch.zeros(1, 2, 2), 1.0), "expected an integer target, got 1.0"),
    "target float tensor": (lambda: (torch.zeros(1, 2, 2), torch.tensor(1.0)), "expected an integer target"),
    "target float32": (lambda: (torch.zeros(1, 2, 2), np.float32(1)), "expected an integer target"),
    "target text": (lambda: (torch.zeros(1, 2, 2), "cat"), "expected an integer target, got 'cat'"),
    "target None": (lambda: (torch.zeros(1, 2, 2), None), "expected an integer target, got None"),
    "other size": (lambda: (torch.zeros(1, 2, 3), 1), "the image is (1, 2, 3), expected (1, 2, 2)"),
    "other channels": (lambda: (torch.zeros(3, 2, 2), 1), "the image is (3, 2, 2), expected (1, 2, 2)"),
    "other dtype": (lambda: (torch.zeros(1, 2, 2, dtype=torch.uint8), 1), "dtype torch.uint8"),
    "NaN": (lambda: (torch.full((1, 2, 2), float("nan")), 1), "not finite"),
    "infinite": (lambda: (torch.full((1, 2, 2), float("inf")), 1), "not finite"),
    "no image": (lambda: ("a.png", 1), "expected a tensor or a PIL image, got str"),
    "no range": (lambda: (Image.new("F", (2, 2)), 1), "mode 'F' have no range"),
    "no pair": (lambda: torch.zeros(1, 2, 2), "expected (image, target), got tensor("),
}


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("bad", "cause"), BAD_SAMPLES.values(), ids=BAD_SAMPLES)
def test_a_bad_sample_is_named(bad, cause, workers):
    with pytest.raises(DataError) as caught:
        list(loader_batches(with_bad(bad), workers).epoch(0))
    assert str(caught.value).startswith("dataset 'pets': sample 17: ")
    assert cause in str(caught.value)
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 3
    assert multiprocessing.active_children() == [], "the workers end although the error is still held"


def test_a_sample_of_another_size_is_named_where_it_begins_a_batch():
    sample = with_bad(lambda: (torch.zeros(1, 2, 3), 1), index=8)
    with pytest.raises(DataError, match=r"sample 8: .*\(1, 2, 3\), expected \(1, 2, 2\)"):
        list(loader_batches(sample, 0, shape=(1, 2, 2)).epoch(0))


def test_a_bad_sample_is_named_by_its_own_number_when_shuffled():
    reader = BatchReader(Samples(with_bad(raise_error)), "pets", 3)
    with pytest.raises(DataError, match="sample 17: "):
        list(DatasetBatches(reader, Preprocess(), BatchSettings(batch_size=4, device=CPU, shuffle_seed=5)).epoch(3))


def test_images_with_a_gradient_come_out_of_workers():
    weight = nn.Parameter(torch.ones(1))
    [(inputs, _)] = loader_batches(lambda index: (weight * torch.ones(1, 2, 2), 0), 2, size=3).epoch(0)
    assert not inputs.requires_grad


# torch tells of it from a signal handler: the error may come out of any line, also of one that nobody can catch.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("killed", [0, 7, 17])
def test_a_killed_worker_is_reported(killed):
    batches = loader_batches(with_bad(lambda: os.kill(os.getpid(), signal.SIGKILL), killed), 2)
    with pytest.raises(WorkerError, match="dataset 'pets': a data worker died") as caught:
        list(batches.epoch(0))
    assert caught.value.exit_code == 10
    assert "workers=0" in caught.value.fix
    assert multiprocessing.active_children() == []


def test_a_worker_killed_while_the_model_computes_is_reported():
    # Torch tells it from a signal handler, at whatever line the main thread is then.
    batches = loader_batches(with_bad(lambda: os.kill(os.getpid(), signal.SIGKILL), 4), 2)
    with pytest.raises(WorkerError, match="dataset 'pets': a data worker died"), name_dead_worker("pets"):
        for _ in batches.epoch(0):
            threading.Event().wait(30)


def test_a_worker_that_hangs_is_ended_and_told(monkeypatch):
    monkeypatch.setattr(workers_module, "SLICE", 0.1)
    monkeypatch.setattr(workers_module, "PATIENCE", 0.3)
    batches = loader_batches(with_bad(lambda: threading.Event().wait(), 17), 2)
    with pytest.raises(WorkerError, match=r"dataset 'pets': its data workers hang: nothing came for \d") as caught:
        list(batches.epoch(0))
    assert caught.value.exit_code == 10 and multiprocessing.active_children() == []
    del caught  # it holds what torch made, which would end its workers once more in another test


def test_a_worker_that_is_slow_is_waited_for(monkeypatch):
    monkeypatch.setattr(workers_module, "SLICE", 0.01)
    ready, looks = multiprocessing.Event(), []
    real = torch.utils.data.dataloader._BaseDataLoaderIter.__next__

    def look(self):
        try:
            return real(self)
        except RuntimeError:
            looks.append(True)
            if len(looks) == 7:
                ready.set()
            raise

    monkeypatch.setattr(torch.utils.data.dataloader._BaseDataLoaderIter, "__next__", look)
    found = loader_batches(with_bad(lambda: (torch.zeros(1, 2, 2), int(not ready.wait())), 5), 2).epoch(0)
    assert sum(len(inputs) for inputs, _ in found) == 40 and len(looks) >= 7


@pytest.mark.parametrize("method", ["_reset", "_shutdown_workers"])
def test_no_worker_is_left_where_torch_tells_of_a_dead_one_early_or_late(monkeypatch, method):
    # As its signal handler does when a worker dies while the iterator is made, or while the others are being ended.
    kind = torch.utils.data.dataloader._MultiProcessingDataLoaderIter
    real, told = getattr(kind, method), []

    def tell(self, *arguments, **options):
        found = real(self, *arguments, **options) if method == "_reset" else None
        if not told:
            told.append(method)
            raise RuntimeError("DataLoader worker (pid 1) is killed by signal: Killed.")
        return found or real(self, *arguments, **options)

    monkeypatch.setattr(kind, method, tell)
    batches = loader_batches(with_bad(raise_error, 10**6), 2)
    with pytest.raises(WorkerError, match="a data worker died") as caught:
        list(batches.epoch(0))
    assert told and caught.value and multiprocessing.active_children() == []


def test_a_broken_connection_to_a_worker_is_reported(monkeypatch):
    def broken(self):
        raise ConnectionResetError("Connection reset by peer")
        yield

    monkeypatch.setattr(workers_module, "SIGNAL_WAIT", 0)
    monkeypatch.setattr(DataLoader, "__iter__", broken)
    batches = loader_batches(with_bad(raise_error), 0)
    with pytest.raises(WorkerError, match="Connection reset by peer"):
        list(batches.epoch(0))


def test_other_errors_are_not_blamed_on_workers():
    with pytest.raises(RuntimeError, match="shapes do not fit"), name_dead_worker("pets"):
        raise RuntimeError("shapes do not fit")


def run_on(train, test, tmp_path, **options):
    splits = DataSplits(train=train, test=test, class_names=("a", "b", "c"))
    registry = zoo.Registry.discover()
    registry.add(DatasetSpec(name="pets", factory=lambda *, root: splits))
    return zoo.run(dataset="pets", epochs=1, batch_size=4, runs_dir=tmp_path, registry=registry, **options)


def test_a_run_finds_test_images_of_another_size(tmp_path):
    train, test = (Samples(lambda i, side=side: (torch.zeros(1, side, side), i % 3), 12) for side in (4, 5))
    with pytest.raises(DataError, match=r"dataset 'pets': sample 0: .*\(1, 5, 5\), expected \(1, 4, 4\)"):
        run_on(train, test, tmp_path)


def test_a_run_gives_the_same_weights_through_memory_and_workers(tmp_path):
    split = draw(40, torch.uint8)
    split = split[0], split[1] % 3
    weights = [
        run_on(train, split, tmp_path, workers=workers).weights
        for train, workers in ((split, 0), (map_style(split), 0), (map_style(split), 2))
    ]
    models = [zoo.load_model(path).state_dict() for path in weights]
    for other in models[1:]:
        assert_same(list(models[0].values()), list(other.values()))


class Struck(nn.Module):
    """A model in whose forward pass torch's signal handler tells of a dead worker, as it may in any line."""

    def __init__(self, *, input_shape, num_classes):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(input_shape).numel(), num_classes))

    def forward(self, inputs):
        if self.training and len(inputs) == 32:  # in a batch of the training, not when it is tried before
            raise RuntimeError("DataLoader worker (pid 4711) is killed by signal: Killed. ")
        return self.layers(inputs)


def test_a_dead_worker_is_not_blamed_on_the_model(tmp_path):
    registry = zoo.Registry.discover()
    registry.add(ModelSpec(name="struck", factory=Struck), plugin="somebody")
    with pytest.raises(WorkerError, match="pid 4711") as caught:
        zoo.run(
            "struck",
            registry=registry,
            epochs=1,
            runs_dir=tmp_path,
            dataset_params={"train_size": 64, "test_size": 64},
        )
    assert caught.value.exit_code == 10


def test_lengths_match_the_batches():
    for size, batch_size in ((1, 1), (1, 8), (8, 8), (9, 8), (16, 8)):
        split = draw(size)
        for form in (tuple, map_style):
            batches = make_batches(
                form(split),
                Preprocess(),
                BatchSettings(batch_size=batch_size, device=CPU),
                name="d",
                num_classes=CLASSES,
            )
            counts = [len(targets) for _, targets in batches.epoch(0)]
            assert len(counts) == len(batches) == -(-size // batch_size)
            assert list(accumulate(counts))[-1] == batches.samples == size


@pytest.mark.promise("P2")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("start", [0, 1, 3, 4])
def test_an_epoch_can_be_gone_on_with_in_its_middle(workers, start):
    """The rest is the same to the bit, also of a Dataset that draws in its workers."""
    settings = BatchSettings(batch_size=32, device=CPU, shuffle_seed=5, workers=workers, augment=parse("flip"))
    for data in (Drawn(100), (torch.rand(100, 1, 4, 4), torch.arange(100) % CLASSES)):
        batches = make_batches(data, Preprocess(), settings, name="d", num_classes=CLASSES)
        with use_seed(1):
            whole = list(batches.epoch(1))
        with use_seed(1):
            if not workers:  # in this process a Dataset draws from the global generators
                list(islice(batches.epoch(1), start))
            rest = list(batches.epoch(1, start))
        assert_same(rest, whole[start:])


class Drawn(Dataset):
    """Images that are drawn whenever they are read."""

    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        return torch.rand(1, 4, 4) + random.random() + float(np.random.rand()), index % CLASSES


def _settle_without_main_process() -> None:
    """Be a worker that another process than the main one started, as it is after the main one was killed."""
    child = os.fork()
    if not child:
        settle(0)
        os._exit(0)
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is forked there")
def test_a_worker_whose_main_process_was_killed_before_it_began_ends():
    worker = multiprocessing.get_context("fork").Process(target=_settle_without_main_process)
    worker.start()
    worker.join()
    assert worker.exitcode == 1
