from __future__ import annotations

import pytest
import torch

import zoo


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.slow
def test_the_first_run_climbs_and_convolutions_beat_it_by_ten_points(one_thread, tmp_path):
    finals = []
    for seed in range(42, 47):
        result = zoo.run("baseline", "shapes", seed=seed, runs_dir=tmp_path)
        accuracies = [epoch["test"]["accuracy"] for epoch in result.history]
        losses = [epoch["test"]["loss"] for epoch in result.history]
        assert len(accuracies) == 3 and accuracies == sorted(set(accuracies)), (seed, accuracies)
        assert losses == sorted(set(losses), reverse=True), (seed, losses)
        assert accuracies[-1] >= 0.80, (seed, accuracies)
        finals.append(accuracies[-1])
    # The median: at this learning rate some TinyVGGs learn late, and which ones differs between processors. It is
    # reached by three seeds of five, so the others need no training once three are there.
    gains: list[float] = []
    while sum(gain >= 0.10 for gain in gains) < 3:
        assert len(gains) < 5, (finals, gains)
        better = zoo.run("tinyvgg", "shapes", seed=42 + len(gains), runs_dir=tmp_path)
        gains.append(better.metrics["accuracy"] - finals[len(gains)])
