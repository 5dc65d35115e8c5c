# Refused by: direction
# The mean confidence, whether the prediction is right or wrong: no run is better than another by it.
import zoo


@zoo.metric(name="confidence")
class Confidence:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.total, self.samples = 0.0, 0

    def update(self, logits, targets):
        self.total += logits.softmax(1).amax(1).double().sum().item()
        self.samples += len(targets)

    def compute(self):
        return self.total / self.samples if self.samples else float("nan")
