from __future__ import annotations

import pytest
import torch
from torch import nn

from zoo_plugins.datasets.shapes import shapes
from zoo_plugins.models.baseline import Baseline
from zoo_plugins.models.tinyvgg import TinyVGG


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def train_and_measure(factory, splits, seed):
    torch.manual_seed(seed)
    # A third of the time of the contiguous layout.
    model = factory(input_shape=(1, 28, 28), num_classes=10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    images, targets = splits.train
    for _ in range(3):
        for chosen in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen] / 255), targets[chosen]).backward()
            optimizer.step()
    images, targets = splits.test
    with torch.inference_mode():
        return (model(images / 255).argmax(dim=1) == targets).double().mean().item()


@pytest.mark.slow
def test_convolutions_beat_the_linear_model(one_thread):
    splits = shapes(root="unused")
    scores = [train_and_measure(Baseline, splits, seed) for seed in range(5)]
    assert min(scores) > 0.4, scores
    # The median: about one TinyVGG in fourteen dies at this learning rate, and which one differs between processors.
    # It is reached by three seeds of five, so the others need no training once three are there.
    gains: list[float] = []
    while sum(gain >= 0.10 for gain in gains) < 3:
        assert len(gains) < 5, (scores, gains)
        gains.append(train_and_measure(TinyVGG, splits, len(gains)) - scores[len(gains)])
