# Refused by: builds
# argmax(0) asks each class for its best sample instead of each sample for its best class.
import zoo


@zoo.metric(name="wrong-axis")
class WrongAxis:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += (logits.argmax(0) == targets).sum().item()
        self.samples += len(targets)

    def compute(self):
        return self.hits / self.samples
