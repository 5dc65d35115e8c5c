# Refused by: empty
# The classes of the targets are taken for all classes: with one of them there is no confusion to look up.
import torch

import zoo


@zoo.metric(name="worst-pair", higher_is_better=False)
class WorstPair:
    def __init__(self, *, num_classes):
        self.table = torch.zeros(num_classes, num_classes)

    def reset(self):
        self.table = torch.zeros_like(self.table)

    def update(self, logits, targets):
        for predicted, target in zip(logits.argmax(1).tolist(), targets.tolist(), strict=True):
            self.table[target, predicted] += 1

    def compute(self):
        seen = self.table.sum(1).nonzero().flatten().tolist()
        pairs = [(one, other) for one in seen for other in seen if one != other]
        return max(self.table[one, other] / self.table[one].sum() for one, other in pairs).item()
