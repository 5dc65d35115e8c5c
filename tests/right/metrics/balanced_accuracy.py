# From a confusion matrix that is kept in float32: the mean recall of the classes that have samples.
import torch

import zoo


@zoo.metric(name="balanced-accuracy", bounds=(0, 1))
class BalancedAccuracy:
    def __init__(self, *, num_classes):
        self.classes = num_classes
        self.reset()

    def reset(self):
        self.table = torch.zeros(self.classes, self.classes)

    def update(self, logits, targets):
        places = targets * self.classes + logits.argmax(1)
        self.table += torch.bincount(places, minlength=self.classes**2).view(self.classes, self.classes)

    def compute(self):
        there = self.table.sum(1) > 0
        return float((self.table.diag()[there] / self.table.sum(1)[there]).mean()) if there.any() else float("nan")

    def merge(self, other):
        self.table += other.table
