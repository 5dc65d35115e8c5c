# Refused by: settings
# update() seeds torch for its random projections, and with it whatever the training draws next.
import torch

import zoo


@zoo.metric(name="projected")
class Projected:
    def __init__(self, *, num_classes):
        self.classes = num_classes
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        torch.manual_seed(0)
        noise = 1e-6 * torch.randn(self.classes)
        self.hits += int(((logits + noise).argmax(1) == targets).sum())
        self.samples += len(targets)

    def compute(self):
        return self.hits / self.samples if self.samples else float("nan")
