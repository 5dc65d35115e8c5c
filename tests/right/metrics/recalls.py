# A recall for each class; one without samples is left out.
import torch

import zoo


@zoo.metric(name="recalls")
class Recalls:
    def __init__(self, *, num_classes):
        self.classes = num_classes
        self.reset()

    def reset(self):
        self.hits = torch.zeros(self.classes, dtype=torch.int64)
        self.samples = torch.zeros(self.classes, dtype=torch.int64)

    def update(self, logits, targets):
        self.hits += torch.bincount(targets[logits.argmax(1) == targets], minlength=self.classes)
        self.samples += torch.bincount(targets, minlength=self.classes)

    def compute(self):
        pairs = enumerate(zip(self.hits.tolist(), self.samples.tolist(), strict=True))
        return {f"class {index}": hits / samples for index, (hits, samples) in pairs if samples}
