# The cross-entropy per sample: lower is better, without an upper end. The sum stays a float32 tensor on the device.
import torch
from torch.nn import functional

import zoo


@zoo.metric(name="loss", higher_is_better=False, bounds=(0, float("inf")))
class Loss:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.total, self.samples = torch.zeros(()), 0

    def update(self, logits, targets):
        self.total = self.total + functional.cross_entropy(logits, targets, reduction="sum")
        self.samples += len(targets)

    def compute(self):
        if not self.samples:
            raise ValueError("no samples")
        return self.total / self.samples
