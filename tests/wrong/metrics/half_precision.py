# Refused by: batches
# The sum is kept in float16 to save memory, where 2048 + 1 is 2048.
import torch

import zoo


@zoo.metric(name="half")
class Half:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = torch.zeros((), dtype=torch.float16), 0

    def update(self, logits, targets):
        self.hits += (logits.argmax(1) == targets).sum()
        self.samples += len(targets)

    def compute(self):
        return float(self.hits) / self.samples if self.samples else float("nan")
