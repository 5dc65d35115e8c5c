# The Brier score, in float64, with merge.
import torch
from torch.nn import functional

import zoo


@zoo.metric(name="brier", higher_is_better=False, bounds=(0, 2))
class Brier:
    def __init__(self, *, num_classes):
        self.num_classes = num_classes
        self.reset()

    def reset(self):
        self.sums = torch.zeros(2, dtype=torch.float64)

    def update(self, logits, targets):
        aim = functional.one_hot(targets, self.num_classes)
        distance = (logits.double().softmax(1) - aim).square().sum()
        self.sums = self.sums + torch.stack([distance, distance.new_tensor(len(targets))])

    def compute(self):
        return (self.sums[0] / self.sums[1]).item()

    def merge(self, other):
        self.sums = self.sums + other.sums
