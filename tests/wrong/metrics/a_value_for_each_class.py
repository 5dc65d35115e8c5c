# Refused by: builds
# compute() gives a tensor with a value for each class; a dict would have names for them.
import torch

import zoo


@zoo.metric(name="recalls")
class Recalls:
    def __init__(self, *, num_classes):
        self.table = torch.zeros(2, num_classes)

    def reset(self):
        self.table = torch.zeros_like(self.table)

    def update(self, logits, targets):
        self.table[0].index_add_(0, targets, (logits.argmax(1) == targets).float())
        self.table[1].index_add_(0, targets, torch.ones(len(targets)))

    def compute(self):
        return self.table[0] / self.table[1].clamp(min=1)
