# Refused by: settings
# It takes all cores for itself while it computes, and leaves it so.
import os

import torch

import zoo


@zoo.metric(name="all-cores")
class AllCores:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += int((logits.argmax(1) == targets).sum())
        self.samples += len(targets)

    def compute(self):
        torch.set_num_threads(max(2, os.cpu_count() or 2))
        return self.hits / self.samples if self.samples else float("nan")
