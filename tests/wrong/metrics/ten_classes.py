# Refused by: classes
# The mean recall is divided by ten, whatever the number of classes: with three classes the best is 0.3.
import torch

import zoo


@zoo.metric(name="balanced")
class Balanced:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = torch.zeros(10), torch.zeros(10)

    def update(self, logits, targets):
        hit = (logits.argmax(1) == targets).float()
        self.hits.index_add_(0, targets, hit)
        self.samples.index_add_(0, targets, torch.ones_like(hit))

    def compute(self):
        return float((self.hits / self.samples.clamp(min=1)).sum() / 10)
