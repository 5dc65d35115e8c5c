# Refused by: builds
# compute() gives a text that is ready to be printed.
import zoo


@zoo.metric(name="printed")
class Printed:
    def __init__(self, *, num_classes):
        self.reset()

    def reset(self):
        self.hits, self.samples = 0, 0

    def update(self, logits, targets):
        self.hits += (logits.argmax(1) == targets).sum().item()
        self.samples += len(targets)

    def compute(self):
        return f"{self.hits / max(1, self.samples):.4f}"
