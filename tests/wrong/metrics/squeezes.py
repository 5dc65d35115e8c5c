# Refused by: batches
# squeeze() takes away the axis of the samples too when a batch has only one.
import zoo


@zoo.metric(name="squeezed")
class Squeezed:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += int((logits.squeeze().argmax(1) == targets).sum())
        self.samples += len(targets)

    def compute(self):
        return self.hits / self.samples if self.samples else float("nan")
