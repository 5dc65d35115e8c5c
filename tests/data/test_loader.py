"""Batches for a loop written by hand: those of two plain DataLoaders of torch, and of a run."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

import zoo

PICTURES = """
import torch
from torch.utils.data import Dataset

import zoo


class Pictures(Dataset):
    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index == 70:
            raise RuntimeError("torn")
        return torch.full((1, 4, 4), index, dtype=torch.uint8), index % 3


@zoo.dataset(name="pictures")
def pictures(*, root, count: int = 70):
    return zoo.DataSplits(train=Pictures(count), test=Pictures(9), class_names=("a", "b", "c"))
"""


def by_hand(train, test, seed, epochs):
    """Return the training batches of each epoch as a loop of the course meets them."""
    torch.manual_seed(seed)
    loader, tested = DataLoader(train, batch_size=32, shuffle=True), DataLoader(test, batch_size=32)
    found = []
    for _ in range(epochs):
        found.append(list(loader))
        list(tested)
    return found


def assert_same_batches(ours, theirs):
    assert len(ours) == len(theirs)
    for (inputs, targets), (expected_inputs, expected_targets) in zip(ours, theirs, strict=True):
        assert inputs.dtype == torch.float32 and targets.dtype == torch.int64
        assert torch.equal(inputs, expected_inputs) and torch.equal(targets, expected_targets)


@pytest.mark.parametrize("seed", [0, 42])
def test_batches_are_those_of_a_loop_written_by_hand(seed):
    splits = zoo.load_dataset("shapes", params={"train_size": 101, "test_size": 70})
    plain = [TensorDataset(images.div(255), targets) for images, targets in (splits.train, splits.test)]
    loader = zoo.make_loader(splits.train, batch_size=32, shuffle=True, seed=seed)
    for epoch in by_hand(*plain, seed, 3):
        assert len(loader) == 4
        assert_same_batches(list(loader), epoch)
    tested = zoo.make_loader(splits.test)
    assert_same_batches(list(tested), list(DataLoader(plain[1], batch_size=32)))
    assert_same_batches(list(tested), list(DataLoader(plain[1], batch_size=32)))


def test_batches_of_fashionmnist_are_those_of_torchvision(fashionmnist_root, unpacked_fashionmnist):
    splits = zoo.load_dataset("fashionmnist", data_dir=fashionmnist_root, offline=True)
    images, targets = splits.train
    assert images.shape == (60000, 1, 28, 28) and splits.class_to_idx["Ankle boot"] == int(targets[0]) == 9
    train, test = (FashionMNIST(unpacked_fashionmnist, train=part, transform=ToTensor()) for part in (True, False))
    loader = zoo.make_loader(splits.train, batch_size=32, shuffle=True, seed=42)
    assert (len(loader), len(zoo.make_loader(splits.test))) == (1875, 313)
    torch.manual_seed(42)
    theirs = DataLoader(train, batch_size=32, shuffle=True)
    assert_same_batches([batch for batch, _ in zip(loader, range(50), strict=False)], first(theirs, 50))
    next(iter(DataLoader(test, batch_size=32)))  # draws once, as going through it does
    assert_same_batches(first(loader, 50), first(theirs, 50))


def first(batches, count):
    return [batch for batch, _ in zip(batches, range(count), strict=False)]


def test_a_loop_by_hand_gives_the_weights_of_a_run(tmp_path):
    """The loss of each step depends on the batches before it: equal tensors prove each of them."""
    params = {"train_size": 200, "test_size": 50}
    result = zoo.run("baseline", "shapes", dataset_params=params, epochs=2, seed=7, threads=1, runs_dir=tmp_path)
    splits = zoo.load_dataset("shapes", params=params)
    model = zoo.create_model("baseline", input_shape=(1, 28, 28), num_classes=10, seed=7)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = zoo.make_loader(splits.train, batch_size=32, shuffle=True, seed=7, preprocess=splits.preprocess)
    for _ in range(2):
        for inputs, targets in loader:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
    trained = zoo.load_model(result.weights).state_dict()
    assert all(torch.equal(trained[name], value) for name, value in model.state_dict().items())


def test_the_random_state_of_the_caller_stays():
    splits = zoo.load_dataset("shapes", params={"train_size": 50, "test_size": 10})
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    list(zoo.make_loader(splits.train, shuffle=True))
    assert torch.equal(torch.rand(4), expected)


def test_each_pass_is_the_next_epoch_and_an_epoch_can_be_chosen():
    loader = zoo.make_loader((torch.arange(64).float().reshape(64, 1), torch.arange(64)), shuffle=True)
    orders = [torch.cat([targets for _, targets in loader]).tolist() for _ in range(3)]
    assert all(one != other for one, other in pairwise(orders)) and loader.epoch == 3
    assert all(sorted(order) == list(range(64)) for order in orders)
    loader.epoch = 1
    assert torch.cat([targets for _, targets in loader]).tolist() == orders[1]
    assert repr(loader) == "Loader(2 batches of 32, shuffled by seed 42, next epoch 2)"


def test_inputs_are_what_preprocess_makes_of_the_images():
    images = torch.full((4, 1, 2, 2), 255, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    (inputs, _), *others = zoo.make_loader(images)
    assert not others and inputs.unique().tolist() == [1]
    (inputs, _), *_ = zoo.make_loader(images, preprocess=zoo.Preprocess(mean=(0.5,), std=(0.25,)))
    assert inputs.unique().tolist() == [2]
    floats = torch.full((4, 1, 2, 2), 7.5), torch.zeros(4, dtype=torch.int64)
    assert next(iter(zoo.make_loader(floats)))[0].unique().tolist() == [7.5]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_of_samples_gives_batches_too(tmp_path, workers):
    plugin = tmp_path / "pictures.py"
    plugin.write_text(PICTURES, encoding="utf-8")
    splits = zoo.load_dataset("pictures", plugins=[plugin])
    assert repr(splits) == "DataSplits(train 70, test 9, 3 classes)"
    assert repr(splits.train) == "Dataset(train split of pictures, 70 samples)"
    assert splits.train[5][0].shape == (1, 4, 4) and splits.class_to_idx == {"a": 0, "b": 1, "c": 2}
    loader = zoo.make_loader(splits.train, batch_size=32, shuffle=True, workers=workers)
    images = torch.arange(70).reshape(70, 1, 1, 1).expand(70, 1, 4, 4).div(255)
    plain = TensorDataset(images, torch.arange(70) % 3)
    for epoch in by_hand(plain, TensorDataset(images[:9]), 42, 2):
        assert_same_batches(list(loader), epoch)


def test_a_sample_that_cannot_be_read_is_named(tmp_path):
    plugin = tmp_path / "pictures.py"
    plugin.write_text(PICTURES, encoding="utf-8")
    splits = zoo.load_dataset("pictures", params={"count": 71}, plugins=[plugin])
    with pytest.raises(zoo.DataError, match=r"dataset 'pictures': sample 70: RuntimeError: torn"):
        list(zoo.make_loader(splits.train))


@pytest.mark.parametrize(
    ("split", "options", "message"),
    [
        (3, {}, "split: expected a tuple of 2 or a Dataset, got 3"),
        ((torch.zeros(3, 1), torch.zeros(4)), {}, "the split: expected one target per image"),
        ((torch.zeros(0, 1), torch.zeros(0)), {}, "the split: has no samples"),
        ((torch.zeros(3, 1), torch.zeros(3)), {"batch_size": 0}, "batch_size: must be at least 1, got 0"),
        ((torch.zeros(3, 1), torch.zeros(3)), {"seed": -1}, "seed: must be at least 0, got -1"),
        ((torch.zeros(3, 1), torch.zeros(3)), {"shuffle": "yes"}, "shuffle: expected True or False, got 'yes'"),
    ],
)
def test_a_mistake_is_named(split, options, message):
    with pytest.raises(zoo.ZooError) as caught:
        zoo.make_loader(split, **options)
    assert str(caught.value).startswith(message)


def test_a_data_set_that_cannot_be_had_is_named():
    with pytest.raises(zoo.UnknownNameError, match="Did you mean 'shapes'"):
        zoo.load_dataset("shape")
    with pytest.raises(zoo.UsageError, match="train_size"):
        zoo.load_dataset("shapes", params={"train_siz": 5})
