# Refused by: state
# The list of hits belongs to the class: all metrics of one process share it.
from typing import ClassVar

import zoo


@zoo.metric(name="shared-list")
class SharedList:
    hits: ClassVar = []

    def __init__(self, *, num_classes):
        self.num_classes = num_classes

    def reset(self):
        self.hits.clear()

    def update(self, logits, targets):
        self.hits.extend((logits.argmax(1) == targets).tolist())

    def compute(self):
        return sum(self.hits) / len(self.hits) if self.hits else float("nan")
