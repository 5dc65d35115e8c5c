# Refused by: batches, merge
# A moving average, as a progress bar shows it: late samples count most.
import zoo


@zoo.metric(name="moving")
class Moving:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.value = None

    def update(self, logits, targets):
        new = (logits.argmax(1) == targets).float().mean().item()
        self.value = new if self.value is None else 0.9 * self.value + 0.1 * new

    def compute(self):
        if self.value is None:
            raise ValueError("no samples")
        return self.value

    def merge(self, other):
        self.value = (self.value + other.value) / 2
