# Refused by: empty
# Without samples the best loss so far is still inf.
from torch.nn import functional

import zoo


@zoo.metric(name="best-loss", higher_is_better=False)
class BestLoss:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.best = float("inf")

    def update(self, logits, targets):
        losses = functional.cross_entropy(logits, targets, reduction="none").tolist()
        self.best = min([self.best, *losses])

    def compute(self):
        return self.best
