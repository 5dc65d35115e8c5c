# Refused by: builds
# A table of two classes, since the author's data had two.
import torch

import zoo


@zoo.metric(name="specificity")
class Specificity:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.table = torch.zeros(2, 2)

    def update(self, logits, targets):
        for predicted, target in zip(logits.argmax(1).tolist(), targets.tolist(), strict=True):
            self.table[target, predicted] += 1

    def compute(self):
        return (self.table[0, 0] / self.table[0].sum()).item()
