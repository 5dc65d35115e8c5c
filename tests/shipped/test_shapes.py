from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
import torch

from zoo_plugins.datasets.shapes import CHUNK, CLASS_NAMES, shapes

DEFAULT = "cc6ae849786b08b143ff756c1e839daedfe5e16c3ba8336e594208213228cdc6"
OTHER = "da645d73e57f806d3159073059279356176990624d14388a2a27a81b7e106938"
OTHER_PARAMS = {"train_size": 777, "test_size": 33, "difficulty": 10, "seed": 2**32 - 1}


def draw(**params):
    return shapes(root="unused", **{"train_size": 200, "test_size": 100, **params})


def digest(splits):
    sha = hashlib.sha256()
    for images, targets in (splits.train, splits.test):
        sha.update(images.numpy().tobytes())
        sha.update(targets.numpy().astype("<i8").tobytes())
    return sha.hexdigest()


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def rows_of(images):
    return {image.numpy().tobytes() for image in images}


@pytest.fixture(scope="module")
def default():
    return shapes(root="unused")


def test_the_bytes_never_change(default):
    assert digest(default) == DEFAULT
    assert digest(shapes(root="unused", **OTHER_PARAMS)) == OTHER


@pytest.mark.slow
def test_a_fresh_process_draws_the_same():
    program = (
        "import hashlib\n"
        "from zoo_plugins.datasets.shapes import shapes\n"
        "images, targets = shapes(root='unused', train_size=200, test_size=100, seed=7).train\n"
        "print(hashlib.sha256(images.numpy().tobytes() + targets.numpy().astype('<i8').tobytes()).hexdigest())\n"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout.strip()
    images, targets = draw(seed=7).train
    assert found == hashlib.sha256(images.numpy().tobytes() + targets.numpy().astype("<i8").tobytes()).hexdigest()


def test_gives_what_the_contract_says(default):
    assert default.class_names == CLASS_NAMES
    assert len(set(CLASS_NAMES)) == 10
    for (images, targets), size in ((default.train, 5000), (default.test, 1000)):
        assert (images.shape, images.dtype) == ((size, 1, 28, 28), torch.uint8)
        assert (targets.shape, targets.dtype) == ((size,), torch.int64)
        assert images.is_contiguous()


def test_leaves_the_random_state_of_others_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    draw()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("size", [1, 9, 10, 11, 200, CHUNK, CHUNK + 1, 2 * CHUNK + 13])
def test_classes_are_balanced_and_shuffled(size):
    targets = draw(train_size=size).train[1]
    counts = torch.bincount(targets, minlength=10)
    assert counts.sum() == size
    assert counts.max() - counts.min() <= 1
    if size >= CHUNK:
        tens = targets[: size // 10 * 10].reshape(-1, 10)
        assert len(tens.unique(dim=0)) == len(tens)
        # Every class comes at every position of its ten.
        assert all(len(column.unique()) == 10 for column in tens.T)


@pytest.mark.parametrize("difficulty", [0, 5, 10])
def test_no_image_comes_twice(difficulty):
    splits = draw(train_size=2000, test_size=1000, difficulty=difficulty)
    assert len(rows_of(splits.train[0]) | rows_of(splits.test[0])) == 3000


def test_a_split_depends_on_its_own_size_only():
    long, short = draw(train_size=2 * CHUNK + 7, test_size=3), draw(train_size=CHUNK + 5, test_size=50)
    assert same((part[: CHUNK + 5] for part in long.train), short.train)
    assert same((part[:3] for part in short.test), long.test)


def test_every_param_matters():
    plain = draw()
    for changed in ({"seed": 1}, {"difficulty": 5}):
        other = draw(**changed)
        assert not rows_of(plain.train[0]) & rows_of(other.train[0])
        assert not rows_of(plain.test[0]) & rows_of(other.test[0])


def test_difficulty_scales_noise_and_place():
    deviations = []
    for difficulty in (0, 5, 10):
        images, targets = draw(train_size=1000, difficulty=difficulty).train
        squares = images[targets == CLASS_NAMES.index("square"), 0].float()
        deviations.append(squares[:, 13:15, 13:15].flatten(1).std(dim=1).mean().item())
        lit = (squares > 70).float().mean(dim=0)
        # In the middle at 0, everywhere at 10.
        assert (lit[:2].max().item() < 0.1) is (difficulty < 10)
    assert deviations == sorted(deviations)


def test_each_class_looks_like_its_own():
    # Without noise and in the middle, the nearest mean image is that of its own class.
    splits = draw(train_size=2000, test_size=500, difficulty=0)
    (images, targets), (others, expected) = splits.train, splits.test
    means = torch.stack([images[targets == label].float().mean(dim=0).flatten() for label in range(10)])
    assert torch.pdist(means).min() > 500
    found = torch.cdist(others.float().flatten(1), means).argmin(dim=1)
    for label in range(10):
        assert (found[expected == label] == label).float().mean() > 0.6, CLASS_NAMES[label]


def test_the_shapes_are_what_they_are_called():
    images, targets = draw(difficulty=0).train
    lit = images[:, 0].float()
    lit = lit > (lit.amin(dim=(1, 2), keepdim=True) + lit.amax(dim=(1, 2), keepdim=True)) / 2
    of = {name: lit[targets == label] for label, name in enumerate(CLASS_NAMES)}
    middle = slice(13, 15)
    for name in ("disc", "square", "triangle", "cross"):
        assert of[name][:, middle, middle].all(), name
    for name in ("ring", "frame"):
        assert not of[name][:, middle, middle].any(), name
    for name in ("disc", "ring", "square", "frame", "triangle", "cross"):
        # Left and right agree, and the border is dark.
        assert torch.equal(of[name], of[name].flip(2)), name
        assert not of[name][:, 0].any(), name
    for name in ("disc", "ring", "square", "frame", "cross"):
        assert torch.equal(of[name], of[name].flip(1).transpose(1, 2)), name
    assert (of["triangle"].float().sum(dim=2).diff(dim=1) >= 0)[:, :18].all()
    assert torch.equal(of["rows"], of["rows"][:, :, :1].expand_as(of["rows"]))
    assert torch.equal(of["columns"], of["columns"][:, :1].expand_as(of["columns"]))
    assert torch.equal(of["diagonals"][:, 1:, :-1], of["diagonals"][:, :-1, 1:])
    assert not torch.equal(of["checkers"], of["checkers"][:, :1].expand_as(of["checkers"]))
    assert torch.equal(of["checkers"], of["checkers"].transpose(1, 2))


@pytest.mark.parametrize("name", ["train_size", "test_size", "difficulty", "seed"])
@pytest.mark.parametrize("value", [-1, 1.5, "10", True, None])
def test_params_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name}: expected a whole number .* got {value!r}"):
        draw(**{name: value})


def test_params_have_limits():
    for params in ({"train_size": 0}, {"test_size": 0}, {"difficulty": 11}, {"seed": 2**32}):
        with pytest.raises(ValueError, match=next(iter(params))):
            draw(**params)
