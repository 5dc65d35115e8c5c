# Refused by: batches
# The sum is divided by the number of batches times 32, as if each batch were of that size.
import zoo


@zoo.metric(name="of-32")
class Of32:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.batches = 0, 0

    def update(self, logits, targets):
        self.hits += int((logits.argmax(1) == targets).sum())
        self.batches += 1

    def compute(self):
        if not self.batches:
            raise ValueError("no samples")
        return self.hits / (32 * self.batches)
