# Refused by: state
# compute() resets for the next epoch, so that whoever asks twice gets nothing.
import zoo


@zoo.metric(name="asked-once")
class AskedOnce:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += (logits.argmax(1) == targets).sum().item()
        self.samples += len(targets)

    def compute(self):
        value = self.hits / self.samples if self.samples else float("nan")
        self.reset()
        return value
