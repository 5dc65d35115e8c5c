# exp() of the mean loss: 1 at best, and huge for wrong predictions.
import math

from torch.nn import functional

import zoo


@zoo.metric(name="perplexity", higher_is_better=False)
class Perplexity:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.total, self.samples = 0.0, 0

    def update(self, logits, targets):
        self.total += functional.cross_entropy(logits.double(), targets, reduction="sum").item()
        self.samples += len(targets)

    def compute(self):
        return math.exp(self.total / self.samples) if self.samples else float("nan")
