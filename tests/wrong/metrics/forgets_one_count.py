# Refused by: state
# reset() forgets the hits and keeps the number of samples.
import zoo


@zoo.metric(name="half-reset")
class HalfReset:
    def __init__(self, *, num_classes):
        self.hits, self.samples = 0, 0

    def reset(self):
        self.hits = 0

    def update(self, logits, targets):
        self.hits += (logits.argmax(1) == targets).sum().item()
        self.samples += len(targets)

    def compute(self):
        return self.hits / self.samples if self.samples else float("nan")
