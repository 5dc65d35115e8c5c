"""A new data set: pictures drawn in memory."""

NOUN = "data set"
OPTIONS = "--model baseline --dataset {}"

DECORATOR = """\
@zoo.dataset(
    name="$name",
    description="Grey noise with one brighter quarter",
    input_shape=(1, 16, 16),
    class_names=CLASS_NAMES,
    params={"size": 2000},
)
"""

MANIFEST = """\
schema = 1

[datasets.$key]
factory = "$package.dataset:draw_quarters"
description = "Grey noise with one brighter quarter"
input_shape = [1, 16, 16]
class_names = ["top left", "top right", "bottom left", "bottom right"]
params = { size = 2000 }
"""

CODE = '''\
"""Pictures drawn in memory: the data set `$name`."""

from pathlib import Path

import torch
${zoo}
CLASS_NAMES = ("top left", "top right", "bottom left", "bottom right")


${decorator}def draw_quarters(*, root: Path, size: int = 2000) -> zoo.DataSplits:
    """Draw `size` pictures (1, 16, 16) as uint8, a fifth of them for the test; `root` is for data sets with files."""
    if size < 10:
        raise ValueError(f"size: expected at least 10, got {size}")
    generator = torch.Generator().manual_seed(0)  # its own: the same pictures whatever else draws random numbers
    images = torch.randint(160, (size, 1, 16, 16), generator=generator, dtype=torch.uint8)
    targets = torch.randint(4, (size,), generator=generator)
    for image, target in zip(images, targets.tolist()):
        top, left = 8 * (target // 2), 8 * (target % 2)
        image[0, top : top + 8, left : left + 8] += 60
    count = size // 5
    train, test = (images[count:], targets[count:]), (images[:count], targets[:count])
    return zoo.DataSplits(train=train, test=test, class_names=CLASS_NAMES)
'''

OBJECT = "draw_quarters"
PROMISE = "The data set keeps the contract, is the same every time, and can be learned."
CONSTANTS = ""
TESTS = """\


def test_shapes_and_targets(tmp_path):
    splits = draw_quarters(root=tmp_path, size=100)
    for (images, targets), count in ((splits.train, 80), (splits.test, 20)):
        assert images.shape == (count, 1, 16, 16) and images.dtype == torch.uint8
        assert targets.shape == (count,) and set(targets.tolist()) <= set(range(len(splits.class_names)))


def test_the_quarter_of_the_target_is_the_brightest(tmp_path):
    images, targets = draw_quarters(root=tmp_path, size=100).train
    quarters = images.float().unfold(2, 8, 8).unfold(3, 8, 8).mean(dim=(4, 5)).flatten(1)
    assert quarters.argmax(dim=1).equal(targets)


def test_the_same_bytes_every_time(tmp_path):
    first = draw_quarters(root=tmp_path, size=50)
    torch.rand(1)
    second = draw_quarters(root=tmp_path, size=50)
    assert first.train[0].equal(second.train[0]) and first.train[1].equal(second.train[1])


def test_too_few_pictures_are_refused(tmp_path):
    with pytest.raises(ValueError, match="size"):
        draw_quarters(root=tmp_path, size=9)


def test_a_model_learns_it(tmp_path):
    result = zoo.run(model="baseline", dataset=NAME, epochs=1, runs_dir=tmp_path)
    assert result.metrics["accuracy"] > 0.5  # four classes: guessing gives 0.25
"""
