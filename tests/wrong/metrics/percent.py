# Refused by: bounds
# A share in percent, declared to lie between 0 and 1.
import zoo


@zoo.metric(name="percent", bounds=(0, 1))
class Percent:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += int((logits.argmax(dim=1) == targets).sum())
        self.samples += len(targets)

    def compute(self):
        if not self.samples:
            raise ValueError("no samples")
        return 100 * self.hits / self.samples
