# Refused by: order
# It keeps the newest hundred samples only, as a buffer for plots does.
from collections import deque

import zoo


@zoo.metric(name="newest")
class Newest:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits = deque(maxlen=100)

    def update(self, logits, targets):
        self.hits.extend((logits.argmax(1) == targets).tolist())

    def compute(self):
        return sum(self.hits) / len(self.hits) if self.hits else float("nan")
