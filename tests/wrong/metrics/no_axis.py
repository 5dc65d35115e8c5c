# Refused by: batches
# argmax() without an axis gives one place in the whole batch, and the comparison takes it for all samples.
import zoo


@zoo.metric(name="no-axis")
class NoAxis:
    def __init__(self, *, num_classes):
        self.classes = num_classes
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += (logits.argmax() % self.classes == targets).sum().item()
        self.samples += len(targets)

    def compute(self):
        return self.hits / self.samples
