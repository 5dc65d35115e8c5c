# Refused by: seed
# To be quick it looks at a tenth of the samples, drawn at random.
import torch

import zoo


@zoo.metric(name="a-tenth")
class Tenth:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        chosen = torch.rand(len(targets)) < 0.1
        self.hits += int((logits.argmax(1) == targets)[chosen].sum())
        self.samples += int(chosen.sum())

    def compute(self):
        return self.hits / self.samples if self.samples else float("nan")
