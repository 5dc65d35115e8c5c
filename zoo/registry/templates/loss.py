"""A new loss: cross-entropy in which easy samples count less."""

NOUN = "loss"
OPTIONS = "--model baseline --dataset shapes --loss {}"

DECORATOR = """\
@zoo.loss(
    name="$name",
    description="Cross-entropy in which samples that are right count less, the more so the larger gamma is",
    params={"gamma": 2.0},
)
"""

MANIFEST = """\
schema = 2

[losses.$key]
factory = "$package.loss:FocalLoss"
description = "Cross-entropy in which samples that are right count less, the more so the larger gamma is"
params = { gamma = 2.0 }
"""

CODE = '''\
"""Cross-entropy in which easy samples count less: the loss `$name`."""

import torch
${zoo}from torch.nn import functional


${decorator}class FocalLoss:
    """Weigh each sample by the probability that its target lacks, to the power of `gamma`."""

    def __init__(self, *, num_classes: int, gamma: float = 2.0) -> None:
        if gamma < 0:
            raise ValueError(f"gamma: expected 0 or more, got {gamma}")
        self.gamma = gamma

    def __call__(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Return the mean over the batch: logits (N, num_classes), targets (N,)."""
        losses = functional.cross_entropy(logits, targets, reduction="none")
        return ((1 - torch.exp(-losses)) ** self.gamma * losses).mean()
'''

OBJECT = "FocalLoss"
PROMISE = "The loss gives what one works out by hand, and falls while a model is trained."
CONSTANTS = """\
LOGITS = torch.tensor([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, -1.0]])
TARGETS = torch.tensor([0, 2, 2])
"""
TESTS = """\


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_by_hand(gamma):
    shares = LOGITS.softmax(1)[torch.arange(3), TARGETS]
    expected = (-((1 - shares) ** gamma) * shares.log()).mean()
    assert torch.allclose(FocalLoss(num_classes=3, gamma=gamma)(LOGITS, TARGETS), expected)


def test_a_gamma_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="gamma: expected 0 or more, got -1"):
        FocalLoss(num_classes=3, gamma=-1)


def test_in_a_run(tmp_path):
    small = {"train_size": 500, "test_size": 200}
    result = zoo.run(loss=NAME, dataset_params=small, epochs=2, runs_dir=tmp_path)
    first, last = (next(iter(epoch["train"].values())) for epoch in result.history)
    assert last < first
"""
