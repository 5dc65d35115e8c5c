"""A new metric: the share of errors."""

NOUN = "metric"
OPTIONS = "--model baseline --dataset shapes --metric {}"

DECORATOR = """\
@zoo.metric(
    name="$name",
    description="Share of samples whose target is not among the k highest logits",
    params={"k": 1},
    higher_is_better=False,
)
"""

MANIFEST = """\
schema = 1

[metrics.$key]
factory = "$package.metric:ErrorRate"
description = "Share of samples whose target is not among the k highest logits"
params = { k = 1 }
higher_is_better = false
"""

CODE = '''\
"""The share of errors: the metric `$name`."""

import torch
${zoo}

${decorator}class ErrorRate:
    """Count the samples whose target is not among the `k` highest logits."""

    def __init__(self, *, num_classes: int, k: int = 1) -> None:
        if not 1 <= k <= num_classes:
            raise ValueError(f"k: expected 1 to {num_classes}, got {k}")
        self.k = k
        self.reset()

    def reset(self) -> None:
        """Forget all batches."""
        self.wrong, self.total = 0, 0

    def update(self, logits: torch.Tensor, targets: torch.Tensor) -> None:
        """Count one batch; the sum stays on the device: reading it with .item() would wait for every batch."""
        hits = logits.topk(self.k).indices == targets.unsqueeze(1)
        self.wrong = self.wrong + (len(targets) - hits.sum())
        self.total += len(targets)

    def compute(self) -> float:
        """Return the share over all batches since the last reset."""
        return float(self.wrong) / self.total
'''

OBJECT = "ErrorRate"
PROMISE = "The metric gives what one works out by hand, however the samples come."
CONSTANTS = """\
# The highest logits are those of the classes 2, 0, 1, 1; the second highest those of 1, 2, 2, 0.
LOGITS = torch.tensor([[0.1, 0.2, 0.9], [0.8, 0.1, 0.3], [0.1, 0.9, 0.5], [0.4, 0.6, 0.1]])
TARGETS = torch.tensor([2, 1, 2, 1])
"""
TESTS = """\


@pytest.mark.parametrize(("k", "expected"), [(1, 0.5), (2, 0.25), (3, 0.0)])
def test_in_one_batch_or_two(k, expected):
    whole, halves = ErrorRate(num_classes=3, k=k), ErrorRate(num_classes=3, k=k)
    whole.update(LOGITS, TARGETS)
    halves.update(LOGITS[:1], TARGETS[:1])
    halves.update(LOGITS[1:], TARGETS[1:])
    assert whole.compute() == halves.compute() == expected
    assert type(whole.compute()) is float


def test_reset_forgets():
    metric = ErrorRate(num_classes=3)
    metric.update(LOGITS, TARGETS)
    metric.reset()
    metric.update(LOGITS[:1], TARGETS[:1])
    assert metric.compute() == 0.0


def test_a_k_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="k: expected 1 to 3, got 4"):
        ErrorRate(num_classes=3, k=4)


def test_in_a_run(tmp_path):
    result = zoo.run(
        metrics=["accuracy", NAME],
        dataset_params={"train_size": 500, "test_size": 200},
        epochs=1,
        runs_dir=tmp_path,
    )
    (error,) = (value for name, value in result.metrics.items() if name not in ("loss", "accuracy"))
    assert error == pytest.approx(1 - result.metrics["accuracy"])
"""
