# Refused by: merge
# The first merge() takes the other's tensor itself, and a later update changes both.
import torch

import zoo


@zoo.metric(name="taken-over")
class TakenOver:
    def __init__(self, *, num_classes):
        self.classes = num_classes
        self.reset()

    def reset(self):
        self.table = None

    def update(self, logits, targets):
        new = torch.zeros(2, dtype=torch.int64)
        new[0], new[1] = (logits.argmax(1) == targets).sum(), len(targets)
        if self.table is None:
            self.table = new
        else:
            self.table += new

    def compute(self):
        if self.table is None or not self.table[1]:
            raise ValueError("no samples")
        return (self.table[0] / self.table[1]).item()

    def merge(self, other):
        if self.table is None:
            self.table = other.table
        elif other.table is not None:
            self.table += other.table
