# Refused by: extremes
# The mean precision: a class that is never predicted makes it nan, as with each new model in its first epoch.
import torch

import zoo


@zoo.metric(name="mean-precision")
class MeanPrecision:
    def __init__(self, *, num_classes):
        self.hits, self.predicted = torch.zeros(num_classes), torch.zeros(num_classes)

    def reset(self):
        self.hits, self.predicted = torch.zeros_like(self.hits), torch.zeros_like(self.predicted)

    def update(self, logits, targets):
        chosen = logits.argmax(1)
        self.hits.index_add_(0, chosen, (chosen == targets).float())
        self.predicted.index_add_(0, chosen, torch.ones(len(targets)))

    def compute(self):
        return (self.hits / self.predicted).mean().item()
