# Refused by: batches
# The hits of each class are counted in uint8: after 255 of them it starts at 0 again.
import torch

import zoo


@zoo.metric(name="bytes")
class Bytes:
    def __init__(self, *, num_classes):
        self.classes = num_classes
        self.reset()

    def reset(self):
        self.hits = torch.zeros(self.classes, dtype=torch.uint8)
        self.samples = 0

    def update(self, logits, targets):
        right = targets[logits.argmax(1) == targets]
        self.hits += torch.bincount(right, minlength=self.classes).clamp(max=255).to(torch.uint8)
        self.samples += len(targets)

    def compute(self):
        return int(self.hits.sum()) / self.samples if self.samples else float("nan")
